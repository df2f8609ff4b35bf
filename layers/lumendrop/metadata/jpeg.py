"""Metadata segments of JPEG: APP1 (EXIF, XMP), APP13 (IPTC). Sources: CIPA DC-008, XMP Specification part 3."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

from lumendrop.containers.jpeg import SOS, Segment, segments
from lumendrop.containers.readers import Reader, exactly
from lumendrop.metadata import iptc, xmp
from lumendrop.metadata.blocks import MOST_BLOCK_BYTES, Blocks, BrokenBlock, LeftOut, strip_exif_header
from lumendrop.metadata.spliced import Piece, without

APP0, APP1, APP2, APP11, APP13 = 0xE0, 0xE1, 0xE2, 0xEB, 0xED
EXIF_HEADER = b"Exif\0\0"
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION_HEADER = b"http://ns.adobe.com/xmp/extension/\0"
_MOST_SEGMENT_BYTES = 65_533
MOST_EXIF_BYTES = _MOST_SEGMENT_BYTES - len(EXIF_HEADER)
_MOST_XMP_BYTES = _MOST_SEGMENT_BYTES - len(XMP_HEADER)
_MOST_EXTENSION_BYTES = _MOST_SEGMENT_BYTES - len(EXTENSION_HEADER) - 40
_HEADER_BYTES = 40
_MOST_PHOTOSHOP = MOST_BLOCK_BYTES // _MOST_SEGMENT_BYTES
_METADATA = (EXIF_HEADER[:5], XMP_HEADER, EXTENSION_HEADER)


def read(reader: Reader) -> Blocks:
    """The metadata before the first scan. Raises Broken."""
    found = Blocks()
    extension: dict[tuple[bytes, int], bytes] = {}
    photoshop: list[bytes] = []
    extension_bytes = 0
    for segment, head in _headers(reader):
        if segment.marker == APP1 and head.startswith(b"Exif\0") and found.has_room("exif"):
            found.add("exif", strip_exif_header(_data(reader, segment)))
        elif segment.marker == APP1 and head.startswith(XMP_HEADER) and found.has_room("xmp"):
            found.add("xmp", _data(reader, segment)[len(XMP_HEADER) :])
        elif segment.marker == APP1 and head.startswith(EXTENSION_HEADER):
            extension_bytes += segment.length
            if extension_bytes <= MOST_BLOCK_BYTES:
                data = _data(reader, segment)[len(EXTENSION_HEADER) :]
                extension.setdefault((data[:32], int.from_bytes(data[36:40], "big")), data)
        elif segment.marker == APP13 and head.startswith(iptc.PHOTOSHOP) and len(photoshop) < _MOST_PHOTOSHOP:
            photoshop.append(_data(reader, segment)[len(iptc.PHOTOSHOP) :])
        found.has_icc |= segment.marker == APP2 and head.startswith(b"ICC_PROFILE\0")
        found.is_signed |= segment.marker == APP11 and b"c2pa" in _data(reader, segment)[:64]
    _add_photoshop(found, photoshop)
    found.extended_xmp = next(filter(None, (_extension(one, extension) for one in found.candidates("xmp"))), b"")
    if extension and not found.extended_xmp:
        found.left_out.append(LeftOut("xmp extension", "a part of it is missing, or it is too large"))
    return found


def _add_photoshop(found: Blocks, parts: list[bytes]) -> None:
    """A block can have several segments. Behind a damage, another block can start with its segment."""
    try:
        iptc.read(found, b"".join(parts))
    except BrokenBlock as error:
        found.left_out.append(LeftOut("Photoshop resources", str(error)))
        for part in parts[1:]:
            with contextlib.suppress(BrokenBlock):
                iptc.read(found, part)


def _headers(reader: Reader) -> Iterator[tuple[Segment, bytes]]:
    """The segments before the first scan, and the first bytes of each."""
    for segment in segments(reader):
        if segment.marker == SOS:
            return
        yield segment, exactly(reader, segment.data_at, min(segment.length, _HEADER_BYTES)) if segment.length else b""


def _data(reader: Reader, segment: Segment) -> bytes:
    return exactly(reader, segment.data_at, segment.length) if segment.length else b""


def _extension(packet: bytes, parts: dict[tuple[bytes, int], bytes]) -> bytes:
    """The extension that the packet names, if all of it is here, otherwise b"". Each part has a header of 40 bytes."""
    named = [part for (guid, _), part in sorted(parts.items()) if guid in packet]
    data = b"".join(part[40:] for part in named)
    totals = {int.from_bytes(part[32:36], "big") for part in named}
    return data if totals == {len(data)} else b""


def write(reader: Reader, exif: bytes, packet: xmp.Packet, datasets: bytes) -> list[Piece]:
    """The file with these blocks instead of its own. They follow SOI and JFIF, which readers expect to be first."""
    drop, insert_at = [], 2
    for segment, head in _headers(reader):
        if segment.marker == APP0 and segment.at == insert_at and head.startswith((b"JFIF\0", b"JFXX\0")):
            insert_at = segment.end
        elif (segment.marker == APP1 and head.startswith(_METADATA)) or (
            segment.marker == APP13 and head.startswith(iptc.PHOTOSHOP)
        ):
            drop.append((segment.at, segment.end))
    inserted = b"".join(_segments(exif, packet, datasets))
    return [*without([], 0, insert_at), inserted, *without(drop, insert_at, reader.size)]


def _segments(exif: bytes, packet: xmp.Packet, datasets: bytes) -> Iterator[bytes]:
    if exif:
        yield _segment(APP1, EXIF_HEADER + exif)
    if packet.properties:
        yield from _xmp_segments(packet)
    if datasets:
        resource = iptc.as_resource(datasets)
        for at in range(0, len(resource), _MOST_SEGMENT_BYTES - len(iptc.PHOTOSHOP)):
            yield _segment(APP13, iptc.PHOTOSHOP + resource[at : at + _MOST_SEGMENT_BYTES - len(iptc.PHOTOSHOP)])


def _xmp_segments(packet: xmp.Packet) -> Iterator[bytes]:
    """One segment, or, if the packet is too large for it, its largest properties in an extension."""
    small, large = dict(packet.properties), {}
    main = xmp.serialize(packet)
    sizes: dict[str, int] = {}
    empty = len(xmp.serialize(packet, {}))
    while len(main) > _MOST_XMP_BYTES:
        sizes = sizes or {name: len(xmp.serialize(packet, {name: one})) for name, one in small.items()}
        wanted = len(main) - _MOST_XMP_BYTES
        for name in sorted(small, key=sizes.__getitem__, reverse=True):
            large[name] = small.pop(name)
            wanted -= sizes[name] - empty  # with the declaration of its namespace: rather too much, so a few may remain
            if wanted <= 0:
                break
        extension = xmp.serialize(packet, large)
        guid = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()
        named = xmp.Packet(dict(small), packet.prefixes)
        xmp.set_text(named, xmp.XMP_NOTE, "HasExtendedXMP", guid)
        main = xmp.serialize(named)
    yield _segment(APP1, XMP_HEADER + main)
    if large:
        total = len(extension).to_bytes(4, "big")
        for at in range(0, len(extension), _MOST_EXTENSION_BYTES):
            header = EXTENSION_HEADER + guid.encode() + total + at.to_bytes(4, "big")
            yield _segment(APP1, header + extension[at : at + _MOST_EXTENSION_BYTES])


def _segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data
