"""Metadata items of HEIC and HEIF. Sources: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 annex A (EXIF, XMP)."""

from __future__ import annotations

from itertools import islice

import msgspec

from lumendrop.containers.heif import Box, Fields, boxes, extents, primary_item, properties
from lumendrop.containers.readers import Reader, exactly
from lumendrop.metadata.blocks import MOST_BLOCK_BYTES, Blocks, Kind, LeftOut, strip_exif_header

_XMP_TYPE = b"application/rdf+xml"
_MOST_EXTENTS = 50_000  # of all items together
_IN_FILE, _IN_ITEM_DATA = 0, 1


class _Place(msgspec.Struct, frozen=True):
    """Where the data of an item is: spans of the file, or of the item data box."""

    method: int
    spans: tuple[tuple[int, int], ...]


def read(reader: Reader) -> Blocks:
    """Raises Broken."""
    found = Blocks()
    meta = next((box for box in boxes(reader, 0, reader.size) if box.type == b"meta"), None)
    if meta is None:
        return found
    parts = {box.type: box for box in boxes(reader, meta.data_at + 4, meta.end)}
    if b"iinf" in parts and b"iloc" in parts:
        places = _places(reader, parts[b"iloc"])
        for item, kind in _items(reader, parts[b"iinf"]).items():
            if item in places:
                _add(found, reader, kind, places[item], parts.get(b"idat"))
    if b"pitm" in parts and b"iprp" in parts:
        found.quarter_turns = _quarter_turns(reader, parts[b"iprp"], primary_item(reader, parts[b"pitm"]))
    return found


def _items(reader: Reader, box: Box) -> dict[int, Kind]:
    """The items with EXIF or XMP."""
    version = exactly(reader, box.data_at, 1)[0]
    found: dict[int, Kind] = {}
    for entry in boxes(reader, box.data_at + (8 if version else 6), box.end):
        fields = Fields(reader, entry)
        version = fields.number(4) >> 24
        if entry.type != b"infe" or version < 2:
            continue
        item = fields.number(4 if version > 2 else 2)
        fields.number(2)  # protection
        kind = fields.number(4).to_bytes(4, "big")
        rest = exactly(reader, fields.at, entry.end - fields.at) if entry.end > fields.at else b""
        if kind == b"Exif":
            found[item] = "exif"
        elif kind == b"mime" and rest.split(b"\0")[1:2] == [_XMP_TYPE]:
            found[item] = "xmp"
    return found


def _places(reader: Reader, box: Box) -> dict[int, _Place]:
    spans: dict[int, list[tuple[int, int]]] = {}
    methods: dict[int, int] = {}
    for one in islice(extents(reader, box), _MOST_EXTENTS):
        if not one.is_external:
            methods[one.item] = one.method
            spans.setdefault(one.item, []).append((one.start, one.end))
    return {item: _Place(methods[item], tuple(found)) for item, found in spans.items()}


def _add(found: Blocks, reader: Reader, kind: Kind, place: _Place, item_data: Box | None) -> None:
    if not found.has_room(kind):
        return
    start = item_data.data_at if place.method == _IN_ITEM_DATA and item_data else 0
    size = sum(end - at for at, end in place.spans)
    if place.method not in (_IN_FILE, _IN_ITEM_DATA) or size > MOST_BLOCK_BYTES:
        found.left_out.append(LeftOut(kind, f"it has {size} bytes or is stored in an unusual way"))
        return
    data = b"".join(exactly(reader, start + at, end - at) for at, end in place.spans if end > at)
    if kind == "xmp":
        found.add("xmp", data)
    elif len(data) > 4:  # the offset of the TIFF header comes first
        found.add("exif", strip_exif_header(data[4 + int.from_bytes(data[:4], "big") :]))


def _quarter_turns(reader: Reader, box: Box, primary: int) -> int:
    """The rotation of the primary item, anticlockwise."""
    for one in properties(reader, box, primary):
        if one.type == b"irot":
            return exactly(reader, one.data_at, 1)[0] & 3
    return 0
