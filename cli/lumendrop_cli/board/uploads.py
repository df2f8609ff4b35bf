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

from lumendrop_cli import ledger, photo_files, photo_options, statuses, transfers
from lumendrop_cli.batches import batches
from lumendrop_cli.enhance_plan import parallel, photo_key
from lumendrop_cli.errors import CliError
from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack

_MOST_PHOTOS = 2000
_IN_MEMORY_BYTES = 8 * 1024 * 1024
_OPTIONS = ("resolution", "creativity", "resemblance", "metadata")


@dataclass(frozen=True)
class Photo:
    """A photo that the page sends: its key, its size in bytes, and its options as metadata."""

    key: str
    size: int
    options: dict[str, str]


def photo(stack: Stack, values: Mapping[str, str], size: int) -> Photo:
    """The photo of a request. Raises CliError if its name, its size, or an option is not accepted."""
    folder, name = values.get("folder", ""), values.get("name", "")
    if problem := name_problem(stack, folder, name):
        raise CliError(f"{problem} Nothing was uploaded.")
    limit = stack.whole_number("MaxUploadBytes")
    if not 0 < size <= limit:
        reason = "is empty" if size == 0 else f"has {size:,} bytes; this stack enhances at most {limit:,}"
        raise CliError(f"The file {reason}. Nothing was uploaded.")
    return Photo(_key(stack, folder, name), size, options(values))


def name_problem(stack: Stack, folder: str, name: str) -> str | None:
    """Why `lumendrop enhance` would not upload a file either; None if it would. `name` can have folders."""
    parts = name.split("/")
    if not parts[-1]:
        return "The file has no name."
    if any(map(photo_files.is_hidden, parts)):
        return "The file is left out: hidden."
    reason = photo_files.check_name(parts[-1], _key(stack, folder, name))
    return reason and f"The file is left out: {reason}."


def _key(stack: Stack, folder: str, name: str) -> str:
    return f"{stack.parameter('InputPrefix')}{folder}{name}"


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
    extra = {"ContentType": kind} if (kind := transfers.content_type(wanted.key)) else {}
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
    """Which photos can't be uploaded, and which are enhanced already with these options, so that nothing is paid.

    The same photo twice is paid for once. Raises CliError and BadParameter.
    """
    text = photo_options.as_text(stack, options(given))
    photos = _photos(given.get("photos", ""))
    problems = [name_problem(stack, given.get("folder", ""), name) for _, _, name in photos]
    keys = [
        photo_key(stack, size, sha256, text) if sha256 and not problem else None
        for (size, sha256, _), problem in zip(photos, problems, strict=True)
    ]
    found = (
        _held(stack, sorted({key for key in keys if key})) if stack.parameters.get("SamePhoto") == "reuse" else set()
    )
    enhanced = []
    for key in keys:
        enhanced.append(key in found)
        if key:
            found.add(key)
    return {"enhanced": enhanced, "problems": problems}


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


def _photos(text: str) -> list[tuple[int, str, str]]:
    """Each photo's size, SHA-256, and name. Raises CliError."""
    try:
        found = json.loads(text)
        photos = [(size, sha256, name) for size, sha256, name in found]
    except (ValueError, TypeError, RecursionError):
        raise CliError("The request lists no photos.") from None
    kinds = {tuple(map(type, one)) for one in photos}
    if len(photos) > _MOST_PHOTOS or not kinds <= {(int, str, str)}:
        raise CliError("The request lists no photos.")
    return photos
