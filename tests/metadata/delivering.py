"""Delivers results with the metadata of these files, without S3."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from lumendrop import containers, metadata
from lumendrop.containers import FileReader
from lumendrop.metadata import CarriedOver, Choice, Wanted
from tests.metadata.files import picture

MODEL = "phota-image-enhance"
RESULTS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@cache
def result(extension: str) -> bytes:
    """A result of the enhancer, without metadata."""
    return picture(RESULTS[extension], 96, 72)


def deliver(
    upload: bytes, result: bytes, folder: Path, choice: Choice = "keep", *, label: bool = True
) -> tuple[CarriedOver, bytes]:
    """What `deliver` makes of an upload and a result, and the bytes of the delivered photo."""
    source, download = folder / "upload", folder / "result"
    source.write_bytes(upload)
    download.write_bytes(result)
    with source.open("rb") as file:
        blocks = metadata.read(FileReader(file, len(upload)))
    with download.open("rb") as file:
        image = containers.examine(FileReader(file, len(result)))
    wanted = Wanted(choice, MODEL if label else None, NOW)
    found = metadata.carry_over(metadata.unchanged(download, len(result)), image, blocks, wanted)
    with found.content.open() as file:
        content = file.read()
    assert len(content) == found.content.size
    return found, content
