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

from lumendrop_cli import cost, event_delivery, event_source, ledger, polling, statuses
from lumendrop_cli.errors import CliError, on_interrupt
from lumendrop_cli.ledger import Row
from lumendrop_cli.printer import Progress, printer
from lumendrop_cli.selection import DryRunOption, TimeoutOption
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.versions import delete_versions
from lumendrop_cli.workflow import running_executions

_WIDTH, _HEIGHT = 256, 192
_REPORT_SECONDS = 30
# The first bytes of the formats that the enhancer returns: JPEG, PNG, WebP, HEIC.
_IMAGES = ((0, b"\xff\xd8\xff"), (0, b"\x89PNG\r\n\x1a\n"), (8, b"WEBP"), (4, b"ftyp"))


def smoke(
    context: typer.Context,
    photo: Annotated[
        Path | None,
        typer.Argument(help="A photo of your own, instead of the built-in one.", exists=True, dir_okay=False),
    ] = None,
    timeout: TimeoutOption = 600,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="Delete both photos afterward, also after a failure. The ledger keeps the row."),
    ] = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
) -> None:
    """Upload a photo, wait until it is enhanced, and check the result. Pays for one task.

    A photo of your own costs nothing if the same photo is already enhanced: its result is reused.
    """
    body = _read(photo)
    stack, out = load_stack(context), printer(context)
    check_acceptable(stack, body)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}{_extension(photo)}"
    key = f"{stack.parameter('InputPrefix')}lumendrop-smoke/{name}"
    if dry_run:
        would = f"This would pay for {cost.describe(stack, 1)}."
        out.result({"key": key, "cost_usd": cost.cost_usd(stack, 1)}, [would])
        return
    if not yes:
        reused = photo and stack.parameters.get("SamePhoto") == "reuse"
        unless = ", or for nothing if the same photo is already enhanced" if reused else ""
        out.confirm(f"This pays for {cost.describe(stack, 1)}{unless}. Continue?")
    if event_delivery.seconds_until_reliable(stack):
        with out.progress("Waiting for EventBridge …") as progress:
            wait_for_events(stack, progress)
    began = time.monotonic()
    continues = (
        f"{key} is still being processed, may be paid for, and is not deleted. `lumendrop status {key}` shows it."
    )
    with on_interrupt(continues, {"key": key}), out.progress(f"Uploading {key} …") as progress:
        version_id = upload(stack, key, body)
        try:
            row = wait_for_result(stack, key, version_id, timeout, progress)
            check_result(stack, row)
        except CliError as error:
            if clean:
                _delete_objects(stack, key, version_id)
            raise CliError(str(error), error.code, {"key": key, "version_id": version_id, "cleaned": clean}) from None
        seconds = round(time.monotonic() - began, 1)
        if clean:
            _delete_objects(stack, key, version_id)
    uri = f"s3://{row['output']['bucket']}/{row['output']['key']}"
    data = {
        "key": key,
        "version_id": version_id,
        "photo": uri,
        "seconds": seconds,
        "task_id": row["task_id"],
        "same_as": row.get("same_as"),
        "cleaned": clean,
    }
    if data["same_as"]:
        summary = f"Reused in {seconds} seconds: the same photo is already enhanced, so the enhancer was not called."
        summary += " Nothing was paid. To test the enhancer, run `lumendrop smoke` without a file."
    else:
        summary = f"Enhanced in {seconds} seconds."
    deleted = " Both photos are deleted." if clean else ""
    out.result(data, [f"{summary} The result and its metadata are correct: {uri}{deleted}"])


def _read(photo: Path | None) -> bytes:
    body = photo.read_bytes() if photo else built_in_photo()
    if not body:
        raise typer.BadParameter("the photo is empty")
    return body


def check_acceptable(stack: Stack, body: bytes) -> None:
    """Raises CliError if the stack would never handle the photo, or not before it is resumed."""
    limit = stack.whole_number("MaxUploadBytes")
    if len(body) > limit:
        raise CliError(f"The photo has {len(body):,} bytes; this stack enhances at most {limit:,} (MaxUploadBytes).")
    if (state := event_source.state(stack)) in (event_source.DISABLED, "Disabling"):
        raise CliError(f"The event source is {state.lower()}, so the photo would wait. First run `lumendrop resume`.")


def wait_for_events(stack: Stack, progress: Progress) -> None:
    """Waits until EventBridge certainly receives the event of an upload."""
    while (seconds := event_delivery.seconds_until_reliable(stack)) > 0:
        progress(f"The stack is new: EventBridge needs about five minutes. Waiting for {seconds} more seconds …")
        time.sleep(polling.INTERVAL_SECONDS)


def wait_for_result(stack: Stack, key: str, version_id: str, timeout: int, progress: Progress) -> Row:
    """The row of the enhanced photo. Raises CliError if there is none after the timeout."""
    row = polling.poll_until(lambda: _finished_row(stack, key, version_id, progress), timeout)
    if row is None:
        raise CliError(
            f"{key} is not finished after {timeout} seconds, and is still being processed. `lumendrop doctor` shows "
            "what it waits for."
        )
    if row["status"] != statuses.ENHANCED:
        raise CliError(f"{key} ended as {row['status']}: {ledger.reason(row)}")
    return row


def _extension(photo: Path | None) -> str:
    """The key's extension. An unusual one is left out, because the key is printed and typed again."""
    extension = photo.suffix if photo else ".png"
    return extension if extension[1:].isascii() and extension[1:].isalnum() else ""


def built_in_photo() -> bytes:
    """A small PNG with a color gradient, and a random comment: otherwise, an earlier result would be reused."""
    # The first row runs from red to blue. Each further row is slightly greener than the one above (filter type 2).
    first = b"\0" + b"".join(bytes((x, 32, 255 - x)) for x in range(_WIDTH))
    rows = first + (b"\2" + bytes((0, 1, 0)) * _WIDTH) * (_HEIGHT - 1)
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    comment = b"Comment\0" + secrets.token_hex(16).encode()
    chunks = ((b"IHDR", header), (b"tEXt", comment), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def upload(stack: Stack, key: str, body: bytes, **more: str) -> str:
    """Puts the photo into the input bucket, with more arguments of PutObject, and returns its version ID."""
    bucket = stack.output("InputBucketName")
    version_id: str | None = stack.client("s3").put_object(Bucket=bucket, Key=key, Body=body, **more).get("VersionId")
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


def check_result(stack: Stack, row: Row) -> None:
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


def _delete_objects(stack: Stack, key: str, version_id: str) -> None:
    """Deletes the photo, its result, and its report, with every version. Only this upload has these keys."""
    row = ledger.row_of(stack, key, version_id)
    if row is not None and ledger.is_finished(row):  # its report may be written now
        polling.poll_until(lambda: not list(running_executions(stack, [row])) or None, _REPORT_SECONDS)
    target = stack.output("OutputBucketName")
    places = [(stack.output("InputBucketName"), key), (target, key), (target, f"errors/{key}")]
    for bucket, prefix in places:
        delete_versions(stack.client("s3"), bucket, prefix)
