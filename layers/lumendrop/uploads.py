"""Upload events, and the order of the uploads of one key."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

_Text = Annotated[str, Meta(min_length=1)]


UNVERSIONED = "unversioned-"
"""What stands before the sequencer in place of the version id that S3 didn't give."""


class NotAnUploadEvent(ValueError):
    """A message that is not an EventBridge "Object Created" event, nor what the backfill sends."""


class BackfillItem(msgspec.Struct, frozen=True):
    """An object that the backfill found in the bucket. Its upload is the version that is current at its turn."""

    bucket: _Text
    key: _Text

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Upload(msgspec.Struct, frozen=True):
    """One version of one object.

    `key` is raw, as EventBridge carries it; `sequencer` orders the uploads of one key; `size` is in bytes; `time` is
    when S3 announced it, as the event says it. An upload that no event told of has neither sequencer nor time.
    """

    bucket: _Text
    key: _Text
    version_id: _Text
    sequencer: str
    size: Annotated[int, Meta(ge=0)]
    etag: str
    time: str = ""

    @property
    def correlation_id(self) -> str:
        """The same wherever this upload shows: logs, execution names, events, reports, the photo's metadata."""
        return hashlib.sha256("\0".join([self.bucket, self.key, self.version_id]).encode()).hexdigest()[:32]

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_versioned(self) -> bool:
        """Whether the bucket kept this upload as a version of its own."""
        return not self.version_id.startswith(UNVERSIONED)

    def reason_to_skip(self) -> str | None:
        """Why this is no photo at all, or None. S3 consoles and sync tools make such objects as folders."""
        if self.key.endswith("/"):
            return "folder marker"
        return "empty object" if self.size == 0 else None


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
    """Reads an EventBridge "Object Created" event, or what the backfill sends: bucket and key, as a listing gives them.

    The key is taken raw: EventBridge doesn't encode it, and decoding would break `+` and `%`.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    A bucket without versioning gives no version id; such an upload gets one that no version has, so that it can be
    reported.

    Raises NotAnUploadEvent when `body` is anything else.
    """
    try:
        event = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise NotAnUploadEvent(f"not an Object Created event: {error}") from error
    bucket, found = event.detail.bucket.name, event.detail.object
    if found.version_id is None and not found.sequencer:
        return BackfillItem(bucket, found.key)
    version_id = found.version_id or f"{UNVERSIONED}{found.sequencer}"
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
    """Whether the upload with `sequencer` came after the one with `other`; both of the same key.

    Hexadecimal text of varying length: the shorter is padded with zeros on the right, then compared as text.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    width = max(len(sequencer), len(other))
    return sequencer.upper().ljust(width, "0") > other.upper().ljust(width, "0")
