"""`lumendrop smoke`: sends a photo through the whole stack."""

from __future__ import annotations

import secrets
import struct
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape

from lumendrop_cli import ledger, statuses
from lumendrop_cli.errors import CliError
from lumendrop_cli.ledger import Row
from lumendrop_cli.polling import poll_until
from lumendrop_cli.printer import Progress, printer
from lumendrop_cli.stack import Stack, load_stack

_WIDTH, _HEIGHT = 256, 192
# The first bytes of the formats that the enhancer returns: JPEG, PNG, WebP, HEIC.
_IMAGES = ((0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (8, b"WEBP"), (4, b"ftyp"))


def smoke(
    context: typer.Context,
    photo: Annotated[
        Path | None,
        typer.Argument(help="A photo of your own, instead of the built-in one.", exists=True, dir_okay=False),
    ] = None,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to wait for the result.")] = 600,
    clean: Annotated[
        bool, typer.Option("--clean", help="Delete both photos afterward. The ledger keeps the row.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
) -> None:
    """Upload a photo, wait until it is enhanced, and check the result. Pays for one task."""
    stack, out = load_stack(context), printer(context)
    body = photo.read_bytes() if photo else built_in_photo()
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}{photo.suffix if photo else '.png'}"
    key = f"{stack.parameter('InputPrefix')}lumendrop-smoke/{name}"
    if not yes:
        out.confirm("This pays for one task. Continue?")
    began = time.monotonic()
    with out.progress(f"Uploading {key} …") as progress:
        version_id = _upload(stack, key, body)
        row = poll_until(lambda: _finished_row(stack, key, version_id, progress), timeout)
    seconds = round(time.monotonic() - began, 1)
    if row is None:
        raise CliError(
            f"{key} is not finished after {timeout} seconds, and is still being processed. `lumendrop doctor` shows "
            "what it waits for."
        )
    if row["status"] != statuses.ENHANCED:
        raise CliError(f"{key} ended as {row['status']}: {row['outcome']['message']} {row['outcome']['advice']}")
    _check_result(stack, row)
    if clean:
        _delete_photos(stack, row)
    uri = f"s3://{row['output']['bucket']}/{row['output']['key']}"
    data = {
        "key": key,
        "version_id": version_id,
        "photo": uri,
        "seconds": seconds,
        "task_id": row["task_id"],
        "cleaned": clean,
    }
    deleted = " Both photos are deleted." if clean else ""
    out.result(
        data, [f"Enhanced in {seconds} seconds. The result and its metadata are correct: {escape(uri)}{deleted}"]
    )


def built_in_photo() -> bytes:
    """A small PNG with a color gradient."""
    # The first row runs from red to blue. Each further row is slightly greener than the one above (filter type 2).
    first = b"\0" + b"".join(bytes((x, 32, 255 - x)) for x in range(_WIDTH))
    rows = first + (b"\2" + bytes((0, 1, 0)) * _WIDTH) * (_HEIGHT - 1)
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _upload(stack: Stack, key: str, body: bytes) -> str:
    """Puts the photo into the input bucket and returns its version ID."""
    bucket = stack.output("InputBucketName")
    version_id: str | None = stack.client("s3").put_object(Bucket=bucket, Key=key, Body=body).get("VersionId")
    if version_id is None:
        raise CliError(f"The bucket {bucket} has no versioning, so uploads are rejected. Run `lumendrop doctor`.")
    return version_id


def _finished_row(stack: Stack, key: str, version_id: str, progress: Progress) -> Row | None:
    row = ledger.row_of(stack, key, version_id)
    if row is None:
        progress(f"{key} waits for submit …")
        return None
    progress(f"{key}: {statuses.DESCRIPTIONS.get(row['status'], row['status'])} …")
    return row if ledger.is_finished(row) else None


def _check_result(stack: Stack, row: Row) -> None:
    """Raises CliError if the result differs from its row, or is not an image."""
    place, s3 = row["output"], stack.client("s3")
    found: dict[str, Any] = s3.get_object(Bucket=place["bucket"], Key=place["key"], Range="bytes=0-15")
    head, metadata = found["Body"].read(), found["Metadata"]
    expected = {
        "source-key": quote(row["key"]),
        "source-version-id": row["version_id"],
        "task-id": row["task_id"],
        "attempt": str(row["attempt"]),
    }
    wrong = [f"metadata {name}" for name, value in expected.items() if metadata.get(name) != value]
    if int(found["ContentRange"].rpartition("/")[2]) != place["bytes"]:
        wrong.append("size")
    if not any(head[at : at + len(magic)] == magic for at, magic in _IMAGES):
        wrong.append("image format")
    if wrong:
        raise CliError(
            f"The result s3://{place['bucket']}/{place['key']} is wrong. Not as expected: {', '.join(wrong)}."
        )


def _delete_photos(stack: Stack, row: Row) -> None:
    s3, place = stack.client("s3"), row["output"]
    s3.delete_object(Bucket=row["bucket"], Key=row["key"], VersionId=row["version_id"])
    s3.delete_object(Bucket=place["bucket"], Key=place["key"], VersionId=place["version_id"])
