"""Uploads that S3 does not return: encrypted with somebody else's key, or denied."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from tests.unit.conftest import LoadFunction
from tests.unit.test_backfilled import backfill_event
from tests.unit.world import INPUT, JPEG, OUTPUT, Answer, Context, World, completed, sample

DENIED = ("AccessDenied", 403)
SSE_C = ("InvalidRequest", 400)


@pytest.fixture
def submit(function: LoadFunction) -> ModuleType:
    return function("submit")


class Refusing:
    """S3 that refuses `operation` with an error, until `allow`. HEAD has no body, so its codes are statuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str, status: int, operation: str = "GetObject") -> None:
        self._patch = monkeypatch
        self.calls = 0
        call = BaseClient._make_api_call

        def refuse(client: Any, name: str, parameters: dict[str, Any]) -> Any:
            if name not in (operation, "HeadObject") or parameters["Bucket"] != INPUT:
                return call(client, name, parameters)
            self.calls += 1
            error: Any = {"Error": {"Code": code if name == operation else str(status), "Message": "no"}}
            raise ClientError(error, name)

        self._call = call
        monkeypatch.setattr(BaseClient, "_make_api_call", refuse)

    def allow(self) -> None:
        self._patch.setattr(BaseClient, "_make_api_call", self._call)


def with_requeues(event: Any, count: int) -> Any:
    event["Records"][0]["messageAttributes"]["waits"] = {"stringValue": str(count), "dataType": "Number"}
    return event


@pytest.mark.parametrize(
    "code", ["InvalidRequest", "KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.NotFoundException"]
)
def test_an_object_under_a_key_that_can_not_be_used_is_rejected_unpaid(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    event = world.upload()
    Refusing(monkeypatch, code, 400)
    submit.handler(event, Context())

    row = world.row()
    assert (row["status"], row["outcome"]["code"], row["outcome"]["may_have_cost"]) == ("rejected", "unreadable", False)
    assert ("SSE-C" if code == "InvalidRequest" else code) in row["outcome"]["message"]
    assert (len(world.executions()), world.messages(), world.enhancer.submits) == (1, [], [])


def test_an_error_that_says_nothing_about_the_object_leads_to_another_receive(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = world.upload()
    refusing = Refusing(monkeypatch, "ExpiredToken", 400)
    with pytest.raises(ClientError):
        submit.handler(event, Context())
    assert (world.rows(), world.messages()) == ([], [])
    refusing.allow()
    submit.handler(event, Context())
    assert world.row()["status"] == "submitted"


def test_a_denied_upload_waits_and_continues_when_access_is_allowed(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = world.upload()
    refusing = Refusing(monkeypatch, *DENIED)
    submit.handler(event, Context())

    assert world.rows() == []
    (message,) = world.messages()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "access_denied"
    assert '"ReadsDenied":[1' in capsys.readouterr().out.replace(" ", "")
    refusing.allow()
    submit.handler(event, Context())
    assert world.row()["status"] == "submitted"


def test_an_upload_that_is_denied_for_a_day_is_rejected_unpaid(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = world.upload()
    Refusing(monkeypatch, *DENIED)
    submit.handler(with_requeues(event, 129), Context())
    assert world.rows() == []
    submit.handler(with_requeues(event, 130), Context())

    assert world.row()["outcome"]["code"] == "access_denied"
    assert world.enhancer.submits == []


def test_the_end_of_an_object_is_read_under_the_same_rules(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = world.upload(body=JPEG[:-2] + bytes(300_000) + JPEG[-2:])
    call = BaseClient._make_api_call

    def refuse_end(client: Any, name: str, parameters: dict[str, Any]) -> Any:
        if name == "GetObject" and not parameters["Range"].startswith("bytes=0-"):
            error: Any = {"Error": {"Code": "KMS.DisabledException", "Message": "no"}}
            raise ClientError(error, name)
        return call(client, name, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse_end)
    submit.handler(event, Context())

    assert world.row()["outcome"]["code"] == "unreadable"


@pytest.mark.parametrize(("refused", "code"), [(SSE_C, "unreadable"), (DENIED, "access_denied")])
def test_the_backfill_reports_them_under_their_version(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch, refused: tuple[str, int], code: str
) -> None:
    version = world.put("a.jpg")
    world.put("a.jpg.txt", b"sorts after it")
    Refusing(monkeypatch, *refused)
    submit.handler(with_requeues(backfill_event("a.jpg"), 200), Context())

    row = world.row()
    assert (row["version_id"], row["outcome"]["code"]) == (version, code)


def test_a_paid_upload_that_became_unreadable_is_watched(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = world.upload()
    submit.handler(event, Context())
    refusing = Refusing(monkeypatch, *SSE_C)
    submit.handler(event, Context())

    assert (world.row()["status"], refusing.calls) == ("submitted", 0)
    assert len(json.loads(json.dumps(world.executions()))) == 1


def test_an_object_of_somebody_under_a_key_of_theirs_is_not_replaced(
    world: World, function: LoadFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver, event = function("deliver"), sample("deliver")
    world.s3.put_object(Bucket=OUTPUT, Key=event["upload"]["key"], Body=b"theirs")
    call = BaseClient._make_api_call

    def refuse_head(client: Any, name: str, parameters: dict[str, Any]) -> Any:
        if name == "HeadObject" and parameters["Key"] == event["upload"]["key"]:
            error: Any = {"Error": {"Code": "400", "Message": "Bad Request"}}
            raise ClientError(error, name)
        return call(client, name, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse_head)
    world.enhancer.on_status.append(completed())
    world.enhancer.on_result.append(Answer(200, JPEG))
    delivered = deliver.handler(event, Context())

    assert delivered["output"]["key"].startswith(f"{event['upload']['key']}~")
    assert world.s3.get_object(Bucket=OUTPUT, Key=event["upload"]["key"])["Body"].read() == b"theirs"
