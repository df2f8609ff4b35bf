"""Reports in the output bucket: at most one for each upload version, and none next to its photo or a newer one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from lumendrop import storage
from lumendrop.aws_errors import error_code
from lumendrop.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MOST_BYTES = 65_536
_TRIES = 8
_OWN_SUFFIX = re.compile(r"~[0-9a-f]{12}\.json")
_OWN_SUFFIX_BYTES = 18
_MOST_KEY_BYTES = 1024
# An archived object, and one that is encrypted with a key of somebody else.
_UNREADABLE = ("InvalidObjectState", "AccessDenied", "InvalidRequest", "KMS.DisabledException", "KMS.NotFoundException")


class _Existing(msgspec.Struct, frozen=True):
    """A report in the output bucket."""

    key: str
    etag: str
    upload: Upload | None
    """What it is about, or None if the object is not a report."""


class _Report(msgspec.Struct):
    upload: Upload


def report_key(key: str) -> str:
    """The key of the report about an upload with this key. If it is taken, the report gets a key of its own."""
    return storage.fit_key(f"errors/{key}", ".json")


def own_key(upload: Upload) -> str:
    """The key of the report about this version if another report has the usual key."""
    return storage.disambiguate(report_key(upload.key), upload.correlation_id, ".json")


def write(client: S3Client, bucket: str, upload: Upload, body: dict[str, Any]) -> str | None:
    """Writes the report about an upload and returns its key. Returns None if it or a newer upload was enhanced.

    A report never moves, so the ledger, the event, and the report agree about its key. It replaces only a report about
    the same version. A photo that is delivered meanwhile either sees the report, and removes it, or is seen here.
    Raises storage.LostRace.
    """
    if storage.has_photo_since(client, bucket, upload):
        return None
    key, etag = _put(client, bucket, upload, msgspec.json.encode(body))
    if not storage.has_photo_since(client, bucket, upload):
        return key
    _delete(client, bucket, key, etag)
    return None


def _put(client: S3Client, bucket: str, upload: Upload, body: bytes) -> tuple[str, str]:
    usual, own = report_key(upload.key), own_key(upload)
    for _ in range(_TRIES):
        existing = _read(client, bucket, own) or _read(client, bucket, usual)
        is_free = existing is None
        is_same = existing is not None and existing.upload is not None and _same(existing.upload, upload)
        key = existing.key if existing and is_same else usual if is_free else own
        condition: Any = {"IfMatch": existing.etag} if existing and is_same else {"IfNoneMatch": "*"}
        try:
            found = client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json", **condition)
        except ClientError as error:
            if not storage.lost_race(error):
                raise
        else:
            return key, found["ETag"]
    raise storage.LostRace(f"other functions wrote the report {_TRIES} times in a row")


def remove(client: S3Client, bucket: str, upload: Upload) -> None:
    """Removes the reports about an upload that was enhanced, and about older uploads of its bucket and key."""
    for existing in _all(client, bucket, upload):
        about = existing.upload
        if about is None or (about.bucket, about.key) != (upload.bucket, upload.key):
            continue
        if not storage.is_of_newer_upload(client, about.version_id, about.sequencer, upload):
            _delete(client, bucket, existing.key, existing.etag)


def _all(client: S3Client, bucket: str, upload: Upload) -> Iterator[_Existing]:
    """The reports whose keys could belong to this upload's key."""
    usual = report_key(upload.key)
    prefix = usual.encode()[: _MOST_KEY_BYTES - _OWN_SUFFIX_BYTES].decode(errors="ignore")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for key in (one["Key"] for page in pages for one in page.get("Contents", [])):
        if (key == usual or _OWN_SUFFIX.fullmatch(key, len(prefix))) and (found := _read(client, bucket, key)):
            yield found


def _read(client: S3Client, bucket: str, key: str) -> _Existing | None:
    try:
        found = client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if storage.lost_race(error):
            return None
        if error_code(error) in _UNREADABLE:
            return _Existing(key, "", None)
        raise
    try:
        report = msgspec.json.decode(found["Body"].read(_MOST_BYTES), type=_Report)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _Existing(key, found["ETag"], None)
    return _Existing(key, found["ETag"], report.upload)


def _delete(client: S3Client, bucket: str, key: str, etag: str) -> None:
    try:
        client.delete_object(Bucket=bucket, Key=key, IfMatch=etag)
    except ClientError as error:
        if not storage.lost_race(error):
            raise


def _same(one: Upload, other: Upload) -> bool:
    return (one.bucket, one.key, one.version_id) == (other.bucket, other.key, other.version_id)
