"""The two buckets: looking at an upload, handing it to the enhancer, writing the enhanced photo."""

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
_MOST_METADATA_BYTES = 2048  # of all names and values together, says S3
_MOST_SOURCE_KEY_BYTES = 1024
_MOST_REPORT_BYTES = 65_536
_WRITE_TRIES = 8
_GONE = ("404", "NoSuchKey", "NoSuchVersion")
_LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409", *_GONE)


class Source(msgspec.Struct, frozen=True):
    """An upload that was looked at: a photo by its first bytes, with its own metadata."""

    upload: Upload
    format: Format
    metadata: Mapping[str, str]


class DeliveredObject(msgspec.Struct, frozen=True):
    """Where an enhanced photo is; `bytes` is its size."""

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
    """Others kept writing the same output key; trying again later will do."""


def resolve_version(client: S3Client, item: BackfillItem) -> Upload | None:
    """The current version of an object of a versioned bucket, or None if it is gone.

    What S3 stored before the bucket had versions is its version "null". Neither object nor listing knows a sequencer.
    """
    found = _head(client, item.bucket, item.key)
    if found is None:
        return None
    version_id, etag = found.get("VersionId", "null"), found["ETag"].strip('"')
    return Upload(item.bucket, item.key, version_id, "", found["ContentLength"], etag)


def inspect(client: S3Client, upload: Upload, most_bytes: int) -> Source:
    """Reads the first bytes and the metadata of an upload.

    Raises Rejected when its bucket keeps no versions, or it is gone, archived, too big, or no JPEG, PNG, WebP or HEIC.
    """
    if not upload.is_versioned:
        raise Rejected(
            "bucket_not_versioned",
            f"The bucket {upload.bucket} keeps no versions, so nobody could say which photo was paid for.",
            "Switch on the bucket's versioning, then upload the photo again.",
        )
    upload, found = _open(client, upload)
    if upload.size > most_bytes:
        raise Rejected(
            "too_big",
            f"The upload has {upload.size} bytes; the most that is enhanced here is {most_bytes}.",
            "Upload a smaller file, or raise the stack's MaxUploadBytes.",
        )
    format_ = images.detect(found["Body"].read())
    if format_ is None:
        raise Rejected(
            "not_an_image",
            "The file's first bytes are not those of a JPEG, PNG, WebP or HEIC image, whatever its name says.",
            "Upload the photo in one of these formats.",
        )
    return Source(upload, format_, found["Metadata"])


def _open(client: S3Client, upload: Upload) -> tuple[Upload, Any]:
    """Where the raw key has no object and decoding changes it, the decoded one is worth one try.

    AWS nowhere says in one sentence that EventBridge carries raw keys.
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
                raise Rejected(
                    "archived",
                    "The upload lies in an archive (Glacier) and can't be read without being restored.",
                    "Upload the photo in another storage class, or restore it and send it again.",
                ) from None
            if error.response["Error"]["Code"] not in _GONE:
                raise
        else:
            return msgspec.structs.replace(upload, key=key), found
    raise Rejected(
        "upload_gone",
        "This version of the object was deleted before it could be enhanced.",
        "If that was not on purpose, upload the photo again.",
    )


def presign(client: S3Client, source: Source) -> str:
    """A URL with which anybody can read this version of the upload for an hour. A secret: keep it in this function.

    It names the content type found in the bytes, since many uploads are stored as binary/octet-stream. Dots that would
    make up `.` and `..` segments are encoded, because HTTP clients resolve such segments away.
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
    """Where the report about an upload with this key goes in the output bucket."""
    return _fit(f"errors/{key}", ".json")


def output_key(key: str, format_: Format) -> str:
    """The upload's own key if its extension fits the format, else with the right extension added."""
    return key if key.lower().endswith(format_.extensions) else _fit(key, format_.extensions[0])


def _fit(key: str, suffix: str) -> str:
    """`key` with `suffix`, the key shortened and told apart by a hash where S3's 1,024 bytes would not do."""
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
    existing = None  # as for nearly every upload; S3 says if not, before it takes the body
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
    raise LostRace(f"others kept writing the output key, {_WRITE_TRIES} times in a row")


def _is_of_a_newer_upload(client: S3Client, metadata: Mapping[str, str], upload: Upload) -> bool:
    """Whether an enhanced photo with this metadata was made of a newer upload of the same key than `upload`.

    Events say it by their sequencers. Where one of the two was found by the backfill, S3 is asked: it lists versions
    in the order in which they were stored, the newest first.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/list-obj-version-enabled-bucket.html
    """
    if metadata.get("sequencer") and upload.sequencer:
        return is_newer(metadata["sequencer"], upload.sequencer)
    for version_id in _version_ids(client, upload) if "source-version-id" in metadata else ():
        if version_id in (upload.version_id, metadata["source-version-id"]):
            return version_id != upload.version_id
    return False


def _version_ids(client: S3Client, upload: Upload) -> Iterator[str]:
    """The ids of all versions of an upload's key that there still are, the newest first."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=upload.bucket, Prefix=upload.key)
    for version in (one for page in pages for one in page.get("Versions", [])):
        if version["Key"] != upload.key:  # longer keys follow
            return
        yield version["VersionId"]


def find_delivered(client: S3Client, bucket: str, upload: Upload) -> DeliveredObject | None:
    """The enhanced photo of this upload, if a run before this one has written it, under whichever output key."""
    for format_ in images.FORMATS:
        key = output_key(upload.key, format_)
        for one in (key, _disambiguate(key, upload.key, format_.extensions[0])):
            existing = _head(client, bucket, one)
            if existing and existing["Metadata"].get("source-version-id") == upload.version_id:
                return _written(bucket, one, existing, format_)
    return None


def remove_report(client: S3Client, bucket: str, upload: Upload) -> None:
    """Removes the report about this upload, which an earlier attempt left; one about another version stays."""
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
        return  # an object of somebody else's


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
    """Facts that no longer fit are left out: a photo that is paid for must not fail for its metadata."""
    metadata = _source_metadata(upload)
    room = _MOST_METADATA_BYTES - sum(len(name) + len(value) for name, value in metadata.items())
    for name, value in provenance.items():
        if len(name) + len(value) <= room:
            metadata[name] = value
            room -= len(name) + len(value)
    return metadata


def _source_metadata(upload: Upload) -> dict[str, str]:
    """Metadata is ASCII and limited, so a key is percent-encoded, and one that grows too long, base64."""
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
