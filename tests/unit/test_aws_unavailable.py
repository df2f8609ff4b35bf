"""`submit` while an AWS service throttles or does not answer: the upload waits in the queue and is paid for once."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from lumendrop import upload_queue
from tests.unit.test_backfilled import backfill_event
from tests.unit.test_submit import Clock, clock, configured, submit  # noqa: F401  # fixtures
from tests.unit.world import Context, World, redelivered

HOUR = 3600
NO_ANSWER = ReadTimeoutError(endpoint_url="https://service")
UNREACHABLE = EndpointConnectionError(endpoint_url="https://service")


def answer(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Call"
    )


THROTTLED = {
    "the row can't be read": ("GetItem", answer("ProvisionedThroughputExceededException")),
    "the table does not answer": ("GetItem", NO_ANSWER),
    "the table can't be reached": ("GetItem", UNREACHABLE),
    "the upload can't be read": ("GetObject", answer("SlowDown", 503)),
    "its key is throttled": ("GetObject", answer("KMS.ThrottlingException")),
    "S3 fails": ("GetObject", answer("InternalError", 500)),
    "S3 waits for a request": ("GetObject", answer("RequestTimeout")),
    "no workflow can start": ("StartExecution", answer("ThrottlingException")),
    "Step Functions does not answer": ("StartExecution", NO_ANSWER),
    "the claim is throttled": ("TransactWriteItems", answer("ThrottlingException")),
}


class Failing:
    """AWS that fails `operation` with an error until `repair`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, operation: str, error: Exception) -> None:
        self._patch, self._call = monkeypatch, BaseClient._make_api_call
        call = self._call

        def fail(client: Any, name: str, parameters: dict[str, Any]) -> Any:
            if name == operation:
                raise error
            return call(client, name, parameters)

        monkeypatch.setattr(BaseClient, "_make_api_call", fail)

    def repair(self) -> None:
        self._patch.setattr(BaseClient, "_make_api_call", self._call)


@pytest.mark.parametrize("kind", THROTTLED)
def test_uploads_wait_for_hours_and_are_paid_for_once(
    world: World,
    submit: Any,  # noqa: F811
    clock: Clock,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.setattr(submit.LEDGER, "_sleep", clock.sleep)
    event, ends, received = world.upload(), clock.time() + 3 * HOUR, 0
    failing = Failing(monkeypatch, *THROTTLED[kind])
    while clock.time() < ends:
        submit.handler(event, Context())
        received += 1
        message = world.messages()[-1]
        clock.later += message["DelaySeconds"]
        event = redelivered(message)
        assert message["MessageAttributes"]["reason"]["StringValue"] == "aws_unavailable"
    assert '"AwsUnavailable":[1' in capsys.readouterr().out.replace(" ", "")
    assert len(world.messages()) == received < 30
    failing.repair()
    submit.handler(event, Context())

    assert world.row()["status"] == "submitted"
    assert (len(world.enhancer.submits), len(world.executions()), len(world.messages())) == (1, 1, received)


def test_an_upload_of_the_backfill_waits_too(
    world: World,
    submit: ModuleType,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world.upload()
    failing = Failing(monkeypatch, "HeadObject", answer("503", 503))
    submit.handler(backfill_event(), Context())
    (message,) = world.messages()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "aws_unavailable"
    failing.repair()
    submit.handler(redelivered(message), Context())

    assert world.row()["status"] == "submitted"


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "ResourceNotFoundException"])
def test_an_error_that_does_not_pass_fails_the_function(
    world: World,
    submit: ModuleType,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    event = world.upload()
    Failing(monkeypatch, "GetItem", answer(code))
    with pytest.raises(ClientError):
        submit.handler(event, Context())

    assert world.messages() == []


def test_a_reason_to_wait_stays_as_it_is() -> None:
    deferred = upload_queue.Deferred("pace", "wait")
    assert upload_queue.defer(deferred) is deferred
