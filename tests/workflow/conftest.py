from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.workflow.harness import Run, Workflow, deployed
from tests.workflow.scenarios import SCENARIOS


@pytest.fixture(scope="package")
def workflow() -> Iterator[Workflow]:
    with deployed() as workflow:
        yield workflow


@pytest.fixture(scope="package")
def ran(workflow: Workflow) -> Callable[[str], Run]:
    """The execution of a scenario. Each scenario runs once for all tests."""
    return cache(lambda name: SCENARIOS[name].run(workflow))
