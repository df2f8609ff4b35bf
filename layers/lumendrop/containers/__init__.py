"""The structure of image files: segments, chunks, and boxes, walked by their lengths. Nothing is decoded.

`examine` checks that a JPEG, PNG, WebP, or HEIC/HEIF file is whole, and returns the dimensions that its header states.
A decoder would find more, but it adds an attack surface and slows down cold starts.
"""

from __future__ import annotations

from collections.abc import Callable

from lumendrop.containers import heif, jpeg, png, webp
from lumendrop.containers.image import Broken, Image, unsupported
from lumendrop.containers.readers import EndsReader, FileReader, Reader
from lumendrop.images import HEAD_BYTES, describe, detect

__all__ = ["MOST_PIXELS", "Broken", "EndsReader", "FileReader", "Image", "Reader", "examine"]

MOST_PIXELS = 1_000_000_000
"""An image with more pixels is refused: its header is wrong, or nothing can enhance it."""

_EXAMINE: dict[str, Callable[[Reader], Image]] = {
    "jpeg": jpeg.examine,
    "png": png.examine,
    "webp": webp.examine,
    "heic": heif.examine,
}


def examine(reader: Reader) -> Image:
    """Walks the parts of a file from its start to the end of its image. Bytes after the image are allowed.

    With an EndsReader, a file counts as whole unless the bytes that were read rule that out. Raises Broken.
    """
    head = reader.read(0, min(HEAD_BYTES, reader.size))
    format_ = detect(head)
    if format_ is None:
        raise _unknown(head)
    image = _EXAMINE[format_.name](reader)
    if image.width and image.height and image.width * image.height > MOST_PIXELS:
        raise Broken("too_many_pixels", f"The file states {image.pixels} pixels. The most is {MOST_PIXELS} in total.")
    return image


def _unknown(head: bytes) -> Broken:
    if other := describe(head):
        return unsupported(other)
    text = "The file's first bytes are not those of a JPEG, PNG, WebP or HEIC image, whatever its name says."
    return Broken("not_an_image", text)
