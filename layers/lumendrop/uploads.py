"""Upload events, and the order of the uploads of one key."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

_Text = Annotated[str, Meta(min_length=1)]


UNVERSIONED = "unversioned-"
"""Prefix of the version ID of an upload without one; the sequencer follows."""


class NotAnUploadEvent(ValueError):
    """A message that is neither an EventBridge "Object Created" event nor sent by the backfill."""


class BackfillItem(msgspec.Struct, frozen=True):
    """An object that the backfill listed. Its upload is the version that is current when the message is handled."""

    bucket: _Text
    key: _Text

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Upload(msgspec.Struct, frozen=True):
    """One version of one object.

    `key` is raw, as in EventBridge events. `sequencer` orders the uploads of one key. `size` is in bytes. `time` is the
    time of the event. An upload that the backfill found has neither sequencer nor time. `pixels` (as in `4032x3024`)
    and `pictures` are what the file states, once it was inspected.
    """

    bucket: _Text
    key: _Text
    version_id: _Text
    sequencer: str
    size: Annotated[int, Meta(ge=0)]
    etag: str
    time: str = ""
    pixels: str | None = None
    pictures: Literal["one", "animation", "several"] = "one"

    @property
    def correlation_id(self) -> str:
        """The ID of this upload in logs, execution names, events, reports, and the photo's metadata."""
        return hashlib.sha256("\0".join([self.bucket, self.key, self.version_id]).encode()).hexdigest()[:32]

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_versioned(self) -> bool:
        """Whether the bucket stored this upload as a separate version."""
        return not self.version_id.startswith(UNVERSIONED)

    @property
    def is_folder_marker(self) -> bool:
        """Whether this object only represents a folder. The S3 console and sync tools create such objects."""
        return self.size == 0 and self.key.endswith("/")


class _Bucket(msgspec.Struct):
    name: _Text


class _Object(msgspec.Struct, rename="kebab"):
    key: _Text
    version_id: _Text | None = None
    size: Annotated[int, Meta(ge=0)] = 0
    etag: str = ""
    sequencer: str = ""


class _Detail(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _Event(msgspec.Struct):
    detail: _Detail
    time: str = ""


_decoder = msgspec.json.Decoder(_Event)


def parse_event(body: str | bytes) -> Upload | BackfillItem:
    """Reads an EventBridge "Object Created" event, or a backfill message with the bucket and key of a listing.

    The key is not decoded: EventBridge does not encode it, and decoding would change `+` and `%`.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    An upload to a bucket without versioning, or with suspended versioning, replaces the previous object. It gets a
    version ID that no version has, so that it can be reported.

    Raises NotAnUploadEvent if `body` is anything else.
    """
    try:
        event = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotAnUploadEvent(f"not an Object Created event: {error}") from error
    bucket, found = event.detail.bucket.name, event.detail.object
    if found.version_id is None and not found.sequencer:
        return BackfillItem(bucket, found.key)
    replaces_null = found.version_id in (None, "null") and found.sequencer
    version_id = f"{UNVERSIONED}{found.sequencer}" if replaces_null else found.version_id or "null"
    return Upload(bucket, found.key, version_id, found.sequencer, found.size, found.etag, event.time)


def as_event(upload: Upload) -> dict[str, Any]:
    """The event that `parse_event` reads back as `upload`."""
    return {
        "time": upload.time,
        "detail": {
            "bucket": {"name": upload.bucket},
            "object": {
                "key": upload.key,
                "version-id": upload.version_id,
                "size": upload.size,
                "etag": upload.etag,
                "sequencer": upload.sequencer,
            },
        },
    }


def is_newer(sequencer: str, other: str) -> bool:
    """Whether the upload with `sequencer` is newer than the one with `other`, both of the same key.

    Sequencers are hexadecimal and vary in length. The shorter one is padded on the right with zeros before the
    comparison.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    width = max(len(sequencer), len(other))
    return sequencer.upper().ljust(width, "0") > other.upper().ljust(width, "0")
