"""submit, through its handler: what it reads, what it pays for, and what it records."""

from __future__ import annotations

import copy
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
import requests

from lumendrop.circuit_breaker import CircuitBreaker
from lumendrop.ledger import Ledger
from lumendrop.rate_limiter import DynamoDBRateStore, RateLimiter
from lumendrop.throttle import Throttle
from lumendrop.upload_queue import messages
from lumendrop.uploads import NotAnUploadEvent, Upload, parse_event
from tests.unit import photos
from tests.unit.conftest import LoadFunction
from tests.unit.test_inspect import REJECTED as RULED_OUT
from tests.unit.world import (
    HEIC,
    INPUT,
    JPEG,
    KEY,
    PNG,
    WEBP,
    Answer,
    Broken,
    Context,
    Reply,
    World,
    created,
    for_object,
    redelivered,
    refusal,
    sample,
    unindexed,
)

NEVER_SENT = Broken(requests.ConnectTimeout("no connection"), sent=False)
NO_ANSWER = Broken(requests.ReadTimeout("no answer"), sent=True)


@dataclass
class Clock:
    """Time that advances only in sleep, however slow the machine is."""

    begun: float = field(default_factory=time.time)
    slept: list[float] = field(default_factory=list)
    later: float = 0

    def time(self) -> float:
        return self.begun + self.later + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def submit(configured: LoadFunction) -> ModuleType:
    return configured()


