"""Downloads the result of one task, checks it, and writes it to the output bucket."""

from __future__ import annotations

import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext

from lumendrop import clients, downloads, images, outcomes, settings, storage
from lumendrop.api_key import ApiKey
from lumendrop.downloads import Download, DownloadFailed, DownloadRefused
from lumendrop.enhancer import MODEL, Enhancer, TaskNotFound, Unavailable
from lumendrop.outcomes import Outcome
from lumendrop.polling import Task
from lumendrop.storage import DeliveredObject
from lumendrop.telemetry import count, log_context, logger, measure, metrics
from lumendrop.uploads import Upload

MOST_RESULT_BYTES = 256 * 1024 * 1024  # twice the raw pixels of 4,096 x 4,096 with four 16-bit channels
DOWNLOAD_SECONDS = 200
RETRY_SECONDS = 20


class Settings(msgspec.Struct, frozen=True):
    """The parameters of template.yaml with these names describe them."""

    api_base_url: str
    key_secret_arn: str
    output_bucket: str


class Request(msgspec.Struct, frozen=True):
    """The payload from the workflow."""

    correlation_id: str
    upload: Upload
    attempt: int
    options: dict[str, Any]
    task: Task


class NotAnImage(Exception):
    """The result is not an image."""


SETTINGS = settings.read(Settings)
S3 = clients.s3()
ENHANCER = Enhancer(SETTINGS.api_base_url, ApiKey(clients.secretsmanager(), SETTINGS.key_secret_arn))


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001  # Lambda passes it
    """Returns a `state`: `enhanced` with its `output`, `superseded` or `failed` with the `outcome`, or `waiting`."""
    request = msgspec.convert(event, Request)
    with log_context(request.correlation_id, task_id=request.task.id, upload=request.upload.uri):
        try:
            return deliver(request)
        except (DownloadFailed, DownloadRefused, NotAnImage, TaskNotFound, Unavailable) as error:
            # An earlier run may have delivered the photo and ended before it returned.
            if delivered := storage.find_delivered(S3, SETTINGS.output_bucket, request.upload):
                return enhanced(request, delivered)
            return not_delivered(error)


def deliver(request: Request) -> dict[str, Any]:
    """Requests a fresh link, so that no link has to be stored, and writes the result."""
    url = ENHANCER.status(request.task.id).result_url
    if url is None:
        raise DownloadFailed("The task is completed, but has no result yet.")
    with tempfile.TemporaryDirectory() as folder:
        download = downloads.fetch(
            url,
            Path(folder) / "result",
            most_bytes=MOST_RESULT_BYTES,
            seconds=DOWNLOAD_SECONDS,
            allow_loopback=settings.allow_loopback(),
        )
        return write(request, download)


def write(request: Request, download: Download) -> dict[str, Any]:
    with download.path.open("rb") as file:
        format_ = images.detect(file.read(images.HEAD_BYTES))
    if format_ is None:
        raise NotAnImage
    if not images.is_complete(download.path, format_):
        raise DownloadFailed("The result was truncated.")
    delivered = storage.write(S3, SETTINGS.output_bucket, request.upload, download, format_, provenance(request))
    return superseded() if delivered is None else enhanced(request, delivered)


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
    storage.remove_report(S3, SETTINGS.output_bucket, request.upload)
    count("PhotosEnhanced")
    seconds = seconds_since(request.upload)
    if seconds is not None:
        measure("PhotoSeconds", seconds)
    logger.info("delivered", extra={"bytes": delivered.bytes, "format": delivered.format, "seconds": seconds})
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


def not_delivered(error: Exception) -> dict[str, Any]:
    if isinstance(error, DownloadRefused):
        return refused(outcomes.outcome("result_refused", detail=error))
    if isinstance(error, NotAnImage):
        return refused(outcomes.outcome("result_not_an_image"))
    count("DeliveriesWaiting")
    logger.warning("the result can't be fetched now", extra={"detail": str(error)})
    return {"state": "waiting", "wait_seconds": RETRY_SECONDS}


def refused(outcome: Outcome) -> dict[str, Any]:
    count("ResultsRefused")
    logger.error("the result was refused", extra={"code": outcome.code, "detail": outcome.message})
    return {"state": "failed", "outcome": msgspec.to_builtins(outcome)}
