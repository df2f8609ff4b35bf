"""IPTC-IIM: datasets in a Photoshop resource. Sources: IPTC-NAA IIM 4.2, Adobe Photoshop File Formats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from lumendrop.metadata.blocks import Blocks, BrokenBlock
from lumendrop.metadata.places import is_coordinates

PHOTOSHOP = b"Photoshop 3.0\0"
_IPTC_RESOURCE, _COPYRIGHT_FLAG, _COPYRIGHT_URL = 0x0404, 0x040A, 0x040B
_UTF8 = b"\x1b%G"
_MARK = b"\x1c"
_RECORDS = frozenset([*range(1, 10), 240])
_CHARACTER_SET = (1, 90)
_VERSIONS = ((1, 0), (2, 0))
# City, sublocation, state, country code and name, code and name of the content's location.
_PLACES = (26, 27, 90, 92, 95, 100, 101)
_WITHOUT_LOCATION = frozenset(
    [*((1, number) for number in range(256)), *((2, number) for number in range(200) if number not in _PLACES)]
)
_OBJECT_PREVIEW = frozenset([(2, 200), (2, 201), (2, 202)])


class Dataset(msgspec.Struct, frozen=True):
    """`name` is the record and the number in it; `raw` is the dataset with its header."""

    name: tuple[int, int]
    data: bytes
    raw: bytes


def resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The resources of a Photoshop block and their numbers. Raises BrokenBlock where it is damaged."""
    at = 0
    while at + 12 <= len(data):
        if data[at : at + 4] not in (b"8BIM", b"PHUT", b"DCSR", b"AgHg", b"MeSa"):
            raise BrokenBlock("one is damaged")
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        name_bytes = data[at + 6] + 1
        size_at = at + 6 + name_bytes + name_bytes % 2
        size = int.from_bytes(data[size_at : size_at + 4], "big")
        at = size_at + 4 + size
        if at > len(data):
            raise BrokenBlock("one is cut short")
        yield number, data[size_at + 4 : at]
        at += size % 2


def read(blocks: Blocks, data: bytes) -> None:
    """Adds the datasets, and what Photoshop states about the copyright, to a file's blocks.

    Raises BrokenBlock where the resources are damaged, after it added those before.
    """
    for number, found in resources(data):
        if number == _IPTC_RESOURCE:
            blocks.add("iptc", found)
        elif number == _COPYRIGHT_FLAG and any(found):
            blocks.copyright["Copyrighted"] = "True"
        elif number == _COPYRIGHT_URL and found:
            blocks.copyright.setdefault("Copyright URL", found.decode("latin-1"))


def as_resource(datasets: bytes) -> bytes:
    """The Photoshop resource with these datasets."""
    size = len(datasets).to_bytes(4, "big")
    return b"8BIM" + _IPTC_RESOURCE.to_bytes(2, "big") + b"\0\0" + size + datasets + b"\0" * (len(datasets) % 2)


def datasets(data: bytes) -> Iterator[Dataset]:
    """Raises BrokenBlock."""
    at = 0
    while at < len(data) and data[at] == 0x1C:
        if at + 5 > len(data):
            raise BrokenBlock("a dataset is cut short")
        size, data_at = int.from_bytes(data[at + 3 : at + 5], "big"), at + 5
        if size & 0x8000:  # the number of bytes that state the size
            wide = size & 0x7FFF
            if not 1 <= wide <= 4:
                raise BrokenBlock("a dataset states no valid size")
            size, data_at = int.from_bytes(data[data_at : data_at + wide], "big"), data_at + wide
        end = data_at + size
        if end > len(data):
            raise BrokenBlock("a dataset is cut short")
        yield Dataset((data[at + 1], data[at + 2]), data[data_at:end], data[at:end])
        at = end
    if data[at:].strip(b"\0"):
        raise BrokenBlock("it has something else between datasets")


def undamaged(data: bytes) -> bytes:
    """The datasets before the first damage. One that holds the mark of datasets states a wrong size."""
    found = []
    with contextlib.suppress(BrokenBlock):
        for one in datasets(data):
            if _MARK in one.data:
                break
            found.append(one.raw)
    return b"".join(found)


def combine(upload: bytes, result: bytes, *, location: bool) -> bytes:
    """The upload's datasets, or else the result's, without previews.

    Unless locations are wanted, only what the standard defines is kept of the first two records, without the places.
    """
    found = (one for one in datasets(upload or result) if one.name[0] in _RECORDS and one.name not in _OBJECT_PREVIEW)
    return b"".join(one.raw for one in found if location or not _may_state_place(one))


def _may_state_place(one: Dataset) -> bool:
    """A text that holds the mark of datasets has swallowed another one."""
    return one.name not in _WITHOUT_LOCATION or _MARK in one.data or _is_coordinates(one)


def _is_coordinates(one: Dataset) -> bool:
    return is_coordinates(_text(one.data, is_utf8=False))


def has_coordinates(data: bytes) -> bool:
    """Whether one of the datasets is nothing but coordinates."""
    return any(map(_is_coordinates, datasets(undamaged(data))))


def texts(data: bytes) -> dict[tuple[int, int], list[str]]:
    """The texts by record and number, without what only describes the datasets."""
    found: dict[tuple[int, int], list[str]] = {}
    is_utf8 = False
    for one in datasets(data):
        if one.name == _CHARACTER_SET:
            is_utf8 = one.data == _UTF8
        elif one.name not in _VERSIONS:
            found.setdefault(one.name, []).append(_text(one.data, is_utf8=is_utf8))
    return found


def _text(data: bytes, *, is_utf8: bool) -> str:
    """Without a statement, UTF-8 is likely if the bytes allow it; otherwise Latin 1, as most writers assume."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="replace") if is_utf8 else data.decode("latin-1")
    return text.strip("\0 ")
