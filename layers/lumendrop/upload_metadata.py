"""Reads the metadata of an upload from S3, and carries it over to the result. Nothing here costs a photo.

Whatever can't be read or written is left out, with a reason for the owner.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from lumendrop import dimensions, object_properties
from lumendrop.containers import Broken, Image
from lumendrop.downloads import Download
from lumendrop.metadata import transfer
from lumendrop.metadata.blocks import Blocks, LeftOut
from lumendrop.metadata.combining import Wanted
from lumendrop.metadata.spliced import Spliced
from lumendrop.metadata.transfer import CarriedOver
from lumendrop.object_properties import ObjectProperties
from lumendrop.options import Metadata
from lumendrop.storage import Result
from lumendrop.telemetry import logger
from lumendrop.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OTHER_RATIO = "aspect_ratio_changed"
"""The warning about a result with another aspect ratio than its upload."""

_WINDOW_BYTES = 1 << 17
_MOST_WINDOWS = 24
_MOST_BYTES = 16 << 20
_SECONDS = 30


class TooMuch(Exception):
    """The metadata can't be read with few and small requests."""


class UploadMetadata(msgspec.Struct):
    """The blocks of the file, and the properties of the object."""

    blocks: Blocks = msgspec.field(default_factory=Blocks)
    properties: ObjectProperties = msgspec.field(default_factory=ObjectProperties)
    left_out: list[LeftOut] = []


class _RangeReader:
    """Reads an object through windows, each of which is one request. Raises TooMuch."""

    def __init__(self, client: S3Client, upload: Upload) -> None:
        self.size = upload.size
        self.properties = ObjectProperties()
        self._client = client
        self._upload = upload
        self._windows: list[tuple[int, bytes]] = []
        self._ends = time.monotonic() + _SECONDS

    def read(self, at: int, count: int) -> bytes:
        count = min(count, self.size - at)
        for start, window in self._windows:
            if start <= at and at + count <= start + len(window):
                return window[at - start : at - start + count]
        if count <= 0:
            return b""
        return self._fetch(at, max(count, _WINDOW_BYTES))[:count]

    def _fetch(self, at: int, count: int) -> bytes:
        read = sum(len(window) for _, window in self._windows)
        if len(self._windows) >= _MOST_WINDOWS or read + count > _MOST_BYTES or time.monotonic() > self._ends:
            raise TooMuch
        found = self._client.get_object(
            Bucket=self._upload.bucket,
            Key=self._upload.key,
            VersionId=self._upload.version_id,
            Range=f"bytes={at}-{min(at + count, self.size) - 1}",
        )
        self.properties = object_properties.from_response(found)
        self._windows.append((at, found["Body"].read()))
        return self._windows[-1][1]


def read_metadata(client: S3Client, upload: Upload, choice: Metadata) -> UploadMetadata:
    """Reads with some small range requests, and not at all if nothing is wanted."""
    found = UploadMetadata()
    if choice == "none":
        return found
    reader = _RangeReader(client, upload)
    try:
        found.blocks = transfer.read(reader)
    except Exception as error:  # noqa: BLE001  # a photo that was paid for is delivered without
        found.left_out.append(LeftOut("the file's metadata", _why(error)))
    found.properties = object_properties.select(client, upload, reader.properties, choice)
    return found


def combine(
    upload: Upload,
    download: Download,
    image: Image,
    found: UploadMetadata,
    wanted: Wanted,
    provenance: Mapping[str, str],
) -> Result:
    """What to deliver: the download with the metadata of its upload, and with warnings about it."""
    carried = _carry_over(transfer.unchanged(download.path, download.bytes), image, found, wanted)
    is_other = dimensions.has_other_ratio(upload.pixels, image.pixels, swapped=carried.swaps_sides)
    return Result(
        carried.content,
        carried.content.sha256(),
        image,
        provenance,
        found.properties,
        carried.carried,
        (*found.left_out, *carried.left_out),
        (OTHER_RATIO,) if is_other else (),
        carried.sidecar,
    )


def _carry_over(result: Spliced, image: Image, found: UploadMetadata, wanted: Wanted) -> CarriedOver:
    try:
        return transfer.carry_over(result, image, found.blocks, wanted)
    except Exception as error:  # noqa: BLE001  # as above
        return CarriedOver(result, left_out=(LeftOut("the file's metadata", _why(error)),))


def _why(error: Exception) -> str:
    """The reason in words. Errors that only a defect can cause are logged."""
    if isinstance(error, BotoCoreError | ClientError):
        return object_properties.describe(error)
    if isinstance(error, Broken):
        return "the structure of the file is damaged"
    if isinstance(error, TooMuch):
        return "it is spread over too much of the file"
    logger.exception("metadata was left out")
    return f"of an unexpected error ({type(error).__name__})"
