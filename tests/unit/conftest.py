"""Resources and functions for each test, loaded as Lambda loads them."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from moto import mock_aws
from moto.core.models import MockAWS
from moto.dynamodb.models import DynamoDBBackend
from requests.adapters import HTTPAdapter

from tests.unit.world import Call, World, load

NOON = 1_769_860_800.0  # 2026-01-31T12:00:00Z


class Clock:
    """Time that advances only when a test sets it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the AWS settings of this machine."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("LUMENDROP_ALLOW_LOOPBACK", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="module")
def clients() -> Iterator[list[Call]]:
    """Creates each client of the functions once, because that takes longer than most tests. Records their calls."""
    from lumendrop import clients

    calls: list[Call] = []

    def record(model: Any, params: dict[str, Any], **_: object) -> None:
        calls.append(Call(model.name, dict(params)))

    events = clients._session.events
    events.register("before-call", record)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("s3", "dynamodb", "secretsmanager", "sqs", "stepfunctions"):
            patch.setattr(clients, name, cache(getattr(clients, name)))
        yield calls
    events.unregister("before-call", record)


@pytest.fixture(scope="module")
def aws() -> Iterator[MockAWS]:
    """Moto, started once for each module, because starting takes as long as many tests."""
    with mock_aws() as started:
        yield started


@pytest.fixture
def world(aws: MockAWS, clients: list[Call]) -> Iterator[World]:
    aws.reset()
    with pytest.MonkeyPatch.context() as patch:
        made = World()
        clients.clear()
        made.calls = clients
        patch.setattr(HTTPAdapter, "send", lambda *arguments, **more: made.enhancer.send(*arguments, **more))
        yield made


LoadFunction = Callable[..., ModuleType]


@pytest.fixture
def function(world: World, monkeypatch: pytest.MonkeyPatch) -> LoadFunction:
    """Loads a function by name. `environment` overrides the template's defaults."""

    def start(name: str, **environment: str) -> ModuleType:
        for variable, value in world.environment(name, **environment).items():
            monkeypatch.setenv(variable, value)
        return load(name)

    return start


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch, function: LoadFunction) -> io.StringIO:
    """Everything that the functions log from now on."""
    function("check_status")
    from lumendrop.telemetry import logger

    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream


@pytest.fixture
def one_write_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like DynamoDB. Moto undoes a failed transaction by restoring the whole table, which undoes concurrent writes."""
    lock = threading.RLock()

    def serialized(write: Callable[..., Any]) -> Callable[..., Any]:
        def locked(*arguments: Any, **more: Any) -> Any:
            with lock:
                return write(*arguments, **more)

        return locked

    for name in ("transact_write_items", "put_item", "update_item", "delete_item"):
        monkeypatch.setattr(DynamoDBBackend, name, serialized(getattr(DynamoDBBackend, name)))
