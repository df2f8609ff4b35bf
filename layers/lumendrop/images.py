"""Image formats by their magic bytes. Nothing is decoded: a decoder adds attack surface and cold-start time."""

from __future__ import annotations

from typing import Literal

import msgspec

Name = Literal["jpeg", "png", "webp", "heic"]

HEAD_BYTES = 64
"""How many bytes from the start `detect` needs."""

_HEIC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"])
_HEIF_BRANDS = _HEIC_BRANDS | frozenset([b"mif1", b"mif2", b"mif3", b"miaf", b"msf1"])
_AVIF_BRANDS = frozenset([b"avif", b"avis"])
_OTHERS = (
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"BM", "a BMP image"),
)


class Format(msgspec.Struct, frozen=True):
    """An image format; the first of `extensions` (lower case, with the dot) is the usual one."""

    name: Name
    content_type: str
    extensions: tuple[str, ...]


JPEG = Format("jpeg", "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif"))
PNG = Format("png", "image/png", (".png",))
WEBP = Format("webp", "image/webp", (".webp",))
HEIC = Format("heic", "image/heic", (".heic", ".heif", ".hif"))
FORMATS = (JPEG, PNG, WEBP, HEIC)


def detect(head: bytes) -> Format | None:
    """The format of an image that starts with `head` (HEAD_BYTES of it), or None.

    Sources: ITU T.81 (JPEG), RFC 2083 (PNG), RFC 9649 (WebP), ISO/IEC 23008-12 (HEIF brands).
    """
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    return HEIC if _is_heif(head) else None


def describe(head: bytes) -> str | None:
    """What a file of another image format is, as in "a TIFF image", or None if `head` is not one of these formats."""
    if _brands(head) & _AVIF_BRANDS:
        return "an AVIF image"
    return next((name for magic, name in _OTHERS if head.startswith(magic)), None)


def _is_heif(head: bytes) -> bool:
    """AVIF shares HEIF's container and generic brands. Only its own brands distinguish it."""
    brands = _brands(head)
    return (head[8:12] in _HEIF_BRANDS or bool(brands & _HEIC_BRANDS)) and not brands & _AVIF_BRANDS


def _brands(head: bytes) -> set[bytes]:
    """The major and the compatible brands, and the minor version: a file of brand mif3 states its codec there."""
    if head[4:8] != b"ftyp":
        return set()
    box = head[: int.from_bytes(head[:4], "big")]
    return {box[at : at + 4] for at in range(8, len(box) - 3, 4)}
