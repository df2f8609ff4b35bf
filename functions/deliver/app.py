"""Brings the result of one task into the output bucket."""

from __future__ import annotations

import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext

from lumendrop import clients, downloads, images, settings, storage
from lumendrop.api_key import ApiKey
from lumendrop.downloads import Download, DownloadFailed, DownloadRefused
from lumendrop.enhancer import MODEL, Enhancer, TaskNotFound, Unavailable
from lumendrop.outcomes import Outcome
from lumendrop.polling import Task
from lumendrop.storage import DeliveredObject
from lumendrop.telemetry import count, log_context, logger, measure, metrics
from lumendrop.uploads import Upload

MOST_RESULT_BYTES = 256 * 1024 * 1024  # twice the raw pixels of 4,096 x 4,096 with four channels of 16 bits
DOWNLOAD_SECONDS = 200
RETRY_SECONDS = 20


class Settings(msgspec.Struct, frozen=True):
    """See the parameters of template.yaml for what each means."""

    api_base_url: str
    key_secret_arn: str
    output_bucket: str


class Request(msgspec.Struct, frozen=True):
    """What the workflow hands over."""

    correlation_id: str
    upload: Upload
    attempt: int
    options: dict[str, Any]
    task: Task


class NotAnImage(Exception):
    """What the link led to is no image."""


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
            # A run before this one may have delivered the photo and ended before it could say so.
            if written := storage.find_delivered(S3, SETTINGS.output_bucket, request.upload):
                return enhanced(request, written)
            return not_delivered(error)


def not_delivered(error: Exception) -> dict[str, Any]:
    if isinstance(error, DownloadRefused):
        return refused("result_refused", str(error))
    if isinstance(error, NotAnImage):
        return refused("result_not_an_image", str(error))
    count("DeliveriesWaiting")
    logger.warning("the result can't be fetched now", extra={"said": str(error)})
    return {"state": "waiting", "wait_seconds": RETRY_SECONDS}


def deliver(request: Request) -> dict[str, Any]:
    """Asks for a fresh link, so that none has to be kept, and writes what it leads to."""
    url = ENHANCER.status(request.task.id).result_url
    if url is None:
        raise DownloadFailed("The task is completed, but its result is not there yet.")
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
        raise NotAnImage("The result is not an image.")
    if not images.is_complete(download.path, format_):
        raise DownloadFailed("The result was cut short.")
    written = storage.write(S3, SETTINGS.output_bucket, request.upload, download, format_, provenance(request))
    return superseded() if written is None else enhanced(request, written)


def enhanced(request: Request, written: DeliveredObject) -> dict[str, Any]:
    storage.remove_report(S3, SETTINGS.output_bucket, request.upload)
    count("PhotosEnhanced")
    seconds = seconds_since(request.upload)
    if seconds is not None:
        measure("PhotoSeconds", seconds)
    logger.info("delivered", extra={"bytes": written.bytes, "format": written.format, "seconds": seconds})
    return {"state": "enhanced", "output": msgspec.to_builtins(written)}


def seconds_since(upload: Upload) -> float | None:
    """How long ago S3 announced this upload; None where the message that brought it doesn't say when."""
    try:
        return max(0.0, time.time() - datetime.fromisoformat(upload.time).timestamp())
    except ValueError:
        return None


def provenance(request: Request) -> dict[str, str]:
    """What the enhanced photo's metadata says beside its source; options under the names they have for uploads."""
    asked = {
        name.replace("_", "-"): ",".join(value) if isinstance(value, list) else str(value)
        for name, value in request.options.items()
    }
    return {
        "correlation-id": request.correlation_id,
        "task-id": request.task.id,
        "attempt": str(request.attempt),
        "model": MODEL,
        **asked,
    }


def refused(code: str, message: str) -> dict[str, Any]:
    count("ResultsRefused")
    outcome = Outcome(
        status="failed",
        code=code,
        message=message,
        advice="The task was paid for. Show the vendor the task id; upload the photo again to pay for a new task.",
        may_have_cost=True,
    )
    logger.error("the result was refused", extra={"code": code, "said": message})
    return {"state": "failed", "outcome": msgspec.to_builtins(outcome)}


def superseded() -> dict[str, Any]:
    count("PhotosSuperseded")
    outcome = Outcome(
        status="superseded",
        code="newer_upload_delivered",
        message="A newer upload of this key was enhanced first; its photo is in the output bucket and stays there.",
        advice="Nothing to do.",
        may_have_cost=True,
    )
    return {"state": "superseded", "outcome": msgspec.to_builtins(outcome)}
