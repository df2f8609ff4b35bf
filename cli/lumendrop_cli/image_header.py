"""The format and the size of an image, from its first bytes. Nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HEAD_BYTES = 1 << 18  # the size of a JPEG follows its metadata

_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})  # such a file often names mif1, too
_NO_SIZE = frozenset({0xC4, 0xC8, 0xCC})  # the markers between SOF0 and SOF15 that are no frame header


@dataclass(frozen=True)
class Header:
    """A format that the enhancer accepts, as a content type, and the longer side in pixels; None if it is not found."""

    content_type: str
    longer_side: int | None


def read_header(head: bytes) -> Header | None:
    """The header of a JPEG, PNG, WebP, or HEIC image; None for anything else. `head` is at most HEAD_BYTES long."""
    if head[:3] == b"\xff\xd8\xff":
        return Header("image/jpeg", _longer(_jpeg_size(head)))
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return Header("image/png", _longer((_number(head, 16, 4), _number(head, 20, 4))))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Header("image/webp", _longer(_webp_size(head)))
    if head[4:8] == b"ftyp" and _HEIC_BRANDS & (brands := set(_brands(head))) and not _AVIF_BRANDS & brands:
        return Header("image/heic", _longer(_heic_size(head)))
    return None


def _longer(size: tuple[int, int] | None) -> int | None:
    return max(size) if size and min(size) > 0 else None


def _number(data: bytes, start: int, length: int, order: str = "big") -> int:
    return int.from_bytes(data[start : start + length], "big" if order == "big" else "little")


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            return _number(head, at + 7, 2), _number(head, at + 5, 2)
        else:
            at += 2 + _number(head, at + 2, 2)
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return _number(head, 24, 3, "little") + 1, _number(head, 27, 3, "little") + 1
    if kind == b"VP8L":
        bits = _number(head, 21, 4, "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _number(head, 26, 2, "little") & 0x3FFF, _number(head, 28, 2, "little") & 0x3FFF
    return None


def _brands(head: bytes) -> Iterator[bytes]:
    return (head[at : at + 4] for at in range(8, min(_number(head, 0, 4), len(head)), 4))


def _heic_size(head: bytes) -> tuple[int, int] | None:
    """The largest of the sizes in the file's properties; the others are those of tiles and of the thumbnail."""
    sizes, at = [], head.find(b"ispe")
    while at >= 0:
        sizes.append((_number(head, at + 8, 4), _number(head, at + 12, 4)))
        at = head.find(b"ispe", at + 4)
    return max(sizes, default=None)
