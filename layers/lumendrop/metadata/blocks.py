"""The metadata of one image file, as blocks of bytes, and what could not be carried over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

MOST_BLOCK_BYTES = 4 << 20
"""A larger block is left out. EXIF in a JPEG has at most 64 KiB; large XMP holds depth maps and copies of the image."""

_MOST_OTHERS = 4
_MOST_NAMES = 20
Kind = Literal["exif", "xmp", "iptc"]


class BrokenBlock(Exception):
    """A block can't be read; the text says why, for the owner of the photo."""


class LeftOut(msgspec.Struct, frozen=True):
    """What was not carried over, such as `exif`, and why, in one sentence without a full stop."""

    what: str
    why: str


class Blocks(msgspec.Struct):
    """The metadata of a file.

    `exif` is a TIFF structure, `xmp` a packet, `extended_xmp` the rest of a packet that exceeded one JPEG segment,
    `iptc` the datasets of IPTC-IIM. `others` are further blocks, for the case that the first of their kind can't be
    read. `texts` are those of PNG by keyword, `copyright` is what Photoshop states, by names of ours. `quarter_turns`
    is the rotation that a HEIF file states, anticlockwise. `is_signed` means Content Credentials (C2PA).
    """

    exif: bytes = b""
    xmp: bytes = b""
    extended_xmp: bytes = b""
    iptc: bytes = b""
    texts: dict[str, str] = {}
    copyright: dict[str, str] = {}
    others: dict[Kind, list[bytes]] = {}
    quarter_turns: int = 0
    has_icc: bool = False
    is_signed: bool = False
    left_out: list[LeftOut] = []

    def add(self, kind: Kind, data: bytes) -> None:
        """Adds a block, unless it is empty or a copy."""
        found = self.candidates(kind)
        if not found:
            setattr(self, kind, data)
        elif data and data not in found and self.has_room(kind):
            self.others.setdefault(kind, []).append(data)

    def has_room(self, kind: Kind) -> bool:
        """Whether another block is worth reading. A hostile file can have thousands."""
        return len(self.others.get(kind, ())) < _MOST_OTHERS

    def candidates(self, kind: Kind) -> list[bytes]:
        """The blocks of a kind, the one to use first."""
        return [one for one in (getattr(self, kind), *self.others.get(kind, ())) if one]


def listed(names: Iterable[str]) -> str:
    """Names in one text, of bounded length."""
    found = list(names)
    more = [f"{len(found) - _MOST_NAMES} more"] if len(found) > _MOST_NAMES else []
    return ", ".join(found[:_MOST_NAMES] + more)


def strip_exif_header(data: bytes) -> bytes:
    """The TIFF structure of an EXIF block, which JPEG, and some writers of other formats, put a header before."""
    return data[6:] if data[:5] == b"Exif\0" else data
