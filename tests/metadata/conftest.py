"""Delivered photos, made once for all tests of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.metadata import judges, table
from tests.metadata.judges import Tags

Delivered = dict[str, dict[str, Path]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("delivered")


@pytest.fixture(scope="session")
def delivered(folder: Path) -> Delivered:
    """The paths of the delivered photos by upload and extension."""
    return table.deliver_all(folder)


@pytest.fixture(scope="session")
def tags(folder: Path, delivered: Delivered) -> dict[Path, Tags]:
    """What exiftool reads in all uploads and delivered photos."""
    if judges.MISSING:
        pytest.skip(judges.REASON)  # see judges.MISSING
    photos = [path for ways in delivered.values() for path in ways.values()]
    return judges.read([*(folder / name for name in delivered), *photos])
