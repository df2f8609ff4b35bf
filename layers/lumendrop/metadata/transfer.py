"""Carries the metadata of an upload over to its enhanced photo: EXIF, XMP, and IPTC.

Blocks are moved between the parts of the two files. No image is decoded or encoded: the compressed image data of the
result stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from lumendrop.containers import FileReader, Image, Reader
from lumendrop.images import HEAD_BYTES, JPEG, PNG, detect
from lumendrop.metadata import heif, jpeg, png, webp, xmp
from lumendrop.metadata.blocks import Blocks, LeftOut
from lumendrop.metadata.combining import Combined, Wanted, combine, unmodifiable
from lumendrop.metadata.spliced import Piece, Range, Spliced

_READ: dict[str, Callable[[Reader], Blocks]] = {
    "jpeg": jpeg.read,
    "png": png.read,
    "webp": webp.read,
    "heic": heif.read,
}


class CarriedOver(msgspec.Struct, frozen=True):
    """The content to deliver, the names of the blocks that were carried over, and what was left out.

    `sidecar` is an XMP file with all metadata, for a result that is not modified. `swaps_sides` is whether the upload
    is shown with its width and height exchanged, None if that is unknown.
    """

    content: Spliced
    carried: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    sidecar: bytes | None = None
    swaps_sides: bool | None = None


def read(reader: Reader) -> Blocks:
    """The metadata of a file. Raises Broken."""
    format_ = detect(reader.read(0, min(HEAD_BYTES, reader.size)))
    return _READ[format_.name](reader) if format_ else Blocks()


def unchanged(path: Path, size: int) -> Spliced:
    """The content of a file as it is."""
    return Spliced(path, (Range(0, size),))


def carry_over(result: Spliced, image: Image, upload: Blocks, wanted: Wanted) -> CarriedOver:
    """The result with the metadata of its upload. Blocks that can't be read are left out. Raises Broken."""
    with result.open() as file:
        reader = FileReader(file, result.size)
        own = read(reader)
        why = unmodifiable(image, own)
        found = combine(upload, own, image, wanted, is_modified=why is None)
        if why:
            found.left_out.append(LeftOut("embedding", why))
        is_changed = bool(found.carried or wanted.model) or wanted.metadata == "no-location"
        pieces = _write(reader, image, found, wanted) if is_changed and not why else result.pieces
    return CarriedOver(
        Spliced(result.path, tuple(pieces)),
        tuple(dict.fromkeys(found.carried)),
        tuple(found.left_out),
        xmp.serialize(found.packet) if why and found.packet.properties else None,
        found.swaps_sides,
    )


def _write(reader: Reader, image: Image, found: Combined, wanted: Wanted) -> list[Piece]:
    if image.format is JPEG:
        return jpeg.write(reader, found.exif, found.packet, found.iptc)
    packet = xmp.serialize(found.packet) if found.packet.properties else b""
    if image.format is PNG:
        return png.write(reader, found.exif, packet, found.texts, location=wanted.metadata != "no-location")
    return webp.write(reader, image, found.exif, packet)
