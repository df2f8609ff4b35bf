"""One cloud for the tests of this directory, with the small stack next to this file in it."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws.cloud import Cloud
from tests.sandbox import NAME

STACK = Path(__file__).with_name("stack") / "template.yaml"


@pytest.fixture(scope="package")
def cloud() -> Iterator[Cloud]:
    with Cloud(STACK, NAME, variables={"ONLY_HERE": "yes"}) as opened:
        yield opened


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Waits until a call returns something true, and returns it."""

    def wait(look: Callable[[], Any], seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)
        return found

    return wait


@pytest.fixture
def execute(cloud: Cloud, eventually: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Runs a workflow to its end and returns its description; the stack's own, or states given as a dictionary."""
    states = cloud.client("stepfunctions")

    def run(start: dict[str, Any], definition: dict[str, Any] | None = None) -> dict[str, Any]:
        arn = cloud.outputs["WorkflowArn"]
        if definition is not None:
            role = states.describe_state_machine(stateMachineArn=arn)["roleArn"]
            arn = states.create_state_machine(
                name=f"test-{time.monotonic_ns()}",
                definition=json.dumps({"QueryLanguage": "JSONata", **definition}),
                roleArn=role,
            )["stateMachineArn"]
        execution = states.start_execution(stateMachineArn=arn, input=json.dumps(start))["executionArn"]
        describe = lambda: states.describe_execution(executionArn=execution)  # noqa: E731
        eventually(lambda: describe()["status"] != "RUNNING")
        return describe()

    return run
