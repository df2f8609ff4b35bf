"""Image formats by their magic bytes. Nothing is decoded: a decoder adds attack surface and cold-start time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

Name = Literal["jpeg", "png", "webp", "heic"]

HEAD_BYTES = 64
"""How many bytes from the start `detect` needs."""

_TAIL_BYTES = 65536
_HEIF_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"])


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


def _is_heif(head: bytes) -> bool:
    """AVIF shares HEIF's container and generic brands. Only its own brands distinguish it."""
    if head[4:8] != b"ftyp":
        return False
    box = head[: int.from_bytes(head[:4], "big")]
    brands = {box[8:12], *(box[at : at + 4] for at in range(16, len(box) - 3, 4))}
    return box[8:12] in _HEIF_BRANDS and not brands & {b"avif", b"avis"}


def is_complete(path: Path, format_: Format) -> bool:
    """Whether the file ends as its format requires. A truncated file does not."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    match format_.name:
        case "jpeg":  # some cameras and editors append bytes after the end-of-image marker
            return b"\xff\xd9" in tail
        case "png":
            return b"IEND\xaeB`\x82" in tail
        case "webp":
            return size >= int.from_bytes(head[4:8], "little") + 8
        case "heic":  # a sequence of boxes without an end marker
            return True
