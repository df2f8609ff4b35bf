"""The two buckets: inspects an upload, presigns it for the enhancer, and writes the enhanced photo."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, unquote_plus

import msgspec
from botocore.exceptions import ClientError

from lumendrop import images
from lumendrop.downloads import Download
from lumendrop.images import Format
from lumendrop.outcomes import Rejected
from lumendrop.uploads import BackfillItem, Upload, is_newer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

URL_SECONDS = 3600
"""How long the enhancer may fetch the photo with its presigned URL."""

_MOST_KEY_BYTES = 1024
_MOST_METADATA_BYTES = 2048  # S3's limit for all names and values together
_MOST_SOURCE_KEY_BYTES = 1024
_MOST_REPORT_BYTES = 65_536
_WRITE_TRIES = 8
_GONE = ("404", "NoSuchKey", "NoSuchVersion")
_LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409", *_GONE)


class Source(msgspec.Struct, frozen=True):
    """An inspected upload: its format, according to its first bytes, and its metadata."""

    upload: Upload
    format: Format
    metadata: Mapping[str, str]


class DeliveredObject(msgspec.Struct, frozen=True):
    """Where an enhanced photo is stored. `bytes` is its size."""

    bucket: str
    key: str
    version_id: str
    bytes: int
    format: str


class _Reported(msgspec.Struct):
    version_id: str


class _Report(msgspec.Struct):
    upload: _Reported


class LostRace(Exception):
    """Other functions kept writing the same output key. A later attempt can succeed."""


def resolve_version(client: S3Client, item: BackfillItem) -> Upload | None:
    """The current version of an object in a versioned bucket, or None if it was deleted.

    An object that is older than the bucket's versioning has the version "null". S3 returns sequencers only in events.
    """
    found = _head(client, item.bucket, item.key)
    if found is None:
        return None
    version_id, etag = found.get("VersionId", "null"), found["ETag"].strip('"')
    return Upload(item.bucket, item.key, version_id, "", found["ContentLength"], etag)


def inspect(client: S3Client, upload: Upload, most_bytes: int) -> Source:
    """Reads the first bytes and the metadata of an upload. Raises Rejected if it can't be enhanced."""
    if not upload.is_versioned:
        raise Rejected("bucket_not_versioned", bucket=upload.bucket)
    upload, found = _open(client, upload)
    if upload.size > most_bytes:
        raise Rejected("too_big", size=upload.size, limit=most_bytes)
    format_ = images.detect(found["Body"].read())
    if format_ is None:
        raise Rejected("not_an_image")
    return Source(upload, format_, found["Metadata"])


