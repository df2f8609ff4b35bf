"""Uploads that can't be enhanced are reported at no cost; only folder markers are skipped."""

import pytest

from tests.e2e.conftest import MAX_UPLOAD_BYTES
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload

TEXT = "rejected/photo.jpg"
BAD_OPTION = "rejected/bad option.jpg"
TOO_BIG = "rejected/big.jpg"
LONG = "/".join(["rejected", *["l" * 240] * 4, "l" * 47 + ".jpg"])  # S3's 1,024 bytes
EMPTY = "rejected/empty.jpg"
FOLDER = "skipped/folder/"
REJECTED = [TEXT, BAD_OPTION, TOO_BIG, LONG, EMPTY]


@pytest.fixture(scope="module")
def uploads(pipeline: Pipeline) -> dict[str, Upload]:
    too_big = jpeg() + b"\0" * MAX_UPLOAD_BYTES
    dropped = pipeline.drop_folder({TEXT: b"Dear diary", LONG: b"Dear diary", TOO_BIG: too_big, EMPTY: b""})
    dropped[BAD_OPTION] = pipeline.drop(BAD_OPTION, jpeg(), Metadata={"resolution": "1K", "creativity": "7"})
    marker = pipeline.aws("s3api", "put-object", "--bucket", pipeline.outputs["InputBucketName"], "--key", FOLDER)
    dropped[FOLDER] = Upload(FOLDER, marker["VersionId"])
    pipeline.wait(dropped[key] for key in REJECTED)
    return dropped


@pytest.mark.parametrize("key", REJECTED, ids=lambda key: key[:20])
def test_a_rejected_upload_costs_nothing(pipeline: Pipeline, uploads: dict[str, Upload], key: str) -> None:
    upload = uploads[key]
    row = pipeline.rows()[upload]
    assert row["status"] == "rejected"
    assert row["outcome"]["may_have_cost"] is False
    assert pipeline.tasks(upload) == []
    assert [one["status"] for one in pipeline.executions()[upload]] == ["SUCCEEDED"], pipeline.explain(upload)
    assert pipeline.keys(key[:900]) == []


def test_the_report_explains_what_happened_and_what_to_do(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    upload = uploads[TEXT]
    report = pipeline.report(TEXT)
    reported = report.pop("upload")
    assert (reported["key"], reported["version_id"], reported["size"]) == (TEXT, upload.version_id, len(b"Dear diary"))
    execution = report.pop("execution")
    assert execution == pipeline.executions()[upload][0]["executionArn"]
    assert report.pop("correlation_id") in execution
    assert report.pop("reported_at").startswith("20")
    assert report == {
        "status": "rejected",
        "code": "not_an_image",
        "what_happened": (
            "The file's first bytes are not those of a JPEG, PNG, WebP or HEIC image, whatever its name says."
        ),
        "what_to_do": "Upload the photo in one of these formats.",
        "may_have_cost_money": False,
        "attempt": 1,
        "options": {},
        "task_id": None,
    }


def test_the_report_names_an_invalid_option(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    report = pipeline.report(BAD_OPTION)
    assert report["code"] == "invalid_option"
    assert report["what_happened"] == "The option creativity is '7'; it must be a number from 0.0 to 1.0."
    assert "--metadata creativity=" in report["what_to_do"]


def test_the_report_names_the_size_limit(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    report = pipeline.report(TOO_BIG)
    assert report["code"] == "too_big"
    assert str(MAX_UPLOAD_BYTES) in report["what_happened"]
    assert "MaxUploadBytes" in report["what_to_do"]


def test_the_key_of_a_report_is_shortened_to_the_maximum_length(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    key = pipeline.rows()[uploads[LONG]]["report_key"]
    assert len(LONG.encode()) == 1024
    assert pipeline.keys("errors/rejected/lll") == [key]
    assert len(key.encode()) == 1024
    assert key.startswith("errors/rejected/lll")
    assert key.endswith(".json")


def test_an_empty_object_is_reported(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    assert pipeline.rows()[uploads[EMPTY]]["outcome"]["code"] == pipeline.report(EMPTY)["code"] == "empty"


def test_a_folder_marker_is_skipped(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    upload = uploads[FOLDER]
    skipped = pipeline.wait_until(lambda: pipeline.submit_log(upload, "upload skipped"), "submit skips the marker")
    assert [line["reason"] for line in skipped] == ["folder marker"]
    assert upload not in pipeline.rows()
    assert upload not in pipeline.executions()
    assert pipeline.tasks(upload) == []
    assert pipeline.keys("skipped/") == pipeline.keys("errors/skipped/") == []


def test_an_upload_that_is_deleted_before_it_is_processed_is_reported(pipeline: Pipeline) -> None:
    with pipeline.event_source_disabled():
        upload = pipeline.drop("rejected/gone.jpg", jpeg())
        version = ("--key", upload.key, "--version-id", upload.version_id)
        pipeline.aws("s3api", "delete-object", "--bucket", pipeline.outputs["InputBucketName"], *version)
    pipeline.wait([upload])
    assert pipeline.report(upload.key)["code"] == "upload_gone"
    assert pipeline.tasks(upload) == []
