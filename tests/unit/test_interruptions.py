"""`submit` is killed between any two of its steps, and then something happens to the object."""

from __future__ import annotations

import io
import json
import time
from types import ModuleType
from typing import Any

import msgspec
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError
from moto.s3.models import s3_backends

from lumendrop import upload_queue
from tests.unit import interruptions
from tests.unit.conftest import LoadFunction
from tests.unit.interruptions import DEEDS, MOMENTS
from tests.unit.test_submit import Clock, configured, earlier_claim, submit  # noqa: F401  # fixtures
from tests.unit.world import INPUT, JPEG, Context, World, created, redelivered, refusal, unindexed

PAIRS = interruptions.pairs()


class Killed(BaseException):
    """Lambda ends the function."""


class Interruption:
    """Kills the function before the step with this call."""

    def __init__(self, call: str) -> None:
        self.call: str | None = call

    def call_api(self, name: str, parameters: dict[str, Any]) -> None:
        if name == "GetItem":
            name = f"GetItem {parameters['Key']['pk']['S'].partition('#')[0]}"
        self.reach(name)

    def reach(self, call: str) -> None:
        if call == self.call:
            self.call = None
            raise Killed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def interruption(world: World, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Interruption:
    made = Interruption(MOMENTS[request.param])
    send = world.enhancer.send

    def interrupted(*arguments: Any, **more: Any) -> Any:
        made.reach("POST")
        answer = send(*arguments, **more)
        made.reach("answered")
        return answer

    monkeypatch.setattr(world.enhancer, "send", interrupted)
    call_api = BaseClient._make_api_call

    def checked(client: Any, name: str, parameters: dict[str, Any]) -> Any:
        made.call_api(name, parameters)
        return call_api(client, name, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", checked)
    return made


def object_of(event: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event["Records"][0]["body"])["detail"]["object"]
    return found


def delete(world: World, event: Any) -> None:
    world.s3.delete_object(Bucket=INPUT, Key=object_of(event)["key"], VersionId=object_of(event)["version-id"])


def archive(world: World, event: Any) -> None:
    (version,) = s3_backends["123456789012"]["aws"].buckets[INPUT].keys.getlist(object_of(event)["key"])
    version._storage_class = "GLACIER"


def happens(world: World, event: Any, deed: str) -> list[Any]:
    """Changes the object, and returns the events that follow."""
    match deed:
        case "deleted":
            delete(world, event)
        case "archived":
            archive(world, event)
        case "overwritten":
            return [world.upload(body=JPEG + b"2")]
        case "sent again":
            return [event]
    return []


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize(("pair", "interruption"), [(one, one[1]) for one in PAIRS], ids=str, indirect=["interruption"])
def test_an_interrupted_upload_ends_as_documented(
    world: World,
    submit: ModuleType,  # noqa: F811
    clock: Clock,
    interruption: Interruption,
    pair: tuple[str, str],
    deed: str,
) -> None:
    event = world.upload()
    if pair[1] == "acknowledge":
        submit.handler(event, Context())
    else:
        with pytest.raises(Killed):
            submit.handler(event, Context())
    others = happens(world, event, deed)
    clock.later = 360  # the visibility timeout
    for one in [event, *others, event]:
        submit.handler(one, Context())

    row = next(row for row in world.rows() if row["version_id"] == object_of(event)["version-id"])
    assert row["status"] == interruptions.end(pair, deed)
    mine = [one for one in world.executions() if one["upload"]["version_id"] == row["version_id"]]
    assert len(mine) == 1
    assert (mine[0]["task"] is not None) == (row["status"] == "submitted")
    assert (mine[0]["outcome"] is not None) == (row["status"] != "submitted")
    posts = len(world.enhancer.submits) - (deed == "overwritten")
    assert posts == (row["status"] == "submitted" or pair[1] in ("receive the answer", "record"))
    assert world.messages() == []


def test_the_documentation_has_the_table_of_this_test() -> None:
    assert interruptions.PAGE.read_text() == interruptions.page()


# ---------------------------------------------------------------- the row comes first


@pytest.mark.parametrize("deed", ["deleted", "archived", "too big"])
def test_a_retry_whose_photo_is_gone_ends_as_its_last_attempt(
    world: World,
    submit: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    deed: str,
) -> None:
    event = world.upload()
    submit.handler(event, Context())
    retrying(world, "service_error")
    happens(world, event, deed)
    if deed == "too big":  # the owner has lowered the limit
        monkeypatch.setattr(submit, "SETTINGS", msgspec.structs.replace(submit.SETTINGS, max_upload_bytes=10))
    submit.handler(event, Context())
    submit.handler(event, Context())

    row = world.row()
    assert (row["status"], row["outcome"]["code"], row["outcome"]["may_have_cost"]) == ("failed", "service_error", True)
    assert len(world.enhancer.submits) == 1
    first, ended = sorted(world.executions(), key=lambda one: len(one["name"]))
    assert ended["name"] == f"{first['name']}-ended"
    assert ended["outcome"]["code"] == "service_error"
    assert ended["task"]["id"] == "task-1"


def test_a_retry_of_an_earlier_version_has_a_report_too(world: World, submit: ModuleType) -> None:  # noqa: F811
    event = world.upload()
    submit.handler(event, Context())
    world.set_status("retrying")
    delete(world, event)
    submit.handler(event, Context())

    assert (world.row()["status"], world.row()["outcome"]["code"]) == ("failed", "retry_not_sent")
    assert len(world.executions()) == 2


def retrying(world: World, code: str) -> None:
    """What RecordRetrying of the workflow writes."""
    world.set_status("retrying")
    row = world.row()
    texts = {"status": "failed", "code": code, "message": "m", "advice": "a"}
    outcome = {name: {"S": text} for name, text in texts.items()} | {"may_have_cost": {"BOOL": True}}
    world.dynamodb.update_item(
        TableName="ledger",
        Key={"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}},
        UpdateExpression="SET outcome = :outcome",
        ExpressionAttributeValues={":outcome": {"M": outcome}},
    )


def test_an_expired_claim_whose_photo_is_gone_becomes_unknown(world: World, submit: ModuleType) -> None:  # noqa: F811
    event = world.upload()
    earlier_claim(world, event, seconds=-10)
    delete(world, event)
    submit.handler(event, Context())

    assert world.row()["status"] == "unknown"
    (execution,) = world.executions()
    assert execution["outcome"]["code"] == "ambiguous_submit"


def test_a_duplicate_whose_photo_is_gone_does_not_take_the_name_of_the_execution(
    world: World,
    submit: ModuleType,  # noqa: F811
) -> None:
    event = world.upload()
    earlier_claim(world, event, seconds=30)
    delete(world, event)
    submit.handler(event, Context())

    assert (world.row()["status"], world.executions()) == ("claimed", [])
    assert len(world.messages()) == 1


@pytest.mark.parametrize("held", ["account", "outage", "no S3"])
def test_a_paid_task_is_watched_whatever_holds_submits_back(
    world: World,
    submit: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    held: str,
) -> None:
    event = world.upload()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(submit.workflow, "start", fail)
        submit.handler(event, Context())
    if held == "no S3":
        monkeypatch.setattr(submit.storage, "inspect", fail)
    else:
        status = 402 if held == "account" else 500
        world.enhancer.on_submit.append(refusal(status, "server_error"))
        submit.handler(world.upload("other.jpg"), Context())
    submit.handler(event, Context())

    assert "task-1" in [one["task"]["id"] for one in world.executions() if one["task"]]


def fail(*_: object, **__: object) -> Any:
    raise RuntimeError("crash")


# ---------------------------------------------------------------- a paid task is never lost


def throttled(code: str = "ProvisionedThroughputExceededException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "slow down"}}, "PutItem")


TRANSIENT = [
    throttled(),
    throttled("TransactionConflictException"),
    throttled("ThrottlingException"),
    ReadTimeoutError(endpoint_url="https://dynamodb"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=str)
def test_recording_is_repeated(
    world: World,
    submit: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    ends = iter([error] * 12)
    put = submit.LEDGER._put_or_read

    def put_later(*arguments: Any) -> Any:
        for failure in ends:
            raise failure
        return put(*arguments)

    monkeypatch.setattr(submit.LEDGER, "_sleep", lambda _: None)
    monkeypatch.setattr(submit.LEDGER, "_put_or_read", put_later)
    submit.handler(world.upload(), Context())

    assert (world.row()["status"], world.row()["task_id"]) == ("submitted", "task-1")


def unrecordable(submit: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def put(*_: object) -> Any:
        raise throttled("AccessDeniedException")

    monkeypatch.setattr(submit.LEDGER, "_put_or_read", put)


def test_a_task_that_cannot_be_recorded_travels_with_its_message(
    world: World,
    submit: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    logs: io.StringIO,
) -> None:
    event = world.upload()
    world.enhancer.on_submit.append(created("task-precious-4711", usage={"credits_reserved": 12}))
    with monkeypatch.context() as patch:
        unrecordable(submit, patch)
        submit.handler(event, Context())
    assert "task-precious-4711" in logs.getvalue()
    assert world.row()["status"] == "claimed"
    (message,) = world.messages()
    delete(world, event)
    submit.handler(redelivered(message), Context())

    row = world.row()
    assert (row["status"], row["task_id"], row["credits"]) == ("submitted", "task-precious-4711", 12)
    (execution,) = world.executions()
    assert execution["task"]["id"] == "task-precious-4711"
    assert len(world.enhancer.submits) == 1


def test_a_task_is_recorded_after_the_upload_became_unknown(
    world: World,
    submit: Any,  # noqa: F811
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = world.upload()
    with monkeypatch.context() as patch:
        unrecordable(submit, patch)
        submit.handler(event, Context())
    clock.later = 360
    submit.handler(event, Context())
    assert world.row()["status"] == "unknown"
    submit.handler(redelivered(world.messages()[0]), Context())

    assert (world.row()["status"], world.row()["task_id"]) == ("submitted", "task-1")
    assert [one["task"]["id"] for one in world.executions() if one["task"]] == ["task-1"]
    assert len(world.executions()) == 2
    assert len(world.enhancer.submits) == 1


def test_without_ledger_and_queue_the_message_comes_back_and_the_log_has_the_task(
    world: World,
    submit: Any,  # noqa: F811
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    logs: io.StringIO,
) -> None:
    event = world.upload()
    with monkeypatch.context() as patch:
        unrecordable(submit, patch)
        patch.setattr(upload_queue, "requeue", fail)
        with pytest.raises(RuntimeError):
            submit.handler(event, Context())
    assert "task-1" in logs.getvalue()
    clock.later = 360
    submit.handler(event, Context())

    assert world.row()["status"] == "unknown"
    assert len(world.enhancer.submits) == 1


# ---------------------------------------------------------------- nothing fails after the claim that can fail before


@pytest.mark.parametrize("seconds", [3, 35])
def test_nothing_is_sent_with_too_little_time_left(world: World, submit: ModuleType, seconds: float) -> None:  # noqa: F811
    submit.handler(world.upload(), Context(seconds))

    assert (world.enhancer.submits, world.rows()) == ([], [])
    (message,) = world.messages()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "no_time"


def test_a_slow_claim_is_released_unsent(
    world: World,
    submit: Any,  # noqa: F811
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = submit.LEDGER.claim

    def slowly(*arguments: Any) -> Any:
        clock.later += 30
        return claim(*arguments)

    monkeypatch.setattr(submit.LEDGER, "claim", slowly)
    submit.handler(world.upload(), Context())

    assert (world.enhancer.submits, world.rows(), world.tasks_today()) == ([], [], 0)
    assert len(world.messages()) == 1


def test_the_key_is_read_before_the_claim(world: World, submit: ModuleType) -> None:  # noqa: F811
    submit.handler(world.upload(), Context())

    operations = [call.operation for call in world.calls]
    assert operations.index("GetSecretValue") < operations.index("TransactWriteItems")


def test_a_claim_is_released_before_the_rate_limit_is_written(
    world: World,
    submit: Any,  # noqa: F811
) -> None:
    world.enhancer.on_submit.extend([refusal(503, "service_unavailable_error")] * 20)
    submit.handler(world.upload(), Context())

    writes = [call.operation for call in world.calls if call.operation in ("TransactWriteItems", "PutItem")]
    assert writes[:3] == ["TransactWriteItems", "TransactWriteItems", "PutItem"]


# ---------------------------------------------------------------- later attempts


def test_a_second_attempt_that_is_refused_may_have_cost(world: World, submit: ModuleType) -> None:  # noqa: F811
    event = world.upload()
    submit.handler(event, Context())
    retrying(world, "service_error")
    world.enhancer.on_submit.append(refusal(422, "invalid_request_error"))
    submit.handler(event, Context())

    assert (world.row()["status"], world.row()["outcome"]["may_have_cost"]) == ("rejected", True)
    assert world.tasks_today() == 1


def test_a_release_restores_everything(world: World, submit: Any) -> None:  # noqa: F811
    event = world.upload()
    submit.handler(event, Context())
    world.set_status("failed")
    row = world.row()
    world.dynamodb.update_item(
        TableName="ledger",
        Key={"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}},
        UpdateExpression="SET report_key = :key, source_pixels = :pixels",
        ExpressionAttributeValues={":key": {"S": "errors/a.json"}, ":pixels": {"S": "100x200"}},
    )
    before = world.row()
    event["Records"][0]["messageAttributes"]["send-again"] = {"stringValue": "1", "dataType": "Number"}
    world.enhancer.on_submit.append(refusal(402, "insufficient_quota"))
    submit.handler(event, Context())

    assert unindexed(world.row()) == unindexed(before)


# ---------------------------------------------------------------- copies do not multiply


def test_of_several_copies_of_a_message_one_continues(world: World, submit: ModuleType) -> None:  # noqa: F811
    world.enhancer.on_submit.extend([refusal(402, "insufficient_quota")] * 50)
    submit.handler(world.upload(), Context())
    copies = [redelivered(world.messages()[0]) for _ in range(5)]
    for n, copy in enumerate(copies):
        copy["Records"][0]["messageId"] = f"copy-{n}"
        submit.handler(copy, Context())
    assert len(world.messages()) == 2
    submit.handler(copies[0], Context())  # received again, for example after a crash

    assert len(world.messages()) == 3


def test_sqs_that_takes_a_message_and_never_answers_does_not_multiply_it(world: World, submit: Any) -> None:  # noqa: F811
    world.enhancer.on_submit.extend([refusal(402, "insufficient_quota")] * 50)
    event, taken = world.upload(), list[Any]()

    def lose_answer(request: Any, **_: object) -> None:
        taken.append(redelivered(json.loads(request.body)))
        taken[-1]["Records"][0]["messageId"] = f"copy-{len(taken)}"
        raise ReadTimeoutError(endpoint_url="https://sqs")

    events, call = submit.SQS.meta.events, "before-send.sqs.SendMessage"
    events.register_first(call, lose_answer)
    try:
        for _ in range(2):  # the original comes back, too
            with pytest.raises(ReadTimeoutError):
                submit.handler(event, Context())
    finally:
        events.unregister(call, lose_answer)
    assert len(taken) == 4
    before = len(world.messages())
    for copy in [*taken, *taken]:
        submit.handler(copy, Context())

    sent = world.messages()[before:]
    assert {message["MessageAttributes"]["waits"]["StringValue"] for message in sent} == {"2"}
    assert len(sent) == 2  # one copy continues; this one was received twice


def test_a_copy_is_sent_if_the_ledger_cannot_tell(
    world: World,
    submit: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unavailable(*_: object) -> Any:
        raise throttled()

    monkeypatch.setattr(submit.LEDGER, "take_requeue", unavailable)
    world.enhancer.on_submit.append(refusal(402, "insufficient_quota"))
    submit.handler(world.upload(), Context())

    assert len(world.messages()) == 1


def test_an_upload_to_a_suspended_bucket_is_rejected(world: World, submit: ModuleType) -> None:  # noqa: F811
    event = world.upload()
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["object"]["version-id"] = "null"
    event["Records"][0]["body"] = json.dumps(body)
    submit.handler(event, Context())

    assert world.row()["outcome"]["code"] == "bucket_not_versioned"
    assert world.row()["version_id"].startswith("unversioned-")


# ---------------------------------------------------------------- outages


HTML = {
    "500": refusal(500, "server_error"),
    "500 with a code of 503": refusal(500, "x", code="service_unavailable_error"),
}


@pytest.mark.parametrize("kind", HTML)
def test_an_outage_puts_few_photos_at_risk(
    world: World,
    submit: Any,  # noqa: F811
    clock: Clock,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The free requests succeed, the submits do not: one photo per pause, which grows to 15 minutes."""
    world.enhancer.on_submit.extend([HTML[kind]] * 100)
    begun = clock.time()
    number = 0
    while clock.time() < begun + 1800:
        submit.handler(world.upload(f"{number}.jpg"), Context())
        number += 1
    unknown = [row for row in world.rows() if row["status"] == "unknown"]

    assert len(unknown) == len(world.enhancer.submits) <= 1 + 11
    assert world.enhancer.probes >= len(unknown) - 1
    assert '"EnhancerUnavailable":[1.0]' in capsys.readouterr().out
    world.enhancer.on_submit.clear()
    clock.later += 900
    submit.handler(world.upload("after.jpg"), Context())
    submit.handler(world.upload("later.jpg"), Context())
    assert [row["status"] for row in world.rows() if row["key"] in ("after.jpg", "later.jpg")] == ["submitted"] * 2


def test_no_photo_is_at_risk_while_the_free_request_fails(
    world: World,
    submit: Any,  # noqa: F811
    clock: Clock,
) -> None:
    world.enhancer.on_submit.append(refusal(500, "server_error"))
    world.enhancer.on_probe.extend([refusal(502, "bad_gateway")] * 500)
    begun = clock.time()
    while clock.time() < begun + 1800:
        submit.handler(world.upload(f"{time.monotonic_ns()}.jpg"), Context())

    assert len(world.enhancer.submits) == 1
    assert world.tasks_today() == 1
    world.enhancer.on_probe.clear()
    clock.later += 60
    submit.handler(world.upload("after.jpg"), Context())
    assert len(world.enhancer.submits) == 2


def test_other_functions_wait_for_the_answer_to_the_first_photo(
    world: World,
    submit: Any,  # noqa: F811
    configured: LoadFunction,  # noqa: F811
    clock: Clock,
) -> None:
    world.enhancer.on_submit.append(refusal(500, "server_error"))
    submit.handler(world.upload("1.jpg"), Context())
    limiter = submit.TASKS.throttle._limiter
    assert limiter.acquire(20) == 0  # this function now tries
    other = configured()
    other.handler(world.upload("2.jpg"), Context())
    assert len(world.enhancer.submits) == 1
    limiter.on_accepted()
    other.handler(world.upload("3.jpg"), Context())

    assert len(world.enhancer.submits) == 2