def _open(client: S3Client, upload: Upload) -> tuple[Upload, Any]:
    """If the raw key has no object and decoding changes it, the decoded key is tried once.

    AWS does not document explicitly that keys in EventBridge events are raw.
    """
    for key in dict.fromkeys([upload.key, unquote_plus(upload.key)]):
        try:
            found = client.get_object(
                Bucket=upload.bucket,
                Key=key,
                VersionId=upload.version_id,
                Range=f"bytes=0-{images.HEAD_BYTES - 1}",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "InvalidObjectState":
                raise Rejected("archived") from None
            if error.response["Error"]["Code"] not in _GONE:
                raise
        else:
            return msgspec.structs.replace(upload, key=key), found
    raise Rejected("upload_gone")


def presign(client: S3Client, source: Source) -> str:
    """A URL that gives anyone read access to this version of the upload for an hour. It must not leave the function.

    It sets the content type of the detected format, because many uploads are stored as binary/octet-stream. Dots of `.`
    and `..` segments are encoded, because HTTP clients would remove these segments.
    """
    url = client.generate_presigned_url(
        "get_object",
        Params={
            "Bucket": source.upload.bucket,
            "Key": source.upload.key,
            "VersionId": source.upload.version_id,
            "ResponseContentType": source.format.content_type,
        },
        ExpiresIn=URL_SECONDS,
    )
    path, _, query = url.partition("?")
    segments = [part.replace(".", "%2E") if part in (".", "..") else part for part in path.split("/")]
    return f"{'/'.join(segments)}?{query}"


def report_key(key: str) -> str:
    """The key of the report about an upload with this key, in the output bucket."""
    return _fit(f"errors/{key}", ".json")


def output_key(key: str, format_: Format) -> str:
    """The upload's key if its extension fits the format, otherwise the key plus the right extension."""
    return key if key.lower().endswith(format_.extensions) else _fit(key, format_.extensions[0])


def _fit(key: str, suffix: str) -> str:
    """`key` with `suffix`. A key that would exceed S3's 1,024 bytes is shortened and gets a hash."""
    if len(f"{key}{suffix}".encode()) <= _MOST_KEY_BYTES:
        return f"{key}{suffix}"
    return _disambiguate(key, key, suffix)


def _disambiguate(key: str, by: str, suffix: str) -> str:
    suffix = f"~{hashlib.sha256(by.encode()).hexdigest()[:12]}{suffix}"
    return key.encode()[: _MOST_KEY_BYTES - len(suffix)].decode(errors="ignore") + suffix


def write(
    client: S3Client,
    bucket: str,
    upload: Upload,
    download: Download,
    format_: Format,
    provenance: Mapping[str, str],
) -> DeliveredObject | None:
    """Writes an enhanced photo and returns it, or None if the result of a newer upload already exists.

    `provenance` (ASCII) becomes metadata next to the source's key, version, and sequencer, as far as S3 has room. Each
    write is conditional on the object that was read before, so the newest upload wins a race. If another photo has the
    output key (`a.heic` and `a.heic.jpg` both become the latter), this one gets a key of its own. Raises LostRace.
    """
    key = output_key(upload.key, format_)
    metadata = _metadata(upload, provenance)
    existing = None  # true for nearly every upload; otherwise S3 refuses before it receives the body
    for _ in range(_WRITE_TRIES):
        condition = {"IfMatch": existing["ETag"]} if existing else {"IfNoneMatch": "*"}
        try:
            version_id = _put(client, bucket, key, download, format_, metadata, condition)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _LOST_RACE:
                raise
        else:
            return DeliveredObject(bucket, key, version_id, download.bytes, format_.name)
        existing = _head(client, bucket, key)
        if existing and (source := _source_key(existing["Metadata"])) is not None and source != upload.key:
            key, existing = _disambiguate(key, upload.key, format_.extensions[0]), None
        elif existing and existing["Metadata"].get("source-version-id") == upload.version_id:
            return _written(bucket, key, existing, format_)
        elif existing and _is_of_a_newer_upload(client, existing["Metadata"], upload):
            return None
    raise LostRace(f"other functions wrote the output key {_WRITE_TRIES} times in a row")


def _is_of_a_newer_upload(client: S3Client, metadata: Mapping[str, str], upload: Upload) -> bool:
    """Whether an enhanced photo with this metadata comes from a newer upload of the same key than `upload`.

    Sequencers decide if both uploads have one. An upload that the backfill found has none; then the order of the
    versions decides, which S3 lists from the newest to the oldest.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/list-obj-version-enabled-bucket.html
    """
    if metadata.get("sequencer") and upload.sequencer:
        return is_newer(metadata["sequencer"], upload.sequencer)
    for version_id in _version_ids(client, upload) if "source-version-id" in metadata else ():
        if version_id in (upload.version_id, metadata["source-version-id"]):
            return version_id != upload.version_id
    return False


def _version_ids(client: S3Client, upload: Upload) -> Iterator[str]:
    """The IDs of all versions of an upload's key that still exist, newest first."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=upload.bucket, Prefix=upload.key)
    for version in (one for page in pages for one in page.get("Versions", [])):
        if version["Key"] != upload.key:  # longer keys follow
            return
        yield version["VersionId"]


def find_delivered(client: S3Client, bucket: str, upload: Upload) -> DeliveredObject | None:
    """The enhanced photo of this upload, under any of its output keys, if an earlier run has written it."""
    for format_ in images.FORMATS:
        key = output_key(upload.key, format_)
        for one in (key, _disambiguate(key, upload.key, format_.extensions[0])):
            existing = _head(client, bucket, one)
            if existing and existing["Metadata"].get("source-version-id") == upload.version_id:
                return _written(bucket, one, existing, format_)
    return None


def remove_report(client: S3Client, bucket: str, upload: Upload) -> None:
    """Removes the report of an earlier attempt of this upload. A report about another version is kept."""
    key = report_key(upload.key)
    try:
        found = client.get_object(Bucket=bucket, Key=key)
        report = msgspec.json.decode(found["Body"].read(_MOST_REPORT_BYTES), type=_Report)
        if report.upload.version_id == upload.version_id:
            client.delete_object(Bucket=bucket, Key=key, IfMatch=found["ETag"])
    except ClientError as error:
        if error.response["Error"]["Code"] not in _LOST_RACE:
            raise
    except msgspec.MsgspecError:
        return  # not a report


def _written(bucket: str, key: str, existing: Any, format_: Format) -> DeliveredObject:
    return DeliveredObject(bucket, key, existing.get("VersionId", ""), existing["ContentLength"], format_.name)


def _put(
    client: S3Client,
    bucket: str,
    key: str,
    download: Download,
    format_: Format,
    metadata: Mapping[str, str],
    condition: Mapping[str, Any],
) -> str:
    with download.path.open("rb") as file:
        answer = client.put_object(
            Bucket=bucket,
            Key=key,
            Body=file,
            ContentLength=download.bytes,
            ContentType=format_.content_type,
            ChecksumSHA256=download.sha256,
            Metadata=metadata,
            **condition,
        )
    return answer.get("VersionId", "")


def _head(client: S3Client, bucket: str, key: str) -> Any:
    try:
        return client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return None
        raise


def _metadata(upload: Upload, provenance: Mapping[str, str]) -> dict[str, str]:
    """Values that no longer fit are left out, because the delivery of a paid photo must not fail for its metadata."""
    metadata = _source_metadata(upload)
    room = _MOST_METADATA_BYTES - sum(len(name) + len(value) for name, value in metadata.items())
    for name, value in provenance.items():
        if len(name) + len(value) <= room:
            metadata[name] = value
            room -= len(name) + len(value)
    return metadata


def _source_metadata(upload: Upload) -> dict[str, str]:
    """Metadata is ASCII and limited in size, so a key is percent-encoded, or in base64 if that is too long."""
    encoded = quote(upload.key)
    if len(encoded) <= _MOST_SOURCE_KEY_BYTES:
        named = {"source-key": encoded}
    else:
        named = {"source-key-base64": base64.b64encode(upload.key.encode()).decode()}
    return named | {"source-version-id": upload.version_id, "sequencer": upload.sequencer}


def _source_key(metadata: Mapping[str, str]) -> str | None:
    if "source-key-base64" in metadata:
        return base64.b64decode(metadata["source-key-base64"]).decode(errors="replace")
    return unquote(metadata["source-key"]) if "source-key" in metadata else None