@pytest.fixture
def configured(function: LoadFunction, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> LoadFunction:
    """Loads submit with environment variables that differ from the template's defaults."""

    def load(**environment: str) -> ModuleType:
        module = function("submit", **environment)
        monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(module.TASKS, "throttle", throttle(module.DYNAMODB, clock, module.ENHANCER.probe))
        return module

    return load


def throttle(dynamodb: Any, clock: Clock, probe: Callable[[], None]) -> Throttle:
    """The throttle of a function that has made no calls."""
    limiter = RateLimiter(DynamoDBRateStore(dynamodb, "ledger"), 5, clock.time, clock.sleep)
    return Throttle(CircuitBreaker(clock.time), limiter, probe)


def earlier_claim(world: World, event: Any, *, seconds: float) -> None:
    """The claim of another run that has `seconds` left."""
    upload = parse_event(event["Records"][0]["body"])
    assert isinstance(upload, Upload)
    Ledger(world.dynamodb, "ledger", 1000, lambda: time.time() - 60).claim(upload, "{}", 60 + seconds - 5)


def deferred_by(world: World, submit: Any, event: Any, reply: Reply) -> Any:
    """Handles a message while the enhancer gives only this answer. Returns the requeued message."""
    world.enhancer.on_submit.extend([reply] * 20)
    submit.handler(event, Context())
    world.enhancer.on_submit.clear()
    message = world.messages()[-1]
    submit.time.later += message["DelaySeconds"]
    return redelivered(message)


# ---------------------------------------------------------------- an upload becomes a task


def test_pays_one_task_records_it_and_starts_the_workflow(world: World, submit: ModuleType, clock: Clock) -> None:
    submit.handler(world.upload("a/photo.jpg"), Context())

    (sent,) = world.enhancer.submits
    assert sent.keys() == {"model", "image_url", "resolution"}
    assert sent["model"] == "phota-image-enhance"
    assert sent["resolution"] == "4K"
    assert world.enhancer.keys == [f"Bearer {KEY}"]
    row = world.row()
    assert row["status"] == "submitted"
    assert row["task_id"] == "task-1"
    assert row["attempt"] == 1
    assert row["estimated_seconds"] == 45
    assert row["deadline"] == row["submitted_at"] + 60 * 60
    assert row["submitted_at"] == int(clock.time())
    (execution,) = world.executions()
    assert execution["task"]["id"] == "task-1"
    assert execution["options"] == {"resolution": "4K"}
    assert execution["outcome"] is None
    assert world.tasks_today() == 1
    assert world.messages() == []


def test_the_sample_event_is_accepted(world: World, submit: ModuleType) -> None:
    """Its object does not exist here, so it is rejected, which shows that the event was read."""
    submit.handler(sample("submit"), Context())

    assert world.row()["key"] == "incoming/my photo+1%41.jpg"
    assert world.row()["outcome"]["code"] == "upload_gone"


@pytest.mark.parametrize(
    "key",
    [
        "my photo.jpg",
        "a+b.jpg",
        "100%.jpg",
        "%41.jpg",
        "a%2Fb.jpg",
        "%2B+ %.jpg",
        "ümläut/📷.jpg",
        "a/b/../c.jpg",
        "ä" * 500,
    ],
)
def test_the_key_is_not_decoded(world: World, submit: ModuleType, key: str) -> None:
    submit.handler(world.upload(key), Context())

    assert world.row()["key"] == key
    (sent,) = world.enhancer.submits
    assert unquote(urlsplit(sent["image_url"]).path) == f"/{key}"
    (execution,) = world.executions()
    assert execution["upload"]["key"] == key
    assert [call.operation for call in world.calls].count("GetObject") == 1


def test_the_decoded_key_is_tried_once_if_the_raw_key_has_no_object(
    world: World, submit: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    event = for_object(world.upload("my photo+1.jpg"), key="my+photo%2B1.jpg")
    submit.handler(event, Context())

    assert world.row()["key"] == "my photo+1.jpg"
    assert len(world.enhancer.submits) == 1
    assert "key decoded" in caplog.messages


@pytest.mark.parametrize("body", [JPEG, PNG, WEBP, HEIC], ids=["jpeg", "png", "webp", "heic"])
def test_the_bytes_decide_and_not_the_name(world: World, submit: ModuleType, body: bytes) -> None:
    submit.handler(world.upload("no-extension", body), Context())

    assert world.row()["status"] == "submitted"


def test_a_folder_marker_leaves_no_trace(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("a/folder/", b""), Context())

    assert (world.rows(), world.executions(), world.messages(), world.enhancer.submits) == ([], [], [], [])


def test_an_empty_photo_is_reported(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("empty.jpg", b""), Context())

    assert rejection(world)["code"] == "empty"


def test_a_photo_with_the_key_of_a_folder_is_enhanced(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("a/folder/", JPEG), Context())

    assert world.row()["status"] == "submitted"


@pytest.mark.parametrize(
    ("size", "ranges"),
    [
        (1_000_000, ["bytes=0-131071", "bytes=868928-999999"]),
        (200_000, ["bytes=0-131071", "bytes=131072-199999"]),
        (131_072, ["bytes=0-131071"]),
    ],
)
def test_only_the_first_and_the_last_bytes_are_read(
    world: World, submit: ModuleType, size: int, ranges: list[str]
) -> None:
    submit.handler(world.upload(body=JPEG.ljust(size, b"\0")), Context())

    reads = [call for call in world.calls if call.operation == "GetObject"]
    assert [call.request["headers"]["Range"] for call in reads] == ranges
    assert world.row()["status"] == "submitted"


@pytest.mark.parametrize("body", ["{}", "no JSON", '{"detail": 7}', json.dumps({"Event": "s3:TestEvent"})])
def test_a_message_that_is_not_an_upload_event_raises(world: World, submit: ModuleType, body: str) -> None:
    """SQS then moves it to the dead-letter queue."""
    event = sample("submit")
    event["Records"][0]["body"] = body
    with pytest.raises(NotAnUploadEvent):
        submit.handler(event, Context())


# ---------------------------------------------------------------- options


def test_the_stacks_options_are_sent(world: World, configured: LoadFunction) -> None:
    submit = configured(RESOLUTION="1K", CREATIVITY="0.2", RESEMBLANCE="1", PROFILE_IDS="p-1, p-2")
    submit.handler(world.upload(), Context())

    (sent,) = world.enhancer.submits
    del sent["image_url"], sent["model"]
    assert sent == {"resolution": "1K", "creativity": 0.2, "resemblance": 1.0, "profile_ids": ["p-1", "p-2"]}
    assert json.loads(world.row()["options"]) == sent


def test_a_photos_metadata_overrides_the_stack(world: World, configured: LoadFunction) -> None:
    submit = configured(CREATIVITY="0.2", RESEMBLANCE="", PROFILE_IDS="")
    metadata = {"resolution": "1k", "creativity": "0.9", "author": "somebody"}
    submit.handler(world.upload(metadata=metadata), Context())

    (sent,) = world.enhancer.submits
    del sent["image_url"], sent["model"]
    assert sent == {"resolution": "1K", "creativity": 0.9}


def test_optional_fields_are_omitted_if_the_enhancer_does_not_support_them(
    world: World, configured: LoadFunction
) -> None:
    submit = configured(CREATIVITY="0.2")
    world.enhancer.on_submit.append(refusal(422, "invalid_request_error", code="unsupported_advanced_options"))
    submit.handler(world.upload(), Context())

    assert [sent.get("creativity") for sent in world.enhancer.submits] == [0.2, None]
    assert json.loads(world.row()["options"]) == {"resolution": "4K"}
    assert world.tasks_today() == 1


def test_a_refusal_of_options_that_were_not_sent_is_a_rejection(world: World, submit: ModuleType) -> None:
    world.enhancer.on_submit.append(refusal(422, "invalid_request_error", code="unsupported_advanced_options"))
    submit.handler(world.upload(), Context())

    assert len(world.enhancer.submits) == 1
    assert world.row()["status"] == "rejected"


# ---------------------------------------------------------------- rejections


BAD_OPTIONS = [
    ("resolution", "8K"),
    ("resolution", ""),
    ("creativity", ""),
    ("creativity", " "),
    ("resemblance", ""),
    ("profile-ids", ""),
    ("profile-ids", ",,"),
    ("metadata", ""),
    ("creativity", "1.01"),
    ("creativity", "0_1"),
    ("resemblance", "-0"),
    ("creativity", "-0.1"),
    ("creativity", "nan"),
    ("creativity", "much"),
    ("resemblance", "2"),
    ("resemblance", "inf"),
    ("profile-ids", "p 1"),
    ("profile-ids", ",".join(f"p{n}" for n in range(21))),
]


@pytest.mark.parametrize(("name", "value"), BAD_OPTIONS, ids=lambda text: text[:12])
def test_an_invalid_option_is_rejected_and_named(world: World, submit: ModuleType, name: str, value: str) -> None:
    submit.handler(world.upload(metadata={name: value}), Context())

    outcome = rejection(world)
    assert outcome["code"] == "invalid_option"
    assert name in outcome["message"]
    assert name in outcome["advice"]


@pytest.mark.parametrize("body", [b"hello, this is text\n", b"\xff\xd8", b"%PDF-1.7"])
def test_a_file_that_is_not_a_photo_is_rejected_despite_its_name(world: World, submit: ModuleType, body: bytes) -> None:
    submit.handler(world.upload("photo.jpg", body), Context())

    assert rejection(world)["code"] == "not_an_image"


@pytest.mark.parametrize("name", RULED_OUT)
def test_nothing_is_paid_for_what_the_bytes_rule_out(world: World, submit: ModuleType, name: str) -> None:
    body, code = RULED_OUT[name]
    submit.handler(world.upload("photo.jpg", body), Context())

    assert rejection(world)["code"] == (code if body else "empty")


def test_a_file_in_transfer_is_rejected(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("photo.jpg.filepart"), Context())

    assert rejection(world)["code"] == "truncated"


def test_an_enhanced_photo_is_not_enhanced_again(
    world: World, submit: ModuleType, logs: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was copied into the input bucket, for example by a sync, or the output bucket is the input bucket."""
    result = {"source-key": "b.jpg", "source-version-id": "v1", "task-id": "task-1", "attempt": "1"}
    submit.handler(world.upload("a.jpg", metadata=result), Context())

    assert (world.enhancer.submits, world.rows(), world.executions(), world.messages()) == ([], [], [], [])
    (line,) = [line for line in logs.getvalue().splitlines() if "upload skipped" in line]
    assert json.loads(line)["reason"] == "enhanced photo"
    assert '"UploadsSkipped":[1.0]' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("width", "height", "resolution", "choice", "is_rejected"),
    [
        (4097, 2000, "4K", "reject", True),
        (4096, 4096, "4K", "reject", False),
        (1025, 10, "1K", "reject", True),
        (4097, 2000, "4K", "enhance", False),
    ],
)
def test_an_upload_that_is_larger_than_its_result_can_be_rejected(
    width: int, height: int, resolution: str, choice: str, is_rejected: bool, world: World, configured: LoadFunction
) -> None:
    body = photos.jpeg(photos.frame(width=width, height=height), data=b"\x12" * 500)
    configured(LARGER_THAN_RESULT=choice, RESOLUTION=resolution).handler(world.upload(body=body), Context())

    assert len(world.enhancer.submits) == (not is_rejected)
    if is_rejected:
        outcome = world.row()["outcome"]
        assert (outcome["code"], outcome["may_have_cost"]) == ("larger_than_result", False)
        result = {"4K": "4096x2000", "1K": "1024x10"}[resolution]
        assert f"{width}x{height}" in outcome["message"]
        assert result in outcome["message"]


def test_an_upload_that_is_too_big_is_rejected(world: World, configured: LoadFunction) -> None:
    configured(MAX_UPLOAD_BYTES=str(len(JPEG) - 1)).handler(world.upload(body=JPEG), Context())

    outcome = rejection(world)
    assert outcome["code"] == "too_big"
    assert str(len(JPEG)) in outcome["message"]
    assert "MaxUploadBytes" in outcome["advice"]


def test_the_largest_allowed_upload_is_accepted(world: World, configured: LoadFunction) -> None:
    configured(MAX_UPLOAD_BYTES=str(len(JPEG))).handler(world.upload(body=JPEG), Context())

    assert world.row()["status"] == "submitted"


def test_a_deleted_object_is_rejected(world: World, submit: ModuleType) -> None:
    event = world.upload("a.jpg")
    version = json.loads(event["Records"][0]["body"])["detail"]["object"]["version-id"]
    world.s3.delete_object(Bucket=INPUT, Key="a.jpg", VersionId=version)
    submit.handler(event, Context())

    assert rejection(world)["code"] == "upload_gone"


def test_an_upload_of_a_bucket_without_versions_is_rejected_unread(world: World, submit: ModuleType) -> None:
    """Each upload is a separate row, distinguished by its sequencer."""
    for sequencer in ("0065F1", "0065F2"):
        event = world.upload("a.jpg")
        message = json.loads(event["Records"][0]["body"])
        del message["detail"]["object"]["version-id"]
        message["detail"]["object"]["sequencer"] = sequencer
        event["Records"][0]["body"] = json.dumps(message)
        submit.handler(event, Context())

    assert [(row["version_id"], row["outcome"]["code"]) for row in world.rows()] == [
        ("unversioned-0065F1", "bucket_not_versioned"),
        ("unversioned-0065F2", "bucket_not_versioned"),
    ]
    assert len(world.executions()) == 2
    assert (world.enhancer.submits, world.tasks_today()) == ([], 0)
    assert "GetObject" not in [call.operation for call in world.calls]


def rejection(world: World) -> dict[str, Any]:
    """The outcome, after a check that it was reported and cost nothing."""
    row = world.row()
    assert row["status"] == "rejected"
    assert row["outcome"]["may_have_cost"] is False
    (execution,) = world.executions()
    assert execution["task"] is None
    assert execution["outcome"] == row["outcome"]
    assert world.enhancer.submits == []
    assert world.tasks_today() == 0
    assert world.messages() == []
    return dict(row["outcome"])


def test_a_rejection_that_is_delivered_twice_is_reported_once(world: World, submit: ModuleType) -> None:
    event = world.upload(body=b"text")
    submit.handler(event, Context())
    submit.handler(event, Context())

    rejection(world)


# ---------------------------------------------------------------- paying once


def test_the_same_event_twice_pays_once_and_runs_one_workflow(world: World, submit: ModuleType) -> None:
    event = world.upload()
    submit.handler(event, Context())
    submit.handler(event, Context())

    assert len(world.enhancer.submits) == 1
    assert len(world.executions()) == 1
    assert world.tasks_today() == 1


def test_a_run_that_crashed_before_it_started_the_workflow_is_completed(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = world.upload()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(submit.workflow, "start", fail)
        submit.handler(event, Context())
    submit.handler(event, Context())

    assert len(world.enhancer.submits) == 1
    (execution,) = world.executions()
    assert execution["task"]["id"] == "task-1"


def fail(*_: object) -> None:
    raise RuntimeError("crash")


@pytest.mark.parametrize("status", ["enhanced", "failed", "superseded"])
def test_an_upload_that_ended_is_not_changed(world: World, submit: ModuleType, status: str) -> None:
    event = world.upload()
    submit.handler(event, Context())
    world.set_status(status)
    world.calls.clear()
    submit.handler(event, Context())

    assert len(world.enhancer.submits) == 1
    assert "StartExecution" not in {call.operation for call in world.calls}


def test_each_version_of_a_key_is_a_separate_upload(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("a.jpg", JPEG), Context())
    submit.handler(world.upload("a.jpg", JPEG + b"2"), Context())

    assert len(world.enhancer.submits) == 2
    assert len({execution["name"] for execution in world.executions()}) == 2


def with_older_key(world: World) -> str:
    """Moves the only row to where earlier versions stored it."""
    row = world.row()
    key = {"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}}
    item = world.dynamodb.get_item(TableName="ledger", Key=key)["Item"]
    world.dynamodb.delete_item(TableName="ledger", Key=key)
    pk = f"upload#{row['key']}"
    world.dynamodb.put_item(TableName="ledger", Item=item | {"pk": {"S": pk}})
    return pk


@pytest.mark.parametrize("status", ["submitted", "retrying", "enhanced", "failed", "unknown"])
def test_a_row_of_an_earlier_version_counts(world: World, submit: ModuleType, status: str) -> None:
    event = world.upload()
    submit.handler(event, Context())
    pk = with_older_key(world)
    if status != "submitted":
        world.set_status(status)
    submit.handler(event, Context())

    assert world.row()["pk"] == pk
    assert len(world.enhancer.submits) == 1 + (status == "retrying")


def test_the_workflow_gets_the_key_of_an_older_row(world: World, submit: ModuleType) -> None:
    event = world.upload()
    submit.handler(event, Context())
    pk = with_older_key(world)
    world.set_status("failed")
    submit.handler(sent_again(event, 1), Context())

    assert (world.row()["pk"], world.row()["status"]) == (pk, "submitted")
    assert pk in {one["row"]["pk"] for one in world.executions()}
    assert len(world.enhancer.submits) == 2


def test_the_same_key_and_version_in_another_bucket_is_another_upload(world: World, submit: ModuleType) -> None:
    """Every object that is older than its bucket's versioning has the version "null"."""
    for bucket in ("one-bucket", "other-bucket"):
        world.s3.create_bucket(Bucket=bucket)
        world.s3.put_object(Bucket=bucket, Key="a.jpg", Body=JPEG)
        world.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        event = for_object(sample("submit"), key="a.jpg", **{"version-id": "null"})
        body = json.loads(event["Records"][0]["body"])
        body["detail"]["bucket"]["name"] = bucket
        body["detail"]["object"]["sequencer"] = ""
        event["Records"][0]["body"] = json.dumps(body)
        submit.handler(event, Context())

    assert sorted(row["bucket"] for row in world.rows()) == ["one-bucket", "other-bucket"]
    assert len({one["name"] for one in world.executions()}) == 2
    assert len(world.enhancer.submits) == 2


def test_a_claim_that_may_be_in_use_is_waited_for(world: World, submit: ModuleType) -> None:
    event = world.upload()
    earlier_claim(world, event, seconds=40)
    submit.handler(event, Context())

    assert world.enhancer.submits == []
    assert world.executions() == []
    (message,) = world.messages()
    assert message["MessageBody"] == event["Records"][0]["body"]
    assert 35 <= message["DelaySeconds"] <= 45


def test_the_claim_outlives_the_function(world: World, submit: ModuleType) -> None:
    world.enhancer.on_submit.append(Broken(KeyboardInterrupt(), sent=True))  # type: ignore[arg-type]  # a crash of any kind
    before = time.time()
    with pytest.raises(KeyboardInterrupt):
        submit.handler(world.upload(), Context(seconds=60))

    row = world.row()
    assert row["status"] == "claimed"
    assert row["claim_expires"] >= before + 60


def test_an_upload_with_an_expired_claim_is_unknown_and_never_resubmitted(world: World, submit: ModuleType) -> None:
    event = world.upload()
    earlier_claim(world, event, seconds=-1)
    submit.handler(event, Context())
    submit.handler(event, Context())

    assert world.enhancer.submits == []
    assert world.row()["status"] == "unknown"
    assert world.row()["outcome"]["may_have_cost"] is True
    (execution,) = world.executions()
    assert execution["outcome"]["code"] == "ambiguous_submit"
    assert world.tasks_today() == 1


def test_an_upload_with_an_expired_claim_is_resubmitted_with_retry(world: World, configured: LoadFunction) -> None:
    submit = configured(AMBIGUOUS_SUBMIT="retry")
    event = world.upload()
    earlier_claim(world, event, seconds=-1)
    submit.handler(event, Context())
    (message,) = world.messages()
    submit.handler(redelivered(message), Context())

    assert len(world.enhancer.submits) == 1
    assert world.row()["status"] == "submitted"
    assert world.row()["attempt"] == 2


def test_concurrent_runs_pay_once(world: World, submit: ModuleType, one_write_at_a_time: None) -> None:
    (message,) = messages(world.upload())
    upload = parse_event(message.body)
    assert isinstance(upload, Upload)
    together = threading.Barrier(4)
    ends: list[str] = []

    def run() -> None:
        together.wait(10)
        try:
            ends.append(submit.submit_with_backoff(upload, message, time.time() + 60).status)
        except submit.Deferred as error:
            ends.append(error.reason)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(world.enhancer.submits) == 1
    assert len(ends) == 4
    assert set(ends) <= {"submitted", "claimed"}
    assert world.tasks_today() == 1


# ---------------------------------------------------------------- the contract's error table


def error(status: int, kind: str, code: str | None = None, **headers: str) -> Answer:
    return refusal(status, kind, "the vendor's message", code, **headers)


REFUSED = {
    "400": error(400, "invalid_request_error"),
    "422": error(422, "invalid_request_error"),
    "422 invalid_file_type": error(422, "invalid_request_error", "invalid_file_type"),
    "422 invalid_image_url": error(422, "invalid_request_error", "invalid_image_url"),
    "400 without a body": Answer(400, b""),
}
DEFERRED = {
    "401": error(401, "authentication_error"),
    "402": error(402, "insufficient_quota"),
    "403": error(403, "forbidden"),
    "422 no channel, by type": error(422, "service_unavailable_error"),
    "422 no channel, by code": error(422, "service_unavailable_error", "no_compatible_channel"),
    "422 model_not_found": error(422, "invalid_request_error", "model_not_found"),
    "429": error(429, "rate_limit_error"),
    "429 as a page": Answer(429, b"<html>slow down</html>"),
    "503 with an error object": error(503, "service_unavailable_error"),
    "redirect": Answer(307, b"", {"Location": "https://elsewhere.test/"}),
    "nothing at this URL": Answer(404, b"<html>nginx</html>"),
    "never sent": NEVER_SENT,
}
AMBIGUOUS = {
    "500 with a code of 503": error(500, "service_unavailable_error", "service_unavailable_error"),
    "500": error(500, "server_error"),
    "500 without a body": Answer(500, b""),
    "502 of a proxy": Answer(502, b"<html>Bad gateway</html>"),
    "503 of a proxy": Answer(503, b"<html>Unavailable</html>"),
    "504": Answer(504, {}),
    "no answer": NO_ANSWER,
    "reset after sending": Broken(requests.ConnectionError("reset"), sent=True),
    "200 without a task": Answer(200, {"status": "pending"}),
    "200 with a strange id": Answer(200, {"id": "a b"}),
    "redirect without a URL": Answer(307, b"", {"Location": "https://["}),
    "200 of a proxy": Answer(200, b"<html>Welcome</html>"),
    "200 too long": Answer(200, b" " * (1 << 21)),
}


@pytest.mark.parametrize("reply", REFUSED.values(), ids=REFUSED)
def test_a_refused_photo_is_rejected_and_the_counter_decremented(
    world: World, submit: ModuleType, reply: Reply
) -> None:
    event = world.upload()
    world.enhancer.on_submit.append(reply)
    submit.handler(event, Context())
    submit.handler(event, Context())

    assert len(world.enhancer.submits) == 1
    row = world.row()
    assert row["status"] == "rejected"
    assert row["outcome"]["may_have_cost"] is False
    assert world.tasks_today() == 0
    (execution,) = world.executions()
    assert execution["outcome"] == row["outcome"]


@pytest.mark.parametrize("reply", DEFERRED.values(), ids=DEFERRED)
def test_errors_of_account_or_vendor_requeue_and_leave_no_claim(world: World, submit: ModuleType, reply: Reply) -> None:
    event = world.upload()
    later = deferred_by(world, submit, event, reply)

    assert world.rows() == []
    assert world.tasks_today() == 0
    assert world.executions() == []
    (message,) = world.messages()
    assert message["MessageBody"] == event["Records"][0]["body"]
    submit.handler(later, Context())
    assert world.row()["status"] == "submitted"
    assert world.row()["attempt"] == 1


@pytest.mark.parametrize("reply", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_ambiguous_answer_is_unknown_and_never_resubmitted(world: World, submit: ModuleType, reply: Reply) -> None:
    event = world.upload()
    world.enhancer.on_submit.append(reply)
    submit.handler(event, Context())
    submit.handler(event, Context())

    assert len(world.enhancer.submits) == 1
    row = world.row()
    assert row["status"] == "unknown"
    assert row["outcome"]["may_have_cost"] is True
    assert world.tasks_today() == 1
    assert world.messages() == []
    (execution,) = world.executions()
    assert execution["task"] is None
    assert execution["outcome"]["status"] == "unknown"


def test_an_ambiguous_submit_is_retried_once_with_retry(world: World, configured: LoadFunction) -> None:
    submit = configured(AMBIGUOUS_SUBMIT="retry")
    world.enhancer.on_submit.extend([NO_ANSWER, NO_ANSWER, NO_ANSWER])
    submit.handler(world.upload(), Context())
    assert world.executions() == []
    (message,) = world.messages()
    submit.handler(redelivered(message), Context())
    submit.handler(redelivered(message), Context())

    assert len(world.enhancer.submits) == 2
    assert len(world.messages()) == 1
    row = world.row()
    assert (row["status"], row["attempt"]) == ("unknown", 2)
    (execution,) = world.executions()
    assert execution["attempt"] == 2
    assert world.tasks_today() == 2


def test_a_retry_that_certainly_created_no_task_is_still_due(world: World, configured: LoadFunction) -> None:
    submit = configured(AMBIGUOUS_SUBMIT="retry")
    world.enhancer.on_submit.extend([NO_ANSWER, error(402, "insufficient_quota")])
    submit.handler(world.upload(), Context())
    submit.handler(redelivered(world.messages()[-1]), Context())
    assert (world.row()["status"], world.row()["attempt"]) == ("unknown", 1)
    assert world.tasks_today() == 1
    submit.TASKS.throttle = Throttle(CircuitBreaker(), submit.RATE_LIMITER, submit.ENHANCER.probe)
    submit.handler(redelivered(world.messages()[-1]), Context())

    assert (world.row()["status"], world.row()["attempt"]) == ("submitted", 2)
    assert len(world.enhancer.submits) == 3


def test_the_answer_to_a_submit_may_be_an_ended_task(world: World, submit: ModuleType) -> None:
    world.enhancer.on_submit.append(created("task-9", status="failed", progress=100))
    submit.handler(world.upload(), Context())

    assert world.row()["task_id"] == "task-9"


def test_reserved_credits_are_recorded(world: World, submit: ModuleType) -> None:
    world.enhancer.on_submit.append(created("task-9", usage={"credits_reserved": 12.5}))
    submit.handler(world.upload(), Context())

    assert float(world.row()["credits"]) == 12.5


def test_a_byte_order_mark_does_not_lose_a_paid_task(world: World, submit: ModuleType) -> None:
    world.enhancer.on_submit.append(Answer(200, b"\xef\xbb\xbf" + json.dumps({"id": "task-9"}).encode()))
    submit.handler(world.upload(), Context())

    assert world.row()["task_id"] == "task-9"


@pytest.mark.parametrize("strange", [1e-200, 1e200, -1, "soon", None, True, [], {"a": 1}, 5e-324])
def test_invalid_hints_never_lose_a_paid_task(world: World, submit: ModuleType, strange: Any) -> None:
    hints = {"task_info": {"estimated_time": strange}, "usage": {"credits_reserved": strange}}
    world.enhancer.on_submit.append(created("task-9", **hints))
    submit.handler(world.upload(), Context())

    assert world.row()["task_id"] == "task-9"
    assert len(world.executions()) == 1


# ---------------------------------------------------------------- waiting in the queue


@pytest.mark.parametrize(
    ("header", "lowest", "highest"),
    [
        ("30", 30, 30),
        ("86400", 900, 900),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 900, 900),
        ("soon", 7, 15),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 7, 15),
        ("Fri, 31 Dec 9999 23:59:59 -2300", 7, 900),
    ],
)
def test_retry_after_is_honored_within_limits(
    world: World, submit: ModuleType, header: str, lowest: int, highest: int
) -> None:
    deferred_by(world, submit, world.upload(), error(429, "rate_limit_error", Retry_After=header))

    assert lowest <= world.messages()[0]["DelaySeconds"] <= highest


@pytest.mark.parametrize(("header", "lowest", "highest"), [("0", 1, 2), ("7", 7, 8), ("soon", 1, 2)])
def test_submit_waits_for_a_short_retry_after(
    world: World, submit: ModuleType, clock: Clock, header: str, lowest: float, highest: float
) -> None:
    world.enhancer.on_submit.append(error(429, "rate_limit_error", Retry_After=header))
    submit.handler(world.upload(), Context())

    assert lowest <= sum(clock.slept) <= highest
    assert world.messages() == []
    assert world.row()["status"] == "submitted"
    assert world.tasks_today() == 1


def test_requeues_are_counted_and_their_delay_grows_to_the_limit_of_sqs(world: World, submit: ModuleType) -> None:
    event = world.upload()
    for _ in range(12):
        event = deferred_by(world, submit, event, error(429, "rate_limit_error"))

    counts = [int(message["MessageAttributes"]["waits"]["StringValue"]) for message in world.messages()]
    assert counts == list(range(1, 13))
    for message, count in zip(world.messages(), counts, strict=True):
        longest = min(15 * 2 ** (count - 1), 900)
        assert min(longest / 2, 900) - 1 <= message["DelaySeconds"] <= longest
    assert world.messages()[-1]["DelaySeconds"] == 900
    reasons = {message["MessageAttributes"]["reason"]["StringValue"] for message in world.messages()}
    assert reasons <= {"rate_limit_error", "pace"}


def test_a_code_that_sqs_would_refuse_is_sanitized(world: World, submit: ModuleType) -> None:
    deferred_by(world, submit, world.upload(), error(402, "no\x00money\n"))

    assert world.messages()[0]["MessageAttributes"]["reason"]["StringValue"] == "no money "


def test_uploads_over_the_daily_limit_wait(world: World, configured: LoadFunction) -> None:
    submit = configured(DAILY_TASK_LIMIT="2")
    events = [world.upload(f"{n}.jpg") for n in range(3)]
    for event in events:
        submit.handler(event, Context())

    assert len(world.enhancer.submits) == 2
    assert world.tasks_today() == 2
    (message,) = world.messages()
    assert message["MessageBody"] == events[2]["Records"][0]["body"]
    assert message["MessageAttributes"]["reason"]["StringValue"] == "daily_limit"
    assert len(world.rows()) == 2


def test_released_claims_do_not_count_against_the_daily_limit(world: World, configured: LoadFunction) -> None:
    submit = configured(DAILY_TASK_LIMIT="1")
    world.enhancer.on_submit.extend([error(400, "invalid_request_error"), NEVER_SENT])
    for key in ("refused.jpg", "never-sent-at-first.jpg"):
        submit.handler(world.upload(key), Context())

    assert [row["key"] for row in world.rows() if row["status"] == "submitted"] == ["never-sent-at-first.jpg"]
    assert world.tasks_today() == 1


def test_a_claimed_upload_is_recognized_at_the_daily_limit(world: World, configured: LoadFunction) -> None:
    submit = configured(DAILY_TASK_LIMIT="1")
    event = world.upload()
    submit.handler(event, Context())
    submit.handler(event, Context())

    assert world.messages() == []


# ---------------------------------------------------------------- 429s and outages


AWAY = error(503, "service_unavailable_error")


def test_an_outage_of_minutes_causes_few_calls(world: World, submit: ModuleType, clock: Clock) -> None:
    for n in range(30):
        deferred_by(world, submit, world.upload(f"{n}.jpg"), AWAY)

    assert clock.time() > time.time() + 600
    assert len(world.enhancer.submits) <= 30
    assert len(world.messages()) == 30
    assert world.tasks_today() == 0


def test_after_an_outage_the_uploads_are_submitted(world: World, submit: ModuleType, clock: Clock) -> None:
    events = [deferred_by(world, submit, world.upload(f"{n}.jpg"), AWAY) for n in range(5)]
    before = len(world.enhancer.submits)
    clock.later += 60
    for event in events:
        submit.handler(event, Context())

    assert len(world.enhancer.submits) == before + 5
    assert {row["status"] for row in world.rows()} == {"submitted"}


def test_one_function_informs_all_others_of_an_outage(world: World, submit: Any, clock: Clock) -> None:
    deferred_by(world, submit, world.upload("1.jpg"), AWAY)
    clock.later = 0
    before = len(world.enhancer.submits)
    submit.TASKS.throttle = throttle(world.dynamodb, clock, submit.ENHANCER.probe)
    submit.handler(world.upload("2.jpg"), Context())

    assert len(world.enhancer.submits) <= before + 1


def test_rejections_are_reported_during_an_outage(world: World, submit: ModuleType) -> None:
    deferred_by(world, submit, world.upload("photo.jpg"), NEVER_SENT)
    submit.handler(world.upload("text.jpg", b"text"), Context())

    assert world.row()["status"] == "rejected"


def test_submit_waits_for_a_short_outage(world: World, submit: ModuleType, clock: Clock) -> None:
    world.enhancer.on_submit.extend([NEVER_SENT, AWAY])
    submit.handler(world.upload(), Context())

    assert 1 <= sum(clock.slept) <= 5
    assert world.messages() == []
    assert (world.row()["status"], world.row()["attempt"]) == ("submitted", 1)
    assert world.tasks_today() == 1


def test_uploads_wait_in_the_queue_for_a_longer_outage(world: World, submit: ModuleType, clock: Clock) -> None:
    world.enhancer.on_submit.append(error(503, "service_unavailable_error", Retry_After="300"))
    submit.handler(world.upload("1.jpg"), Context())
    assert sum(clock.slept) == 0
    submit.handler(world.upload("2.jpg"), Context())

    assert sum(clock.slept) == pytest.approx(20, abs=1)
    assert len(world.enhancer.submits) == 1
    assert [message["DelaySeconds"] for message in world.messages()] == [300, pytest.approx(11, abs=4)]
    reasons = [message["MessageAttributes"]["reason"]["StringValue"] for message in world.messages()]
    assert reasons == ["service_unavailable_error", "pace"]
    assert world.tasks_today() == 0


def test_after_a_429_the_next_uploads_keep_an_interval(world: World, submit: Any, clock: Clock) -> None:
    world.enhancer.on_submit.append(error(429, "rate_limit_error"))
    for n in range(6):
        submit.handler(world.upload(f"{n}.jpg"), Context())

    assert sum(clock.slept) > 3
    assert world.messages() == []
    assert len(world.enhancer.submits) == 7


# ---------------------------------------------------------------- account errors


def test_submit_does_not_wait_after_an_account_error(world: World, submit: ModuleType, clock: Clock) -> None:
    world.enhancer.on_submit.append(error(402, "insufficient_quota"))
    for n in range(5):
        submit.handler(world.upload(f"{n}.jpg"), Context())

    assert sum(clock.slept) == 0
    assert len(world.enhancer.submits) == 1
    assert len(world.messages()) == 5
    assert world.tasks_today() == 0


def test_after_some_time_one_upload_is_a_probe(world: World, submit: Any, clock: Clock) -> None:
    world.enhancer.on_submit.extend([error(402, "insufficient_quota", Retry_After="30"), created("task-9")])
    submit.handler(world.upload("1.jpg"), Context())
    clock.later = 20
    submit.handler(world.upload("2.jpg"), Context())
    assert len(world.enhancer.submits) == 1
    clock.later = 31
    submit.handler(world.upload("3.jpg"), Context())
    submit.handler(world.upload("4.jpg"), Context())

    assert len(world.enhancer.submits) == 3


# ---------------------------------------------------------------- sending an upload again


def sent_again(event: Any, attempt: int) -> Any:
    """The event as a message with which the owner sends the upload again after this attempt."""
    record = copy.deepcopy(event["Records"][0])
    record["messageAttributes"]["send-again"] = {"stringValue": str(attempt), "dataType": "Number"}
    return {"Records": [record]}


def test_a_retry_of_a_failed_task_is_another_attempt(world: World, submit: ModuleType) -> None:
    world.enhancer.on_submit.append(created("task-1", usage={"credits_reserved": 12.5}))
    event = world.upload()
    submit.handler(event, Context())
    world.set_status("retrying")
    submit.handler(event, Context())
    submit.handler(event, Context())

    row = world.row()
    assert (row["status"], row["attempt"], row["task_id"]) == ("submitted", 2, "task-2")
    assert row["earlier"] == [{"attempt": 1, "task_id": "task-1", "credits": Decimal("12.5")}]
    assert sorted(one["attempt"] for one in world.executions()) == [1, 2]
    assert len(world.enhancer.submits) == 2
    assert world.tasks_today() == 2


def test_a_retry_that_was_certainly_not_sent_is_still_due(world: World, submit: ModuleType) -> None:
    event = world.upload()
    submit.handler(event, Context())
    world.set_status("retrying")
    before = world.row()
    deferred_by(world, submit, event, NEVER_SENT)

    assert unindexed(world.row()) == unindexed(before)
    assert world.tasks_today() == 1


def test_the_owner_can_send_an_upload_again_once(world: World, submit: ModuleType) -> None:
    event = world.upload()
    submit.handler(event, Context())
    world.set_status("failed")
    submit.handler(sent_again(event, 1), Context())
    submit.handler(sent_again(event, 1), Context())
    assert len(world.enhancer.submits) == 2
    world.set_status("failed")
    submit.handler(sent_again(event, 1), Context())

    assert len(world.enhancer.submits) == 2
    assert world.row()["attempt"] == 2


@pytest.mark.parametrize("mode", ["park", "retry"])
def test_the_owner_can_send_an_unknown_upload_again(world: World, configured: LoadFunction, mode: str) -> None:
    submit = configured(AMBIGUOUS_SUBMIT=mode)
    event = world.upload()
    world.enhancer.on_submit.extend([NO_ANSWER, NO_ANSWER])
    submit.handler(event, Context())
    submit.handler(event, Context())
    attempt = int(world.row()["attempt"])
    submit.handler(sent_again(event, attempt), Context())
    if mode == "park":  # the next answer is the second ambiguous one
        assert world.row()["status"] == "unknown"
        submit.handler(sent_again(event, attempt + 1), Context())

    assert world.row()["status"] == "submitted"
    assert len(world.enhancer.submits) == 3


def test_a_requeued_message_still_sends_the_upload_again(world: World, submit: ModuleType) -> None:
    event = world.upload()
    submit.handler(event, Context())
    world.set_status("failed")
    submit.handler(deferred_by(world, submit, sent_again(event, 1), NEVER_SENT), Context())

    assert world.row()["status"] == "submitted"


@pytest.mark.parametrize("status", ["enhanced", "superseded"])
def test_an_enhanced_or_superseded_upload_is_not_sent_again(world: World, submit: ModuleType, status: str) -> None:
    """A superseded one could only be superseded again."""
    event = world.upload()
    submit.handler(event, Context())
    world.set_status(status)
    submit.handler(sent_again(event, 1), Context())

    assert len(world.enhancer.submits) == 1


# ---------------------------------------------------------------- the key


def test_a_changed_key_is_read_once_after_a_401(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("first.jpg"), Context())
    world.secrets.put_secret_value(SecretId="key", SecretString="sk-new")
    world.enhancer.on_submit.append(error(401, "authentication_error"))
    submit.handler(world.upload("second.jpg"), Context())

    assert world.enhancer.keys[1:] == [f"Bearer {KEY}", "Bearer sk-new"]
    assert {row["status"] for row in world.rows()} == {"submitted"}


def test_the_same_key_is_not_tried_twice(world: World, submit: ModuleType) -> None:
    world.enhancer.on_submit.append(error(401, "authentication_error"))
    submit.handler(world.upload(), Context())

    assert len(world.enhancer.submits) == 1


def test_a_new_key_that_is_wrong_too_is_not_retried(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("first.jpg"), Context())
    world.secrets.put_secret_value(SecretId="key", SecretString="sk-new")
    world.enhancer.on_submit.extend([error(401, "authentication_error")] * 3)
    submit.handler(world.upload("second.jpg"), Context())

    assert len(world.enhancer.keys) == 3
    assert len(world.messages()) == 1


@pytest.mark.parametrize("secret", ["", "  ", "two words", "ключ", '{"key": "sk-1"}\n{}', "line\nbreak"])
def test_without_a_usable_key_nothing_is_sent(world: World, submit: ModuleType, logs: io.StringIO, secret: str) -> None:
    world.secrets.delete_secret(SecretId="key", ForceDeleteWithoutRecovery=True)
    arn = world.secrets.create_secret(Name="key", **({"SecretString": secret} if secret else {}))["ARN"]
    submit.ENHANCER._key._secret_arn = arn
    submit.handler(world.upload(), Context())

    assert world.enhancer.submits == []
    assert world.rows() == []
    assert world.tasks_today() == 0
    (message,) = world.messages()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "key_unavailable"
    assert "SetKeyCommand" in logs.getvalue()
    assert not secret.strip() or secret not in logs.getvalue()


# ---------------------------------------------------------------- the presigned URL


def test_the_presigned_url_is_for_one_version_and_one_hour(world: World, submit: ModuleType) -> None:
    event = world.upload("a/my photo+1%.png", PNG)
    submit.handler(event, Context())

    url = urlsplit(world.enhancer.submits[0]["image_url"])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert url.scheme == "https"
    assert url.netloc == f"{INPUT}.s3.amazonaws.com"
    assert unquote(url.path) == "/a/my photo+1%.png"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert int(query["X-Amz-Expires"]) <= 3600
    assert query["X-Amz-SignedHeaders"] == "host"
    assert query["versionId"] == world.row()["version_id"]
    assert query["response-content-type"] == "image/png"


def test_dot_segments_are_encoded(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("a/./b/../c.jpg"), Context())

    path = urlsplit(world.enhancer.submits[0]["image_url"]).path
    assert path == "/a/%2E/b/%2E%2E/c.jpg"


EVERY_END = {"submitted": created("task-1")} | REFUSED | DEFERRED | AMBIGUOUS


@pytest.mark.parametrize("reply", EVERY_END.values(), ids=EVERY_END)
def test_url_and_key_do_not_leave_the_function(
    world: World, submit: ModuleType, logs: io.StringIO, capsys: pytest.CaptureFixture[str], reply: Reply
) -> None:
    world.enhancer.on_submit.append(reply)
    submit.handler(world.upload(), Context())

    assert_no_secrets(world, logs, capsys)


QUOTES = {
    "the URL": "could not fetch {url}",
    "the URL, encoded": "could not fetch {encoded}",
    "the URL in a page": '<a href="{url}">broken</a>',
    "the URL and the key": "{url} with {key}: {key}{url}",
    "a part of the URL": "bad query {query}",
    "a long text": "x" * 480 + "{url}",
    "the key": "no such key: {key}",
    "the signature": "bad {signature}",
}


@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize("where", ["message", "code", "type"])
@pytest.mark.parametrize("quoted", QUOTES.values(), ids=QUOTES)
def test_secrets_that_the_vendor_quotes_are_removed(
    world: World,
    submit: ModuleType,
    logs: io.StringIO,
    capsys: pytest.CaptureFixture[str],
    status: int,
    where: str,
    quoted: str,
) -> None:
    answer = submit.ENHANCER.submit

    def quoting(url: str, options: Any) -> Any:
        encoded, query = quote(url, safe=""), urlsplit(url).query
        text = quoted.format(
            url=url, encoded=encoded, query=query, signature=query[query.index("X-Amz-Signature") :], key=KEY
        )
        error = {"message": "no", "type": "invalid_request_error"} | {where: text}
        world.enhancer.on_submit.append(Answer(status, {"error": error}))
        return answer(url, options)

    submit.ENHANCER.submit = quoting
    submit.handler(world.upload(), Context())

    assert_no_secrets(world, logs, capsys)


def assert_no_secrets(world: World, logs: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    stored = str(world.rows()) + str(world.executions()) + str(world.messages())
    sent = "".join(str(call.request["body"]) for call in world.calls)
    for where in (stored, sent, logs.getvalue(), *capsys.readouterr()):
        assert "X-Amz-Signature=" not in where.replace("X-Amz-Signature=[redacted]", "")
        assert "X-Amz-Signature%3D" not in where.replace("X-Amz-Signature%3D[redacted]", "")
        assert KEY not in where
    assert logs.getvalue()


# ---------------------------------------------------------------- messages and settings


def test_a_rejection_by_the_enhancer_contains_its_message(world: World, submit: ModuleType) -> None:
    world.enhancer.on_submit.append(refusal(422, "invalid_request_error", "this is a drawing", "invalid_file_type"))
    submit.handler(world.upload(), Context())

    outcome = world.row()["outcome"]
    assert outcome["code"] == "invalid_file_type"
    assert "this is a drawing" in outcome["message"]


def test_metrics_are_counted(world: World, submit: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    submit.handler(world.upload(), Context())

    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert metrics["UploadsReceived"] == [1.0]
    assert metrics["TasksCreated"] == [1.0]
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Lumendrop/lumendrop"


@pytest.mark.parametrize(
    ("name", "value"),
    [("DAILY_TASK_LIMIT", "0"), ("MAX_UPLOAD_BYTES", "many"), ("AMBIGUOUS_SUBMIT", "maybe"), ("MAX_WAIT_MINUTES", "")],
)
def test_invalid_settings_are_found_at_cold_start(function: LoadFunction, name: str, value: str) -> None:
    with pytest.raises(RuntimeError, match=name.lower()):
        function("submit", **{name: value})


def test_a_fraction_of_a_number_is_left_out(function: LoadFunction) -> None:
    """CloudFormation accepts fractions wherever the template has a number."""
    assert function("submit", DAILY_TASK_LIMIT="50.5", MAX_WAIT_MINUTES="60.").SETTINGS.daily_task_limit == 50


def test_missing_settings_are_named(function: LoadFunction, monkeypatch: pytest.MonkeyPatch) -> None:
    function("submit")
    monkeypatch.delenv("LEDGER_TABLE")
    from tests.unit.world import load

    with pytest.raises(RuntimeError, match="ledger_table"):
        load("submit")
