"""Downloads the result of one task, checks it, and writes it to the output bucket. Also writes reports there."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext

from lumendrop import clients, containers, downloads, images, outcomes, reports, settings, storage
from lumendrop.api_key import ApiKey
from lumendrop.containers import Broken, FileReader
from lumendrop.downloads import Download, DownloadFailed, DownloadRefused
from lumendrop.enhancer import MODEL, Enhancer, TaskNotFound, Unavailable
from lumendrop.metadata import Wanted
from lumendrop.outcomes import Outcome
from lumendrop.polling import Task
from lumendrop.storage import DeliveredObject
from lumendrop.telemetry import count, log_context, logger, measure, metrics
from lumendrop.upload_metadata import combine, read_metadata
from lumendrop.uploads import Upload

MOST_RESULT_BYTES = 256 * 1024 * 1024  # twice the raw pixels of 4,096 x 4,096 with four 16-bit channels
DOWNLOAD_SECONDS = 200
RETRY_SECONDS = 20


class Settings(msgspec.Struct, frozen=True):
    """The parameters of template.yaml with these names describe them."""

    api_base_url: str
    key_secret_arn: str
    output_bucket: str
    bucket_owner: str
    enhancement_label: Literal["write", "omit"]


class Request(msgspec.Struct, frozen=True):
    """The payload from the workflow. `incomplete` identifies the result that the last delivery found incomplete."""

    correlation_id: str
    upload: Upload
    attempt: int
    options: dict[str, Any]
    task: Task
    incomplete: str | None = None


class NotAnImage(Exception):
    """The result is not an image that can be delivered; `outcome` says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Incomplete(Exception):
    """The result is not a complete image; `download` identifies it by its bytes."""

    def __init__(self, download: Download, detail: str) -> None:
        super().__init__(f"The result is not a complete image. {detail}")
        self.download = f"{download.bytes} {download.sha256}"
        self.outcome = outcomes.outcome("result_incomplete", detail=detail)


SETTINGS = settings.read(Settings)
S3 = clients.s3(SETTINGS.bucket_owner)
UPLOADS = clients.s3(SETTINGS.bucket_owner, read_seconds=5, tries=3)  # metadata is not worth a long wait
ENHANCER = Enhancer(SETTINGS.api_base_url, ApiKey(clients.secretsmanager(), SETTINGS.key_secret_arn))


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001  # Lambda passes it
    """Returns a `state`: `enhanced` with its `output`, `superseded` or `failed` with the `outcome`, or `waiting`.

    If the event has a `report`, this is written instead. Returns its `report_key`, null if the photo exists.
    """
    if "report" in event:
        return report(event["correlation_id"], event["report"])
    request = msgspec.convert(event, Request)
    with log_context(request.correlation_id, task_id=request.task.id, upload=request.upload.uri):
        try:
            return deliver(request)
        except (DownloadFailed, DownloadRefused, Incomplete, NotAnImage, TaskNotFound, Unavailable) as error:
            # An earlier run may have delivered the photo and ended before it returned.
            if delivered := storage.find_delivered(S3, SETTINGS.output_bucket, request.upload, request.attempt):
                return enhanced(request, delivered)
            return not_delivered(request, error)


def report(correlation_id: str, body: dict[str, Any]) -> dict[str, Any]:
    upload = msgspec.convert(body["upload"], Upload)
    with log_context(correlation_id, upload=upload.uri):
        key = reports.write(S3, SETTINGS.output_bucket, upload, body)
        logger.info("reported" if key else "not reported, because the photo exists", extra={"report": key})
    return {"report_key": key}


def deliver(request: Request) -> dict[str, Any]:
    """Requests a fresh link, so that no link has to be stored, and writes the result."""
    url = ENHANCER.status(request.task.id).result_url
    if url is None:
        raise DownloadFailed("The task is completed, but has no result yet.")
    choice = request.options.get("metadata", "keep")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        upload = pool.submit(read_metadata, UPLOADS, request.upload, choice)
        download = downloads.fetch(
            url,
            Path(folder) / "result",
            most_bytes=MOST_RESULT_BYTES,
            seconds=DOWNLOAD_SECONDS,
            allow_loopback=settings.allow_loopback(),
        )
        wanted = Wanted(choice, MODEL if SETTINGS.enhancement_label == "write" else None, datetime.now(UTC))
        result = combine(request.upload, download, examine(download), upload.result(), wanted, provenance(request))
        delivered = storage.write(S3, SETTINGS.output_bucket, request.upload, result)
    return superseded() if delivered is None else enhanced(request, delivered)


def examine(download: Download) -> containers.Image:
    """What the result is. Raises NotAnImage, or Incomplete if another download may help."""
    with download.path.open("rb") as file:
        head = file.read(images.HEAD_BYTES)
        if images.detect(head) is None:
            other = images.describe(head)
            raise NotAnImage(
                outcomes.outcome("result_format_unsupported", format=other)
                if other
                else outcomes.outcome("result_not_an_image")
            )
        try:
            return containers.examine(FileReader(file, download.bytes))
        except Broken as error:
            raise Incomplete(download, str(error)) from None


def provenance(request: Request) -> dict[str, str]:
    """The enhanced photo's metadata besides its source. Options are named as in an upload's metadata."""
    options = {
        name.replace("_", "-"): ",".join(value) if isinstance(value, list) else str(value)
        for name, value in request.options.items()
    }
    return {
        "correlation-id": request.correlation_id,
        "task-id": request.task.id,
        "attempt": str(request.attempt),
        "model": MODEL,
        **options,
    }


def enhanced(request: Request, delivered: DeliveredObject) -> dict[str, Any]:
    reports.remove(S3, SETTINGS.output_bucket, request.upload)
    count("PhotosEnhanced")
    if delivered.smaller:
        count("ResultsSmaller")
    seconds = seconds_since(request.upload)
    if seconds is not None:
        measure("PhotoSeconds", seconds)
    extra = {"left_out": delivered.left_out, "warnings": delivered.warnings}
    logger.info("delivered", extra=extra | {"bytes": delivered.bytes, "format": delivered.format, "seconds": seconds})
    return {"state": "enhanced", "output": msgspec.to_builtins(delivered)}


def seconds_since(upload: Upload) -> float | None:
    """Seconds since S3 published the event of this upload, or None if the message has no time."""
    try:
        return max(0.0, time.time() - datetime.fromisoformat(upload.time).timestamp())
    except ValueError:
        return None


def superseded() -> dict[str, Any]:
    count("PhotosSuperseded")
    return {"state": "superseded", "outcome": msgspec.to_builtins(outcomes.outcome("newer_upload_delivered"))}


def not_delivered(request: Request, error: Exception) -> dict[str, Any]:
    if isinstance(error, DownloadRefused):
        return refused(outcomes.outcome("result_refused", detail=error))
    if isinstance(error, NotAnImage):
        return refused(error.outcome)
    incomplete = error.download if isinstance(error, Incomplete) else request.incomplete
    if isinstance(error, Incomplete) and incomplete == request.incomplete:
        return refused(error.outcome)
    count("DeliveriesWaiting")
    logger.warning("the result can't be fetched now", extra={"detail": str(error)})
    return {"state": "waiting", "wait_seconds": RETRY_SECONDS, "incomplete": incomplete}


def refused(outcome: Outcome) -> dict[str, Any]:
    count("ResultsRefused")
    logger.error("the result was refused", extra={"code": outcome.code, "detail": outcome.message})
    return {"state": "failed", "outcome": msgspec.to_builtins(outcome)}
