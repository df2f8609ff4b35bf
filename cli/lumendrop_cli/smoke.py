"""`lumendrop smoke`: drops a photo and follows it to the end."""

from __future__ import annotations

import secrets
import struct
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape

from lumendrop_cli import ledger
from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.status import WORDS
from lumendrop_cli.trouble import Trouble
from lumendrop_cli.waiting import until

_WIDTH, _HEIGHT = 256, 192
# The first bytes of what the enhancer may give: JPEG, PNG, WebP, HEIC.
_IMAGES = ((0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (8, b"WEBP"), (4, b"ftyp"))


def smoke(
    context: typer.Context,
    photo: Annotated[
        Path | None, typer.Argument(help="A photo of yours, instead of the built-in one.", exists=True, dir_okay=False)
    ] = None,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to wait for it.")] = 600,
    clean: Annotated[
        bool, typer.Option("--clean", help="Delete both photos afterwards; the ledger keeps its row.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Drop a photo, wait until it is enhanced, and check the result. Costs one task."""
    stack, out = find(context), output(context)
    body = photo.read_bytes() if photo else built_in()
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}{photo.suffix if photo else '.png'}"
    key = f"{stack.parameter('InputPrefix')}lumendrop-smoke/{name}"
    if not yes:
        out.confirm("This pays for one task. Go on?")
    began = time.monotonic()
    with out.working(f"Dropping {key} …") as say:
        source = stack.output("InputBucketName")
        version = stack.client("s3").put_object(Bucket=source, Key=key, Body=body).get("VersionId")
        if version is None:
            raise Trouble(f"The bucket {source} keeps no versions, so uploads are rejected. See `lumendrop doctor`.")
        row = until(lambda: _ended(stack, key, version, say), timeout)
    seconds = round(time.monotonic() - began, 1)
    if row is None:
        raise Trouble(
            f"{key} has not ended after {timeout} seconds, and goes on. `lumendrop doctor` says what it waits for."
        )
    if row["status"] != "enhanced":
        raise Trouble(f"{key} ended as {row['status']}: {row['outcome']['message']} {row['outcome']['advice']}")
    _check(stack, row)
    place = row["output"]
    if clean:
        stack.client("s3").delete_object(Bucket=source, Key=key, VersionId=version)
        stack.client("s3").delete_object(Bucket=place["bucket"], Key=place["key"], VersionId=place["version_id"])
    uri = f"s3://{place['bucket']}/{place['key']}"
    data = {
        "key": key,
        "version_id": version,
        "photo": uri,
        "seconds": seconds,
        "task_id": row["task_id"],
        "cleaned": clean,
    }
    done = " Both photos are deleted." if clean else ""
    out.result(data, [f"Enhanced in {seconds} seconds, result and metadata are right: {escape(uri)}{done}"])


def built_in() -> bytes:
    """A small PNG of colours that run into each other."""
    # The first row runs from red to blue; each further one is a little greener than the one above (filter type 2).
    first = b"\0" + b"".join(bytes((x, 32, 255 - x)) for x in range(_WIDTH))
    rows = first + (b"\2" + bytes((0, 1, 0)) * _WIDTH) * (_HEIGHT - 1)
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _ended(stack: Stack, key: str, version: str, say: Callable[[str], None]) -> Row | None:
    row = ledger.of_version(stack, key, version)
    if row is None:
        say(f"{key} is on its way to submit …")
        return None
    say(f"{key}: {WORDS.get(row['status'], row['status'])} …")
    return row if "finished_at" in row else None


def _check(stack: Stack, row: Row) -> None:
    """Raises Trouble if the result is not what its row says, or no image."""
    place, s3 = row["output"], stack.client("s3")
    found: dict[str, Any] = s3.get_object(Bucket=place["bucket"], Key=place["key"], Range="bytes=0-15")
    head, metadata = found["Body"].read(), found["Metadata"]
    expected = {
        "source-key": quote(row["key"]),
        "source-version-id": row["version_id"],
        "task-id": row["task_id"],
        "attempt": str(row["attempt"]),
    }
    wrong = [name for name, value in expected.items() if metadata.get(name) != value]
    if int(found["ContentRange"].rpartition("/")[2]) != place["bytes"]:
        wrong.append("the number of bytes")
    if not any(head[at : at + len(magic)] == magic for at, magic in _IMAGES):
        wrong.append("the first bytes, which are no image's")
    if wrong:
        raise Trouble(f"The result s3://{place['bucket']}/{place['key']} is not right: {', '.join(wrong)}.")
