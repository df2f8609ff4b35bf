"""Uploads of the same photo, through the handlers of submit and deliver: one is paid for, the others get a copy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import IncompleteReadError

from lumendrop import checksums, same_photo, storage
from sandbox.aws.moto_patches import s3 as s3_patches
from sandbox.aws.moto_patches.patching import replacing
from tests.metadata.files import exif_segment
from tests.metadata.makers import block
from tests.unit.conftest import LoadFunction
from tests.unit.photos import frame, jpeg
from tests.unit.test_submit import Clock, configured, sent_again  # noqa: F401  # fixtures
from tests.unit.world import (
    ACCOUNT,
    HEIC,
    INPUT,
    JPEG,
    OUTPUT,
    PNG,
    Answer,
    Context,
    World,
    completed,
    for_object,
    redelivered,
    refusal,
)

OTHER = JPEG + b"2"
EXIF = jpeg(exif_segment(block()), frame(), data=b"\x12" * 500)
S3_CALLS = {"GetObject", "HeadObject", "CopyObject", "ListObjectsV2"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def conditional_copies() -> Iterator[None]:
    with replacing() as replace:
        s3_patches._check_conditions_of_copies(replace)
        s3_patches._mark_checksums_of_parts(replace)
        yield


@pytest.fixture
def submit(configured: LoadFunction, world: World) -> ModuleType:  # noqa: F811
    assert world.output_bucket
    return configured(SAME_PHOTO="reuse")


@pytest.fixture
def deliver(function: LoadFunction) -> ModuleType:
    return function("deliver", ENHANCEMENT_LABEL="omit")


Event = Any


def drop(world: World, key: str = "a.jpg", body: bytes = JPEG, sequencer: str = "", **metadata: str) -> Event:
    """Uploads a photo and returns its event. Each has a sequencer of its own, so that their order is known."""
    event = world.upload(key, body, metadata)
    message = json.loads(event["Records"][0]["body"])
    world.uploaded = getattr(world, "uploaded", 0) + 1  # type: ignore[attr-defined]  # counted here only
    message["detail"]["object"]["sequencer"] = sequencer or f"{world.uploaded:04X}"  # type: ignore[attr-defined]
    event["Records"][0]["body"] = json.dumps(message)
    return event


def version(event: Event) -> str:
    found: str = json.loads(event["Records"][0]["body"])["detail"]["object"]["version-id"]
    return found


def row_of(world: World, event: Event) -> dict[str, Any]:
    (row,) = (row for row in world.rows() if row["version_id"] == version(event))
    return row


def run_of(world: World, event: Event, attempt: int = 1) -> dict[str, Any]:
    (found,) = (
        one for one in world.executions() if one["upload"]["version_id"] == version(event) and one["attempt"] == attempt
    )
    return found


def finish(world: World, deliver: ModuleType, event: Event, attempt: int = 1, result: bytes = PNG) -> Any:
    """What the workflow does: delivers the result and records it."""
    row, run = row_of(world, event), run_of(world, event, attempt)
    world.enhancer.on_status.append(completed())
    world.enhancer.on_result.append(Answer(200, result))
    payload = {name: run[name] for name in ("correlation_id", "upload", "attempt", "options", "task")}
    answer = deliver.handler(payload, Context())
    fields = answer.get("output") or {}
    output = (
        {"M": {name: {"S": str(fields[name])} for name in ("bucket", "key", "version_id")}} if fields else {"M": {}}
    )
    world.dynamodb.update_item(
        TableName="ledger",
        Key={"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}},
        UpdateExpression="SET #status = :status, #output = :output, finished_at = :now",
        ExpressionAttributeNames={"#status": "status", "#output": "output"},
        ExpressionAttributeValues={
            ":status": {"S": answer["state"]},
            ":output": output,
            ":now": {"S": "2026-01-31T12:00:00Z"},
        },
    )
    return answer


def report(world: World, deliver: ModuleType, event: Event) -> Any:
    """What the workflow does with an upload that is rejected."""
    row, run = row_of(world, event), run_of(world, event)
    body = {"upload": run["upload"], "status": "rejected"}
    world.dynamodb.update_item(
        TableName="ledger",
        Key={"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}},
        UpdateExpression="SET finished_at = :now",
        ExpressionAttributeValues={":now": {"S": "2026-01-31T12:00:00Z"}},
    )
    return deliver.handler({"correlation_id": run["correlation_id"], "report": body}, Context())


def paid(world: World, submit: ModuleType, deliver: ModuleType, key: str = "a.jpg", **metadata: str) -> Event:
    """An upload that was paid for and delivered."""
    event = drop(world, key, **metadata)
    submit.handler(event, Context())
    assert finish(world, deliver, event)["state"] == "enhanced"
    return event


def stored(world: World, key: str) -> dict[str, Any]:
    found = world.s3.get_object(Bucket=OUTPUT, Key=key)
    return found | {"Body": found["Body"].read()}


# ---------------------------------------------------------------- what is reused


def test_another_key_gets_a_copy(world: World, submit: ModuleType, deliver: ModuleType, logs: io.StringIO) -> None:
    first = paid(world, submit, deliver)
    second = drop(world, "b/copy.jpg")
    submit.handler(second, Context())

    assert len(world.enhancer.submits) == 1
    assert world.tasks_today() == 1
    payer, row, run = row_of(world, first), row_of(world, second), run_of(world, second)
    assert (row["status"], row["same_as"]) == ("enhanced", run_of(world, first)["correlation_id"])
    assert row["output"]["key"] == "b/copy.jpg.png"
    assert (row["task_id"], row["options"]) == (payer["task_id"], payer["options"])
    assert "finished_at" not in row
    assert run["delivery"] == {
        "output": {**row["output"], "bytes": len(PNG)},
        "same_as": row["same_as"],
        "task_id": "task-1",
    }
    copy, original = stored(world, "b/copy.jpg.png"), stored(world, "a.jpg.png")
    assert (copy["Body"], copy["ContentType"]) == (PNG, "image/png")
    assert copy["Metadata"] == original["Metadata"] | {
        "source-key": "b/copy.jpg",
        "source-version-id": version(second),
        "sequencer": "0002",
        "correlation-id": run["correlation_id"],
        "same-as": row["same_as"],
    }
    assert "photo reused" in logs.getvalue()


def test_a_copy_has_the_properties_of_its_own_upload(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    first = drop(world, "a.jpg", EXIF, album="winter")
    world.s3.put_object_tagging(
        Bucket=INPUT, Key="a.jpg", VersionId=version(first), Tagging={"TagSet": [{"Key": "team", "Value": "one"}]}
    )
    submit.handler(first, Context())
    finish(world, deliver, first)
    second = drop(world, "b.jpg", EXIF, year="2024")
    tags = [{"Key": "team", "Value": "two"}]
    world.s3.put_object_tagging(Bucket=INPUT, Key="b.jpg", VersionId=version(second), Tagging={"TagSet": tags})
    submit.handler(second, Context())

    assert len(world.enhancer.submits) == 1
    assert stored(world, "a.jpg.png")["Metadata"]["album"] == "winter"
    copy = stored(world, "b.jpg.png")["Metadata"]
    assert (copy["year"], copy.get("album"), copy["carried-over"]) == ("2024", None, "exif")
    assert world.s3.get_object_tagging(Bucket=OUTPUT, Key="b.jpg.png")["TagSet"] == tags


def test_a_copy_has_a_copy_of_the_sidecar(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    first = drop(world, "a.jpg", EXIF)
    submit.handler(first, Context())
    finish(world, deliver, first, result=HEIC)
    for key in ("b.jpg", "a.jpg"):
        event = drop(world, key, EXIF)
        submit.handler(event, Context())
        assert row_of(world, event)["output"]["sidecar"] == f"{key}.heic.xmp"
        assert b"Canon EOS R5" in stored(world, f"{key}.heic.xmp")["Body"]

    assert len(world.enhancer.submits) == 1
    assert stored(world, "b.jpg.heic.xmp")["Metadata"]["source-key"] == "b.jpg"


def test_another_choice_of_metadata_is_another_photo(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    paid(world, submit, deliver)
    submit.handler(drop(world, "b.jpg", metadata="no-location"), Context())
    submit.handler(drop(world, "c.jpg", metadata="keep"), Context())

    assert len(world.enhancer.submits) == 2
    assert all("metadata" not in one for one in world.enhancer.submits)


def test_every_call_of_submit_names_the_expected_bucket_owner(
    world: World, submit: ModuleType, deliver: ModuleType
) -> None:
    paid(world, submit, deliver)
    world.s3.put_object(Bucket=OUTPUT, Key="errors/a.jpg.json", Body=b"{}")
    events = [drop(world), drop(world, "b.jpg", body=JPEG + b"\0" * 200_000)]
    world.calls.clear()
    for event in events:
        submit.handler(event, Context())

    calls = [call for call in world.calls if call.operation in S3_CALLS]
    assert {call.operation for call in calls} == S3_CALLS
    assert {call.request["headers"].get("x-amz-expected-bucket-owner") for call in calls} == {ACCOUNT}
    copies = [call.request["headers"] for call in calls if call.operation == "CopyObject"]
    assert {headers.get("x-amz-source-expected-bucket-owner") for headers in copies} == {ACCOUNT}


def test_a_photo_that_is_copied_onto_itself_keeps_its_result(
    world: World, submit: ModuleType, deliver: ModuleType
) -> None:
    paid(world, submit, deliver)
    for number in (2, 3, 4):
        event = drop(world, author=str(number))
        submit.handler(event, Context())
        assert row_of(world, event)["status"] == "enhanced"
        assert stored(world, "a.jpg.png")["Metadata"]["source-version-id"] == version(event)

    assert len(world.enhancer.submits) == 1
    assert len({row["same_as"] for row in world.rows() if "same_as" in row}) == 1


def test_a_redelivery_changes_nothing(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    paid(world, submit, deliver)
    second = drop(world, "b.jpg")
    for _ in range(3):
        submit.handler(second, Context())

    assert len(world.enhancer.submits) == 1
    assert len(world.executions()) == 2
    assert len(world.s3.list_object_versions(Bucket=OUTPUT, Prefix="b.jpg")["Versions"]) == 1


@pytest.mark.parametrize(
    ("body", "metadata"), [(OTHER, {}), (JPEG, {"resolution": "1K"}), (JPEG, {"creativity": "0.3"})], ids=str
)
def test_other_bytes_or_options_are_paid_for(
    world: World, submit: ModuleType, deliver: ModuleType, body: bytes, metadata: dict[str, str]
) -> None:
    paid(world, submit, deliver)
    second = drop(world, "b.jpg", body, **metadata)
    submit.handler(second, Context())

    assert row_of(world, second)["status"] == "submitted"
    assert len(world.enhancer.submits) == 2


def test_with_pay_every_upload_is_paid_for(
    world: World,
    configured: LoadFunction,  # noqa: F811
) -> None:
    submit = configured(SAME_PHOTO="pay")
    for key in ("a.jpg", "b.jpg"):
        submit.handler(drop(world, key), Context())

    assert len(world.enhancer.submits) == 2
    assert "HeadObject" not in [call.operation for call in world.calls]


def test_the_same_photo_in_another_bucket_is_paid_for(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    paid(world, submit, deliver)
    world.s3.create_bucket(Bucket="other-bucket")
    world.s3.put_bucket_versioning(Bucket="other-bucket", VersioningConfiguration={"Status": "Enabled"})
    event = drop(world, "b.jpg")
    message = json.loads(event["Records"][0]["body"])
    put = world.s3.put_object(Bucket="other-bucket", Key="b.jpg", Body=JPEG)
    message["detail"]["bucket"]["name"] = "other-bucket"
    message["detail"]["object"]["version-id"] = put["VersionId"]
    event["Records"][0]["body"] = json.dumps(message)
    submit.handler(event, Context())

    assert len(world.enhancer.submits) == 2


def multipart(world: World, key: str) -> str:
    """Uploads the photo in two parts, as the AWS CLI does with larger ones."""
    body, where = JPEG.ljust(5 << 20, b"\0"), {"Bucket": INPUT, "Key": key}
    upload = {**where, "UploadId": world.s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]}
    parts = []
    for number, part in enumerate((body, b"end"), 1):
        answer = world.s3.upload_part(**upload, PartNumber=number, Body=part, ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": answer["ChecksumSHA256"]})
    done = world.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    return str(done["VersionId"])


def with_checksum(world: World, key: str, algorithm: Any) -> str:
    body = JPEG.ljust(5 << 20, b"\0") + b"end"
    return str(world.s3.put_object(Bucket=INPUT, Key=key, Body=body, ChecksumAlgorithm=algorithm)["VersionId"])


@pytest.mark.parametrize("algorithm", ["SHA256", "CRC32"])
def test_the_same_bytes_are_the_same_photo_whichever_tool_uploads_them(
    world: World, submit: ModuleType, deliver: ModuleType, algorithm: str
) -> None:
    size = (5 << 20) + 3
    first = for_object(world.upload("a.jpg"), **{"version-id": multipart(world, "a.jpg"), "size": size})
    submit.handler(first, Context())
    finish(world, deliver, first)
    version_id = with_checksum(world, "b.jpg", algorithm)
    second = for_object(world.upload("b.jpg"), **{"version-id": version_id, "size": size})
    submit.handler(second, Context())

    assert row_of(world, second)["same_as"] == run_of(world, first)["correlation_id"]
    assert len(world.enhancer.submits) == 1


def test_a_photo_is_read_whole_only_if_s3_has_no_checksum_of_it(world: World, submit: ModuleType) -> None:
    submit.handler(drop(world), Context())
    assert all("Range" in call.request["headers"] for call in world.calls if call.operation == "GetObject")


def test_a_read_that_breaks_off_is_repeated(world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise IncompleteReadError(actual_bytes=1, expected_bytes=10)

    with monkeypatch.context() as patch:
        patch.setattr(checksums, "sha256", broken)
        event = for_object(world.upload("a.jpg"), **{"version-id": with_checksum(world, "a.jpg", "CRC32")})
        submit.handler(event, Context())
    assert (len(world.enhancer.submits), len(world.rows())) == (0, 0)
    (waiting,) = world.messages()
    assert waiting["MessageAttributes"]["reason"]["StringValue"] == "aws_unavailable"


# ---------------------------------------------------------------- two at the same moment


def test_the_second_of_two_waits_for_the_first(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    first, second = drop(world), drop(world, "b.jpg")
    submit.handler(first, Context())
    submit.handler(second, Context())

    (message,) = world.messages()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "same_photo"
    assert 1 <= message["DelaySeconds"] <= 900
    assert len(world.rows()) == len(world.enhancer.submits) == world.tasks_today() == 1
    finish(world, deliver, first)
    submit.handler(redelivered(message), Context())

    assert row_of(world, second)["status"] == "enhanced"
    assert len(world.enhancer.submits) == 1


def after_the_look_up(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any]) -> None:
    """Something happens once, between the look-up of the same photo and the claim."""
    look = same_photo.with_twin

    def and_then(*arguments: Any) -> Any:
        found = look(*arguments)
        monkeypatch.setattr(same_photo, "with_twin", look)
        happens()
        return found

    monkeypatch.setattr(same_photo, "with_twin", and_then)


def test_two_that_look_at_the_same_moment_pay_once(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one claims the photo between the look-up and the claim."""
    first, second = drop(world), drop(world, "b.jpg")
    after_the_look_up(monkeypatch, lambda: submit.handler(second, Context()))
    submit.handler(first, Context())

    assert len(world.enhancer.submits) == world.tasks_today() == 1
    assert [row["key"] for row in world.rows()] == ["b.jpg"]
    (message,) = world.messages()
    assert message["MessageAttributes"]["reason"]["StringValue"] == "same_photo"


