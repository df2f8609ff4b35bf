"""Uploads photos from the page, and says first what they will cost."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import IO, Any

from lumendrop_cli import ledger, photo_options, statuses, transfers
from lumendrop_cli.batches import batches
from lumendrop_cli.enhance_plan import parallel, photo_key
from lumendrop_cli.errors import CliError
from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack

MAX_KEY_BYTES = 1024

_MOST_PHOTOS = 2000
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_OPTIONS = ("resolution", "creativity", "resemblance", "metadata")
_CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "heic": "image/heic",
}


@dataclass(frozen=True)
class Photo:
    """A photo that the page sends: its key, its size in bytes, and its options as metadata."""

    key: str
    size: int
    options: dict[str, str]


def photo(stack: Stack, values: Mapping[str, str], size: int) -> Photo:
    """The photo of a request. Raises CliError if its key, its size, or an option is not accepted."""
    key = f"{stack.parameter('InputPrefix')}{values.get('folder', '')}{values.get('name', '')}"
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise CliError("The name is not valid Unicode. Rename the file.") from None
    if not values.get("name") or key.endswith("/") or length > MAX_KEY_BYTES:
        raise CliError(f"The name must have 1 to {MAX_KEY_BYTES:,} bytes, including the folder. Rename the file.")
    limit = int(stack.parameter("MaxUploadBytes"))
    if not 0 < size <= limit:
        reason = "is empty" if size == 0 else f"has {size:,} bytes; this stack enhances at most {limit:,}"
        raise CliError(f"The file {reason}. Nothing was uploaded.")
    return Photo(key, size, options(values))


def options(values: Mapping[str, str]) -> dict[str, str]:
    """The options of a request, as S3 metadata. Raises BadParameter for a value that would be rejected."""
    return photo_options.checked({name: values[name] for name in _OPTIONS if values.get(name)})


async def receive(body: AsyncIterator[bytes], size: int, file: IO[bytes]) -> str:
    """Writes a request's body to a file, and returns its SHA-256 as S3 expects it. Raises CliError if it is cut off."""
    digest, received = hashlib.sha256(), 0
    async for chunk in body:
        received += len(chunk)
        if received > size:
            break
        digest.update(chunk)
        file.write(chunk)
    if received != size:
        raise CliError("The upload was interrupted. Nothing was stored; drop the photo again.")
    file.seek(0)
    return base64.b64encode(digest.digest()).decode()


def spool() -> IO[bytes]:
    """A file for one photo, in memory if it is small. It has no name, and disappears when it is closed."""
    return tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)


def store(stack: Stack, wanted: Photo, file: transfers.Body, sha256: str) -> dict[str, Any]:
    """Puts the photo into the input bucket in one piece, so that S3 knows the checksum of all of its bytes."""
    extra = {"ContentType": kind} if (kind := _CONTENT_TYPES.get(wanted.key.rpartition(".")[2].lower())) else {}
    answer = stack.client("s3").put_object(
        Bucket=stack.output("InputBucketName"),
        Key=wanted.key,
        Body=file,
        ContentLength=wanted.size,
        ChecksumAlgorithm="SHA256",
        ChecksumSHA256=sha256,
        Metadata=wanted.options,
        **extra,
    )
    return {"key": wanted.key, "version": answer.get("VersionId")}


def plan(stack: Stack, given: Mapping[str, str]) -> dict[str, Any]:
    """Which photos are enhanced already with these options, so that nothing is paid for them.

    The same photo twice is paid for once. Raises CliError and BadParameter.
    """
    text = photo_options.as_text(stack, options(given))
    photos = _photos(given.get("photos", ""))
    keys = [photo_key(stack, size, sha256, text) if sha256 else None for size, sha256 in photos]
    found = (
        _held(stack, sorted({key for key in keys if key})) if stack.parameters.get("SamePhoto") == "reuse" else set()
    )
    enhanced = []
    for key in keys:
        enhanced.append(key in found)
        if key:
            found.add(key)
    return {"enhanced": enhanced}


def _held(stack: Stack, keys: list[str]) -> set[str]:
    """The photos whose result exists, or is on its way."""
    rows: dict[str, Row] = {}
    for batch in batches(keys, ledger.BATCH_SIZE):
        holders = ledger.holders(stack, batch)
        found = ledger.rows_at(stack, sorted(set(holders.values())))
        rows |= {key: found[place] for key, place in holders.items() if place in found}
    held = parallel(lambda row: _is_held(stack, row), rows.values())
    return set(compress(rows, held))


def _is_held(stack: Stack, row: Row) -> bool:
    if row["status"] == statuses.ENHANCED:
        result = transfers.result_of(row)
        return result is not None and transfers.exists(stack, result)
    return row["status"] in statuses.IN_PROGRESS


def _photos(text: str) -> list[tuple[int, str]]:
    """Pairs of a size and a SHA-256. Raises CliError."""
    try:
        found = json.loads(text)
        photos = [(size, sha256) for size, sha256 in found]
    except (ValueError, TypeError):
        raise CliError("The request lists no photos.") from None
    if len(photos) > _MOST_PHOTOS or not all(type(size) is int and type(sha256) is str for size, sha256 in photos):
        raise CliError("The request lists no photos.")
    return photos
