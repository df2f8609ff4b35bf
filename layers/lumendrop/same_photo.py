"""Uploads of the same photo: the same bytes and options in one input bucket. Only one of them is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from lumendrop import object_properties, outcomes, reports, storage
from lumendrop.decisions import Photo, Reuse, Twin
from lumendrop.ledger import RESENDABLE, Copy, Ledger, Row, photo_key
from lumendrop.object_properties import ObjectProperties
from lumendrop.storage import DeliveredObject, Reusable
from lumendrop.telemetry import count, logger
from lumendrop.upload_queue import Deferred
from lumendrop.uploads import Upload

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
        result = storage.find_reusable(client, row.output, payer(row)) or _own_copy(client, ledger, photo, row)
    return msgspec.structs.replace(photo, twin=Twin(holder, row, result))


def _own_copy(client: S3Client, ledger: Ledger, photo: Photo, holder: Row) -> Reusable | None:
    """The copy that an earlier run made for this upload, and did not record before the holder's photo was deleted."""
    upload = photo.source.upload
    copy = ledger.read_copy(upload)
    if copy is None or copy.same_as != payer(holder):
        return None
    found = storage.find_delivered(client, copy.bucket, upload, 1)
    return storage.find_reusable(client, msgspec.to_builtins(found), copy.same_as) if found else None


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
    upload, previous = wanted.photo.source.upload, wanted.previous
    task_id = wanted.result.metadata.get("task-id", wanted.row.task_id)
    copy = Copy(wanted.result.bucket, wanted.photo.options.as_text(), payer(wanted.row), task_id)
    attempt = previous.attempt + 1 if previous else 1
    properties = _properties(client, wanted.photo)
    ledger.announce_copy(upload, copy)
    delivered = storage.reuse(client, upload, wanted.result, copy.same_as, attempt, properties)
    if delivered is None:
        superseded = outcomes.outcome("newer_upload_delivered")
        may_have_cost = bool(previous and previous.attempts_that_may_have_cost())
        outcome = msgspec.structs.replace(superseded, may_have_cost=may_have_cost)
        return ledger.record_reuse(upload, copy, outcome, previous)
    return _record(client, ledger, upload, copy, delivered, previous)


def _record(
    client: S3Client, ledger: Ledger, upload: Upload, copy: Copy, delivered: DeliveredObject, previous: Row | None
) -> Row:
    reports.remove(client, delivered.bucket, upload)
    return ledger.record_reuse(upload, copy, msgspec.to_builtins(delivered), previous)


def find_copy(client: S3Client, ledger: Ledger, ended: Row) -> Row:
    """Records the copy that another run made for an upload, and did not record before the upload ended otherwise.

    That run read the photo before it was deleted or archived. Returns the current row, unchanged if there is no copy.
    """
    if ended.status not in RESENDABLE:
        return ended
    copy = ledger.read_copy(ended.upload)
    found = storage.find_delivered(client, copy.bucket, ended.upload, ended.attempt) if copy else None
    return _record(client, ledger, ended.upload, copy, found, ended) if copy and found else ended