def test_two_pay_once_if_one_claims_again(
    world: World, submit: ModuleType, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim was released, and is repeated between the look-up and the claim of the other one."""
    first = drop(world)
    world.enhancer.on_submit.append(refusal(402, "insufficient_quota"))
    submit.handler(first, Context())
    clock.later += 900
    after_the_look_up(monkeypatch, lambda: submit.handler(first, Context()))
    submit.handler(drop(world, "b.jpg"), Context())

    assert world.tasks_today() == 1
    assert [row["key"] for row in world.rows()] == ["a.jpg"]


@pytest.mark.parametrize("status", ["failed", "unknown", "rejected", "superseded"])
def test_an_upload_without_a_result_is_not_waited_for(world: World, submit: ModuleType, status: str) -> None:
    submit.handler(drop(world), Context())
    world.set_status(status)
    second = drop(world, "b.jpg")
    submit.handler(second, Context())

    assert row_of(world, second)["status"] == "submitted"
    assert len(world.enhancer.submits) == 2
    third = drop(world, "c.jpg")
    submit.handler(third, Context())
    assert len(world.enhancer.submits) == 2


def test_a_claim_that_was_released_is_not_waited_for(world: World, submit: ModuleType, clock: Clock) -> None:
    world.enhancer.on_submit.append(refusal(402, "insufficient_quota"))
    submit.handler(drop(world), Context())
    assert world.rows() == []
    clock.later += 900
    second = drop(world, "b.jpg")
    submit.handler(second, Context())

    assert row_of(world, second)["status"] == "submitted"


@pytest.mark.parametrize("status", ["submitted", "retrying"])
def test_an_end_that_is_much_too_late_is_not_waited_for(
    world: World, submit: ModuleType, clock: Clock, status: str
) -> None:
    first = drop(world)
    submit.handler(first, Context())
    world.set_status(status)
    clock.later = 2 * 3600 + 60  # the deadline is an hour after the submit
    second = drop(world, "b.jpg")
    submit.handler(second, Context())
    assert row_of(world, second)["status"] == "submitted"
    submit.handler(first, Context())

    assert len(world.enhancer.submits) == 2  # now the first one waits for the second


# ---------------------------------------------------------------- the result is gone, or foreign


def gone(world: World) -> None:
    world.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")


def replaced(world: World) -> None:
    world.s3.put_object(Bucket=OUTPUT, Key="a.jpg.png", Body=b"something else", ContentType="image/png")


def archived(world: World) -> None:
    found = stored(world, "a.jpg.png")
    world.s3.put_object(
        Bucket=OUTPUT,
        Key="a.jpg.png",
        Body=PNG,
        ContentType="image/png",
        Metadata=found["Metadata"],
        StorageClass="GLACIER",
    )


@pytest.mark.parametrize("happens", [gone, replaced, archived])
def test_a_photo_whose_result_is_gone_is_paid_for(
    world: World, submit: ModuleType, deliver: ModuleType, happens: Callable[[World], None]
) -> None:
    paid(world, submit, deliver)
    happens(world)
    second = drop(world, "b.jpg")
    submit.handler(second, Context())

    assert row_of(world, second)["status"] == "submitted"
    assert len(world.enhancer.submits) == 2


def test_an_output_bucket_that_cannot_be_read_any_more_counts_as_gone() -> None:
    class Client:
        def head_object(self, **_: Any) -> Any:
            from botocore.exceptions import ClientError

            raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

    client: Any = Client()
    assert storage.find_reusable(client, {"bucket": "earlier", "key": "a.jpg"}, "0" * 32) is None


def test_a_foreign_object_is_not_replaced(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    paid(world, submit, deliver)
    world.s3.put_object(Bucket=OUTPUT, Key="b.jpg.png", Body=b"foreign")
    second = drop(world, "b.jpg")
    submit.handler(second, Context())

    assert stored(world, "b.jpg.png")["Body"] == b"foreign"
    key = row_of(world, second)["output"]["key"]
    assert key != "b.jpg.png"
    assert stored(world, key)["Body"] == PNG


def test_an_older_upload_does_not_replace_a_newer_one(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    """The events of a photo and its copy arrive in the wrong order."""
    older = drop(world)
    newer = paid(world, submit, deliver)
    submit.handler(older, Context())

    row, run = row_of(world, older), run_of(world, older)
    assert (row["status"], row["outcome"]["may_have_cost"]) == ("superseded", False)
    assert (run["outcome"]["code"], run["task"], run.get("delivery")) == ("newer_upload_delivered", None, None)
    assert stored(world, "a.jpg.png")["Metadata"]["source-version-id"] == version(newer)
    assert len(world.enhancer.submits) == 1


def test_a_report_about_an_older_upload_is_removed(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    paid(world, submit, deliver)
    bad = drop(world, "b.jpg", b"text")
    submit.handler(bad, Context())
    assert report(world, deliver, bad)["report_key"] == "errors/b.jpg.json"
    submit.handler(drop(world, "b.jpg"), Context())

    assert world.s3.list_objects_v2(Bucket=OUTPUT, Prefix="errors/")["KeyCount"] == 0


def test_a_copy_of_a_reused_photo_is_not_an_upload(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    """Its metadata shows that it is a result."""
    paid(world, submit, deliver)
    submit.handler(drop(world, "b.jpg"), Context())
    found = stored(world, "b.jpg.png")
    submit.handler(drop(world, "c.png", found["Body"], **found["Metadata"]), Context())

    assert "c.png" not in {row["key"] for row in world.rows()}


# ---------------------------------------------------------------- crashes


class Killed(BaseException):
    """Lambda ends the function."""


CALLS = ["HeadObject", "CopyObject", "ListObjectsV2", "PutItem", "StartExecution"]


@pytest.mark.parametrize("same_key", [True, False], ids=["same key", "another key"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", CALLS)
def test_an_interrupted_reuse_is_completed(
    world: World,
    submit: ModuleType,
    deliver: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    moment: str,
    same_key: bool,
) -> None:
    paid(world, submit, deliver)
    second = drop(world, "a.jpg" if same_key else "b.jpg")
    call_api = BaseClient._make_api_call

    def killed(client: Any, name: str, parameters: dict[str, Any]) -> Any:
        if name != step:
            return call_api(client, name, parameters)
        if moment == "after":
            call_api(client, name, parameters)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(BaseClient, "_make_api_call", killed)
        submit.handler(second, Context())
    submit.handler(second, Context())

    row = row_of(world, second)
    assert row["status"] == "enhanced"
    assert run_of(world, second)["delivery"]["output"]["key"] == row["output"]["key"]
    assert stored(world, row["output"]["key"])["Metadata"]["source-version-id"] == version(second)
    assert len(world.enhancer.submits) == 1
    assert len(world.executions()) == 2


def test_a_copy_whose_upload_was_rejected_meanwhile_is_recorded(
    world: World, submit: ModuleType, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photo is deleted, another delivery is rejected and reported, and the function is killed after the copy."""
    first = paid(world, submit, deliver)
    second = drop(world, "b.jpg")
    call_api = BaseClient._make_api_call

    def killed(client: Any, name: str, parameters: dict[str, Any]) -> Any:
        if name != "CopyObject":
            return call_api(client, name, parameters)
        patch.undo()
        world.s3.delete_object(Bucket=INPUT, Key="b.jpg", VersionId=version(second))
        submit.handler(second, Context())
        report(world, deliver, second)
        call_api(client, name, parameters)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(BaseClient, "_make_api_call", killed)
        submit.handler(second, Context())
    assert row_of(world, second)["status"] == "rejected"
    submit.handler(second, Context())

    payer, row = row_of(world, first), row_of(world, second)
    assert (row["status"], row["output"]["key"]) == ("enhanced", "b.jpg.png")
    assert (row["same_as"], row["options"]) == (run_of(world, first)["correlation_id"], payer["options"])
    assert (row["task_id"], row["attempt"]) == (payer["task_id"], 2)
    assert run_of(world, second, 2)["delivery"]["output"]["key"] == "b.jpg.png"
    assert world.s3.list_objects_v2(Bucket=OUTPUT, Prefix="errors/")["KeyCount"] == 0
    assert len(world.enhancer.submits) == 1


def test_a_copy_whose_photo_is_deleted_before_the_redelivery_is_recorded(
    world: World, submit: ModuleType, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = paid(world, submit, deliver)
    second = drop(world, "b.jpg")
    call_api = BaseClient._make_api_call

    def killed(client: Any, name: str, parameters: dict[str, Any]) -> Any:
        answer = call_api(client, name, parameters)
        if name == "CopyObject":
            raise Killed
        return answer

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(BaseClient, "_make_api_call", killed)
        submit.handler(second, Context())
    world.s3.delete_object(Bucket=INPUT, Key="b.jpg", VersionId=version(second))
    submit.handler(second, Context())

    row = row_of(world, second)
    assert (row["status"], row["output"]["key"]) == ("enhanced", "b.jpg.png")
    assert row["same_as"] == run_of(world, first)["correlation_id"]
    assert [run["attempt"] for run in world.executions() if run["upload"]["version_id"] == version(second)] == [2]


def test_a_copy_whose_original_is_deleted_before_the_redelivery_is_recorded(
    world: World, submit: ModuleType, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, the photo would be paid for although its copy is in the output bucket."""
    first = paid(world, submit, deliver)
    second = drop(world, "b.jpg")
    call_api = BaseClient._make_api_call

    def killed(client: Any, name: str, parameters: dict[str, Any]) -> Any:
        answer = call_api(client, name, parameters)
        if name == "CopyObject":
            raise Killed
        return answer

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(BaseClient, "_make_api_call", killed)
        submit.handler(second, Context())
    world.s3.delete_object(Bucket=OUTPUT, Key=row_of(world, first)["output"]["key"])
    submit.handler(second, Context())

    row = row_of(world, second)
    assert (row["status"], row["output"]["key"]) == ("enhanced", "b.jpg.png")
    assert (row["same_as"], row["attempt"]) == (run_of(world, first)["correlation_id"], 1)
    assert len(world.enhancer.submits) == 1


def test_an_upload_that_was_rejected_stays_rejected_if_no_copy_was_made(
    world: World, submit: ModuleType, deliver: ModuleType, logs: io.StringIO
) -> None:
    paid(world, submit, deliver)
    bad = drop(world, "b.jpg", b"text")
    submit.handler(bad, Context())
    report(world, deliver, bad)
    submit.handler(bad, Context())

    assert row_of(world, bad)["status"] == "rejected"
    assert "already ended" in logs.getvalue()


# ---------------------------------------------------------------- the owner pays again


def pay_again(event: Event, attempt: int) -> Event:
    """The message of `lumendrop retry --pay`."""
    again = sent_again(event, attempt)
    again["Records"][0]["messageAttributes"]["pay"] = {"stringValue": "1", "dataType": "Number"}
    return again


def test_an_enhanced_upload_is_paid_for_if_the_owner_wants_it(
    world: World, submit: ModuleType, deliver: ModuleType
) -> None:
    event = paid(world, submit, deliver)
    for _ in range(2):
        submit.handler(pay_again(event, 1), Context())
    assert len(world.enhancer.submits) == 2
    finish(world, deliver, event, attempt=2, result=PNG + b"better")

    row = row_of(world, event)
    assert (row["status"], row["attempt"], row["earlier"][0]["task_id"]) == ("enhanced", 2, "task-1")
    assert stored(world, "a.jpg.png")["Body"] == PNG + b"better"
    submit.handler(drop(world, "b.jpg"), Context())
    assert stored(world, "b.jpg.png")["Body"] == PNG + b"better"
    assert len(world.enhancer.submits) == 2


def test_a_reused_upload_is_paid_for_if_the_owner_wants_it(
    world: World, submit: ModuleType, deliver: ModuleType
) -> None:
    paid(world, submit, deliver)
    second = drop(world, "b.jpg")
    submit.handler(second, Context())
    submit.handler(pay_again(second, 1), Context())

    row = row_of(world, second)
    assert (row["status"], row["attempt"], row.get("earlier", [])) == ("submitted", 2, [])
    assert "same_as" not in row
    finish(world, deliver, second, attempt=2, result=PNG + b"better")
    assert stored(world, "b.jpg.png")["Body"] == PNG + b"better"
    assert "same-as" not in stored(world, "b.jpg.png")["Metadata"]


def test_a_retry_without_pay_reuses(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    failed = drop(world)
    submit.handler(failed, Context())
    world.set_status("failed")
    paid(world, submit, deliver, "b.jpg")
    submit.handler(sent_again(failed, 1), Context())

    row = row_of(world, failed)
    assert (row["status"], row["attempt"], row["earlier"][0]["task_id"]) == ("enhanced", 2, "task-1")
    assert len(world.enhancer.submits) == 2
    assert run_of(world, failed, 2)["delivery"]["same_as"] == row["same_as"]


def test_a_retry_with_pay_keeps_that_when_it_waits(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    event = paid(world, submit, deliver)
    world.enhancer.on_submit.append(refusal(402, "insufficient_quota"))
    submit.handler(pay_again(event, 1), Context())
    assert row_of(world, event)["status"] == "enhanced"
    (message,) = world.messages()
    assert message["MessageAttributes"]["pay"]["StringValue"] == "1"
    submit.time.later += message["DelaySeconds"]
    submit.handler(redelivered(message), Context())

    assert len(world.enhancer.submits) == 3
    assert row_of(world, event)["status"] == "submitted"


def test_pay_alone_does_not_pay(world: World, submit: ModuleType, deliver: ModuleType) -> None:
    """Only together with the attempt after which it is sent, so a redelivery does not pay again."""
    event = paid(world, submit, deliver)
    submit.handler(pay_again(event, 0), Context())
    submit.handler(sent_again(event, 1), Context())

    assert len(world.enhancer.submits) == 1
