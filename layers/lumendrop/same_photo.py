"""Uploads of the same photo: the same bytes and options in one input bucket. Only one of them is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lumendrop import object_properties, outcomes, reports, storage
from lumendrop.decisions import Photo, Reuse, Twin
from lumendrop.ledger import Ledger, Row, photo_key
from lumendrop.object_properties import ObjectProperties
from lumendrop.telemetry import count, logger
from lumendrop.upload_queue import Deferred

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def identify(client: S3Client, photo: Photo) -> Photo:
    """The photo with its key. It has none if S3 knows no checksum of its bytes: then it is paid for."""
    upload = photo.source.upload
    content = storage.identify(client, upload)
    key = photo_key(upload.bucket, content, photo.options.as_text()) if content else None
    return msgspec.structs.replace(photo, key=key)


def with_twin(client: S3Client, ledger: Ledger, photo: Photo) -> Photo:
    """The photo with the other upload that holds it at the moment, if there is one."""
    found = ledger.read_holder(photo.key) if photo.key else None
    if found is None or (found[1] and found[1].upload.correlation_id == photo.source.upload.correlation_id):
        return msgspec.structs.replace(photo, twin=None)
    holder, row = found
    result = None
    if row and row.status == "enhanced" and row.output:
        result = storage.find_reusable(client, row.output, payer(row))
    return msgspec.structs.replace(photo, twin=Twin(holder, row, result))


def payer(row: Row) -> str:
    """The correlation ID of the upload whose task enhanced the photo of this row."""
    return row.same_as or row.upload.correlation_id


def reuse(client: S3Client, ledger: Ledger, wanted: Reuse) -> Row:
    """Copies the photo, removes obsolete reports, and writes the row. Each step can be repeated.

    Returns the current row, which may have been written by another run. Raises Deferred.
    """
    try:
        row = _reuse(client, ledger, wanted)
    except storage.LostRace as error:
        raise Deferred("same_photo", str(error)) from None
    count("PhotosReused")
    logger.info("photo reused", extra={"same_as": row.same_as, "status": row.status})
    return row


def _properties(client: S3Client, photo: Photo) -> ObjectProperties:
    """What the copy gets of its own upload's object."""
    return object_properties.select(client, photo.source.upload, photo.source.properties, photo.options.metadata)


def _reuse(client: S3Client, ledger: Ledger, wanted: Reuse) -> Row:
    upload, previous, same_as = wanted.photo.source.upload, wanted.previous, payer(wanted.row)
    options = wanted.photo.options.as_text()
    attempt = previous.attempt + 1 if previous else 1
    task_id = wanted.result.metadata.get("task-id", wanted.row.task_id)
    properties = _properties(client, wanted.photo)
    delivered = storage.reuse(client, upload, wanted.result, same_as, attempt, properties)
    if delivered is None:
        superseded = outcomes.outcome("newer_upload_delivered")
        may_have_cost = bool(previous and previous.attempts_that_may_have_cost())
        outcome = msgspec.structs.replace(superseded, may_have_cost=may_have_cost)
        return ledger.record_reuse(upload, options, same_as, task_id, outcome, previous)
    reports.remove(client, delivered.bucket, upload)
    return ledger.record_reuse(upload, options, same_as, task_id, msgspec.to_builtins(delivered), previous)
