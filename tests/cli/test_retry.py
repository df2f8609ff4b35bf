"""`lumendrop retry` sends uploads again that ended without an enhanced photo."""

from types import SimpleNamespace
from typing import Any

import pytest

from lumendrop_cli import retry, upload_queue
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload

FAILED_TASK = {"end": "failed", "code": "unknown_error", "seconds": 0}


def _failed_upload(pipeline: Pipeline, key: str, **plan: list[Any]) -> Upload:
    """An upload that the enhancer handles as planned, and that has its report."""
    pipeline.plan(**plan)
    upload = pipeline.drop(key, jpeg())
    pipeline.wait([upload])
    return upload


def test_unknown_uploads_are_sent_again_only_after_confirmation(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    upload = _failed_upload(pipeline, "in/retry/unknown.jpg", submit=[{"kind": "reset"}])
    dry = lumendrop.ok("retry", "--unknown", "--dry-run")
    assert (dry["sent"], [one["key"] for one in dry["uploads"]]) == (0, [upload.key])
    declined = lumendrop("retry", "--unknown", typed="n\n")
    assert (declined.code, "This pays for 1 new task, about 0.12 USD. Continue?" in declined.err) == (1, True)
    assert " of the ledger, found 1 …" in declined.err
    assert "1 upload with the status unknown: a task may exist already, so another one may pay twice." in declined.err
    assert f"  {upload.key}  unknown, version {upload.version_id}\n" in declined.err
    assert pipeline.rows()[upload]["attempt"] == 1
    assert lumendrop.ok("retry", "--unknown", "--yes")["sent"] == 1
    pipeline.wait_for_status(upload, "enhanced")
    assert (pipeline.rows()[upload]["attempt"], len(pipeline.tasks(upload))) == (2, 1)
    none = lumendrop("retry", "--unknown", "--yes")
    assert (none.code, "No matching upload" in none.out) == (1, True)


def test_uploads_are_sent_again_by_key_and_by_code(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    upload = _failed_upload(pipeline, "in/retry/failed.jpg", task=[FAILED_TASK, FAILED_TASK])
    assert lumendrop.ok("retry", upload.key, "--version-id", upload.version_id, "--yes")["sent"] == 1
    pipeline.wait_until(lambda: pipeline.rows()[upload]["attempt"] == 2, "a second attempt", [upload])
    pipeline.wait([upload])
    assert lumendrop.ok("retry", "--code", "unknown_error", "--yes")["sent"] == 1
    pipeline.wait_for_status(upload, "enhanced")
    assert len(pipeline.tasks(upload)) == 3
    again = lumendrop("retry", upload.key, "--yes")
    assert (again.code, "The upload is enhanced" in again.err, "--pay" in again.err) == (1, True, True)


def test_pay_pays_for_an_enhanced_upload_and_names_it_first(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    upload = pipeline.drop("in/retry/pay.jpg", jpeg())
    pipeline.wait_for_status(upload, "enhanced")
    pipeline.wait([upload])
    photo = f"s3://{pipeline.outputs['OutputBucketName']}/{pipeline.rows()[upload]['output']['key']}"
    refused = lumendrop("--json", "retry", upload.key, "--yes")
    assert (refused.code, "use --pay" in refused.json["error"]) == (1, True)
    declined = lumendrop("retry", upload.key, "--pay", typed="n\n")
    named = f"  {upload.key}  enhanced, version {upload.version_id}; the new result replaces {photo}\n"
    assert (declined.code, named in declined.err) == (1, True)
    assert "This pays for 1 new task, about 0.12 USD. Continue?" in declined.err
    dry = lumendrop.ok("retry", upload.key, "--pay", "--dry-run")
    assert (dry["sent"], dry["cost_usd"], len(pipeline.tasks(upload))) == (0, 0.12, 1)
    assert lumendrop.ok("retry", upload.key, "--pay", "--yes")["sent"] == 1
    pipeline.wait_until(lambda: pipeline.rows()[upload]["attempt"] == 2, "a second attempt", [upload])
    pipeline.wait_for_status(upload, "enhanced")
    pipeline.wait([upload])
    assert len(pipeline.tasks(upload)) == 2


def test_ctrl_c_says_what_to_check_before_paying_again(
    lumendrop: Lumendrop, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = pipeline.drop("in/retry/ctrl-c.jpg", jpeg())
    pipeline.wait_for_status(upload, "enhanced")
    pipeline.wait([upload])
    monkeypatch.setattr(upload_queue, "upload_message", _interrupt)
    result = lumendrop("--json", "retry", upload.key, "--pay", "--yes")
    assert (result.code, result.json["exit_code"]) == (130, 130)
    assert f"check the attempt that `lumendrop status {upload.key}` shows" in result.err
    assert len(pipeline.tasks(upload)) == 1


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_pay_pays_for_a_photo_that_was_reused(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    first = pipeline.drop("in/retry/payer.jpg", jpeg())
    pipeline.wait_for_status(first, "enhanced")
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    body = s3.get_object(Bucket=bucket, Key=first.key)["Body"].read()
    copies = []
    for key in ("in/retry/reused.jpg", first.key):
        copies.append(pipeline.drop_same(key, body))
        pipeline.wait_for_status(copies[-1], "enhanced")
    payer = lumendrop.ok("status", first.key)["rows"][1]["correlation_id"]
    (row,) = lumendrop.ok("status", copies[0].key)["rows"]
    assert row["same_as"] == payer
    assert f"same photo as the upload {payer}; nothing was paid" in lumendrop("status", copies[0].key).out
    assert f"same photo as version {first.version_id}; nothing was paid" in lumendrop("status", first.key).out
    pipeline.wait(copies)
    assert lumendrop.ok("retry", copies[0].key, "--pay", "--yes")["sent"] == 1
    pipeline.wait_until(lambda: pipeline.rows()[copies[0]]["attempt"] == 2, "a second attempt", copies)
    pipeline.wait_for_status(copies[0], "enhanced")
    assert len(pipeline.tasks(copies[0])) == 1
    assert "same_as" not in pipeline.rows()[copies[0]]


@pytest.mark.parametrize(
    "arguments",
    [(), ("a", "--unknown"), ("--unknown", "--code", "x"), ("--unknown", "--version-id", "x"), ("--unknown", "--pay")],
)
def test_exactly_one_selection_is_required(lumendrop: Lumendrop, arguments: tuple[str, ...]) -> None:
    assert lumendrop("retry", *arguments).code == 2


@pytest.mark.parametrize("command", ["retry", "fetch"])
def test_a_key_without_a_row_is_an_error(lumendrop: Lumendrop, command: str) -> None:
    result = lumendrop(command, "in/nobody.jpg")
    assert (result.code, "has no such upload" in result.err) == (1, True)


def test_retry_refuses_while_a_fetch_of_the_same_upload_runs(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    pipeline.plan(status=[{"kind": "http", "status": 503}] * 1000)
    upload = pipeline.drop("in/retry/fetched.jpg", jpeg())
    pipeline.wait_for_status(upload, "submitted")
    lumendrop.ok("stop", upload.key, "--yes")
    pipeline.wait_for_status(upload, "failed")
    pipeline.wait_until(lambda: lumendrop("stop", upload.key, "--yes").code == 1, "no execution is running")
    running = lumendrop("--json", "fetch", upload.key, "--timeout", "1").json["execution"]
    refused = lumendrop("--json", "retry", upload.key, "--yes")
    assert (refused.code, refused.json["execution"]) == (1, running)
    assert running in refused.err
    paying = lumendrop("--json", "retry", upload.key, "--pay", "--yes")
    assert (paying.code, paying.json["execution"]) == (1, running)
    several = lumendrop("--json", "retry", "--code", "execution_aborted", "--yes")
    assert upload.key not in several.json["fetchable"]
    assert several.json["running"][upload.key] == running
    assert upload.key not in [one["key"] for one in several.json["uploads"]]
    pipeline.plan()
    pipeline.wait_for_status(upload, "enhanced")
    assert len(pipeline.tasks(upload)) == 1


def test_an_upload_that_would_be_rejected_again_is_not_sent(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    upload = pipeline.drop("in/retry/note.jpg", b"Dear diary")
    pipeline.wait([upload])
    for options in ((), ("--dry-run",), ("--yes",)):
        refused = lumendrop("retry", upload.key, *options)
        assert refused.code == 1
        assert "nothing would be paid, because this version would be rejected again (not_an_image)" in refused.err
    several = lumendrop("--json", "retry", "--code", "not_an_image", "--yes")
    assert (several.code, several.json["sent"], upload.key in several.json["rejected_again"]) == (1, 0, True)


def test_an_upload_whose_photo_is_deleted_is_not_sent(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    upload = _failed_upload(pipeline, "in/retry/deleted.jpg", submit=[{"kind": "reset"}])
    bucket = pipeline.outputs["InputBucketName"]
    pipeline.cloud.client("s3").delete_object(Bucket=bucket, Key=upload.key, VersionId=upload.version_id)
    refused = lumendrop("retry", upload.key, "--yes")
    assert (refused.code, "is deleted from the input bucket" in refused.err) == (1, True)


def test_an_upload_that_is_too_big_is_sent_again_only_below_a_higher_limit() -> None:
    stack = SimpleNamespace(whole_number=lambda _: 10)
    row = {"size": 11, "outcome": {"code": "too_big"}}
    assert retry._is_rejected_again(stack, row)  # type: ignore[arg-type]
    assert not retry._is_rejected_again(stack, row | {"size": 10})  # type: ignore[arg-type]
