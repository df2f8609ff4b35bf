"""EXIF: a TIFF structure of directories. Source: CIPA DC-008-2023 (Exif 3.0), TIFF 6.0.

The upload's block is edited where it is: values keep their offsets, so that maker notes, whose formats are secret and
full of offsets, stay valid. New values are appended. If that is not possible, the block is written anew without them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from lumendrop.metadata.blocks import BrokenBlock, LeftOut, listed
from lumendrop.metadata.places import is_coordinates

Order = Literal["little", "big"]
Name = Literal["image", "exif", "gps"]

ORIENTATION = 0x0112
EXIF_POINTER, GPS_POINTER = 0x8769, 0x8825
COLOR_SPACE, PIXEL_WIDTH, PIXEL_HEIGHT = 0xA001, 0xA002, 0xA003
MAKER_NOTE = 0x927C
ASCII, SHORT, LONG, IFD, UTF8 = 2, 3, 4, 13, 129

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, IFD: 4, UTF8: 1}
_UNITS = _SIZES | {5: 4, 10: 4}  # what the byte order applies to: a fraction is two numbers
_MAY_BE_TEXT = (1, ASCII, 7)  # Windows stores texts as bytes, and comments have no type
_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
_MOST_ENTRIES = 1000
_POINTERS: dict[Name, dict[int, Name]] = {"image": {EXIF_POINTER: "exif", GPS_POINTER: "gps"}, "exif": {}, "gps": {}}

# Resolution: where both files state it, the result's is right.
_TECHNICAL = frozenset([ORIENTATION, 0x011A, 0x011B, 0x0128])
_DIMENSIONS = [*range(0x00FE, 0x0107), 0x0115, 0x011C, PIXEL_WIDTH, PIXEL_HEIGHT, ORIENTATION]
_STRIPS_AND_TILES = [0x0111, 0x0116, 0x0117, 0x0120, 0x0121, 0x013D, *range(0x0142, 0x0146), 0x0152, 0x0153]
_SUB_IMAGES = [0x014A, *range(0x0200, 0x020A)]
_COLORS = [0x012D, 0x013E, 0x013F, *range(0x0211, 0x0215), 0x0301, 0x9101, 0x9102, COLOR_SPACE, 0xA005, 0xA500]
_PLACES_IN_THE_PICTURE = [0x9214, 0xA214, 0xA20E, 0xA20F, 0xA210]  # and the density of the sensor's pixels
_OTHER_BLOCKS = [0x02BC, 0x83BB, 0x8649, 0x8773, 0xA004, 0xEA1C, 0xEA1D]  # XMP, IPTC, Photoshop, ICC, sound, padding
_OF_OLD_PIXELS = frozenset(
    [*_DIMENSIONS, *_STRIPS_AND_TILES, *_SUB_IMAGES, *_COLORS, *_PLACES_IN_THE_PICTURE, *_OTHER_BLOCKS]
)


# What Exif, TIFF, and Windows define besides the location. Others, as those of GeoTIFF and DNG, can hold anything.
_WITHOUT_LOCATION = frozenset(
    [
        *(*range(0x00FE, 0x0240), 0x4746, 0x4749, 0x8298, 0x829A, 0x829D, 0x8822, 0x8824, *range(0x8827, 0x8836)),
        *(*range(0x9000, 0x9500), *range(0x9C9B, 0x9CA0), *range(0xA000, 0xA500)),
    ]
) - {MAKER_NOTE}


class Field(msgspec.Struct, frozen=True):
    """One value: `data` in the block's byte order. `at` is its offset if it is stored outside of its directory."""

    tag: int
    type: int
    data: bytes
    at: int | None = None

    @property
    def count(self) -> int:
        return len(self.data) // _SIZES[self.type]


class Directory(msgspec.Struct):
    """`at` and `room` say where it is and how many entries fit there. Both are 0 if it is new."""

    entries: dict[int, Field] = {}
    at: int = 0
    room: int = 0


class Exif(msgspec.Struct):
    """A block that was read. `others` are the spans of what is dropped in any case: the thumbnail and its directory.

    `left_out` is what could not be read.
    """

    order: Order
    data: bytes
    directories: dict[Name, Directory]
    others: list[tuple[int, int]] = []
    left_out: list[LeftOut] = []

    def number(self, directory: Name, tag: int) -> int | None:
        """The first number of a value, or None."""
        entry = self.directories[directory].entries.get(tag)
        if entry is None or entry.type not in (SHORT, LONG, IFD) or not entry.data:
            return None
        return int.from_bytes(entry.data[: _SIZES[entry.type]], self.order)


class Changes(msgspec.Struct, frozen=True):
    """What the result requires: its width, height, and orientation, whether it has a color profile, and the room."""

    width: int | None
    height: int | None
    has_icc: bool
    most_bytes: int
    location: bool = True


def parse(data: bytes) -> Exif:
    """Entries that can't be right, such as values beyond the end, are left out. Raises BrokenBlock."""
    orders: dict[bytes, Order] = {b"II": "little", b"MM": "big"}
    order = orders.get(data[:2])
    if order is None or len(data) < 8 or int.from_bytes(data[2:4], order) != 42:
        raise BrokenBlock("its header is damaged")
    found = Exif(order, data, {"image": Directory(), "exif": Directory(), "gps": Directory()})
    next_at = _read_directory(found, "image", int.from_bytes(data[4:8], order))
    if not found.directories["image"].entries:
        raise BrokenBlock("its directory is damaged")
    for tag, name in _POINTERS["image"].items():
        at = found.number("image", tag)
        if at:
            _read_directory(found, name, at)
    _name_damages(found)
    _read_thumbnail(found, next_at)
    return found


def _read_directory(exif: Exif, name: Name, at: int) -> int:
    """Reads the entries of a directory and returns the offset of the next one, 0 if there is none."""
    entries, room, next_at = _entries(exif, at)
    if any(at == other.at for other in exif.directories.values()):
        return 0  # a pointer to a directory that was read already
    exif.directories[name] = Directory(entries, at, room)
    return next_at


def _name_damages(exif: Exif) -> None:
    damaged: list[int] = []
    for name, one in exif.directories.items():
        damaged += [tag for tag in _stated_tags(exif, one) - _OF_OLD_PIXELS if tag not in one.entries]
        damaged += [tag for tag, to in _POINTERS[name].items() if tag in one.entries and not exif.directories[to].room]
        if int.from_bytes(exif.data[one.at : one.at + 2], exif.order) > one.room > 0:
            exif.left_out.append(LeftOut("exif", "a directory is cut short"))
    if damaged:
        named = listed(f"0x{tag:04x}" for tag in sorted(damaged))
        exif.left_out.append(LeftOut("exif", f"the values of tags {named} are damaged"))


def _stated_tags(exif: Exif, one: Directory) -> set[int]:
    """The tags in a directory that state that they have values."""
    table = [exif.data[at : at + 12] for at in range(one.at + 2, one.at + 2 + 12 * one.room, 12)]
    return {int.from_bytes(entry[:2], exif.order) for entry in table if any(entry[4:8])}


def _entries(exif: Exif, at: int) -> tuple[dict[int, Field], int, int]:
    data, order = exif.data, exif.order
    if not 8 <= at <= len(data) - 2:
        return {}, 0, 0
    room = min(int.from_bytes(data[at : at + 2], order), (len(data) - at - 2) // 12)
    if room > _MOST_ENTRIES:
        return {}, 0, 0
    found: dict[int, Field] = {}
    for start in range(at + 2, at + 2 + 12 * room, 12):
        entry = _entry(exif, start)
        if entry and entry.tag not in found:
            found[entry.tag] = entry
    end = at + 2 + 12 * room
    return found, room, int.from_bytes(data[end : end + 4], order) if end + 4 <= len(data) else 0


def _entry(exif: Exif, start: int) -> Field | None:
    data, order = exif.data, exif.order
    tag, kind = (int.from_bytes(data[at : at + 2], order) for at in (start, start + 2))
    count, offset = (int.from_bytes(data[at : at + 4], order) for at in (start + 4, start + 8))
    size = _SIZES.get(kind, 0) * count
    kind = ASCII if kind == UTF8 else kind  # which older readers don't know
    if not size:
        return None
    if size <= 4:
        return Field(tag, kind, data[start + 8 : start + 8 + size])
    if offset < 8 or offset + size > len(data):
        return None
    return Field(tag, kind, data[offset : offset + size], offset)


def _read_thumbnail(exif: Exif, at: int) -> None:
    """Marks the directory after the image's, and the thumbnail that it points to."""
    if not at:
        return
    entries, room, _ = _entries(exif, at)
    exif.others.append((at, min(at + 6 + 12 * room, len(exif.data))))
    exif.others += [(one.at, one.at + len(one.data)) for one in entries.values() if one.at]
    numbers = [entries[tag] for tag in (0x0201, 0x0202) if tag in entries and entries[tag].type in (LONG, IFD)]
    if len(numbers) == 2:
        start, size = (int.from_bytes(one.data[:4], exif.order) for one in numbers)
        exif.others.append((min(start, len(exif.data)), min(start + size, len(exif.data))))


def combine(upload: Exif | None, result: Exif | None, changes: Changes) -> tuple[bytes, list[LeftOut]]:
    """The block for the delivered photo: descriptive tags of the upload, technical tags of the result.

    Returns b"" if neither has any. The second value is what was left out.
    """
    base = upload or result
    if base is None:
        return b"", []
    wanted = _merge(base, upload, result, changes)
    left_out = list(upload.left_out) if upload else []
    if not changes.location:
        wanted, unwanted = _without_location(wanted)
        left_out += unwanted
    elif not _overlaps(base, wanted):
        block = _edit(base, wanted)
        if len(block) <= changes.most_bytes:
            return block, left_out
    if wanted["exif"].pop(MAKER_NOTE, None):
        left_out.append(LeftOut("maker notes", "they would not stay valid where they fit"))
    return _shrink(base.order, wanted, changes.most_bytes, left_out), left_out


Wanted = dict[Name, dict[int, Field]]


def _without_location(wanted: Wanted) -> tuple[Wanted, list[LeftOut]]:
    """The tags that are known to hold no place, without texts that are coordinates, and what has to be named."""
    kept: Wanted = {"image": {}, "exif": {}, "gps": {}}
    texts: list[int] = []
    for name, entries in wanted.items():
        for tag, one in entries.items():
            if _is_coordinates(one):
                texts.append(tag)
            elif name != "gps" and tag in _WITHOUT_LOCATION:
                kept[name][tag] = one
    left_out = [LeftOut(f"exif tag 0x{tag:04x}", "no-location leaves out coordinates") for tag in sorted(texts)]
    if MAKER_NOTE in wanted["exif"]:
        left_out.insert(0, LeftOut("maker notes", "some makers repeat the location in them"))
    return kept, left_out


def _is_coordinates(one: Field) -> bool:
    """In any encoding that a text may have, after the name of its encoding, which comments have."""
    if one.type not in _MAY_BE_TEXT:
        return False
    data = one.data[8:] if one.data.startswith((b"ASCII\0", b"UNICODE\0", b"JIS\0")) else one.data
    return any(is_coordinates(data.decode(encoding, errors="replace")) for encoding in _ENCODINGS)


def _movable(entries: Mapping[int, Field], dropped: Collection[int]) -> dict[int, Field]:
    """A directory that is not known would not stay where its pointer says."""
    return {tag: one for tag, one in entries.items() if tag not in dropped and one.type != IFD}


def _merge(base: Exif, upload: Exif | None, result: Exif | None, changes: Changes) -> Wanted:
    wanted: Wanted = {"image": {}, "exif": {}, "gps": {}}
    for name, entries in wanted.items():
        dropped = _OF_OLD_PIXELS | _POINTERS[name].keys()
        if upload:
            old = upload.directories[name].entries
            entries.update(_movable(old, dropped))
        if result:
            new = _movable(result.directories[name].entries, dropped | {MAKER_NOTE})
            entries.update(
                {
                    tag: _converted(one, result, base)
                    for tag, one in new.items()
                    if tag in _TECHNICAL or tag not in entries
                }
            )
    if result is base:
        wanted["exif"] |= {tag: one for tag, one in result.directories["exif"].entries.items() if tag == MAKER_NOTE}
    orientation = (result.number("image", ORIENTATION) if result else None) or 1
    wanted["image"][ORIENTATION] = _short(ORIENTATION, orientation if 1 <= orientation <= 8 else 1, base.order)
    stated = result.number("exif", COLOR_SPACE) if result else None
    wanted["exif"][COLOR_SPACE] = _short(COLOR_SPACE, stated or (0xFFFF if changes.has_icc else 1), base.order)
    for tag, number in ((PIXEL_WIDTH, changes.width), (PIXEL_HEIGHT, changes.height)):
        if number:
            wanted["exif"][tag] = Field(tag, LONG, number.to_bytes(4, base.order))
    return wanted


def _short(tag: int, number: int, order: Order) -> Field:
    return Field(tag, SHORT, number.to_bytes(2, order))


def _converted(entry: Field, of: Exif, to: Exif) -> Field:
    """The entry of another block, in the byte order of this one. It has no place in it yet, unless it is its own."""
    if of is to:
        return entry
    unit = _UNITS[entry.type]
    data = entry.data
    if of.order != to.order and unit > 1:
        data = b"".join(data[at : at + unit][::-1] for at in range(0, len(data), unit))
    return Field(entry.tag, entry.type, data)


def _overlaps(base: Exif, wanted: Wanted) -> bool:
    """Whether directories share bytes with what is kept, as in a damaged block. Editing one would change the other."""
    tables = sorted([(0, 8), *_tables(base)])
    if any(start < end for (_, end), (start, _) in itertools.pairwise(tables)):
        return True
    return any(_intersects(one, table) for one in _kept(wanted) for table in tables)


def _tables(exif: Exif) -> list[tuple[int, int]]:
    """The spans of the directories, without the offset of the next one, which some writers leave out."""
    return [(one.at, one.at + 2 + 12 * one.room) for one in exif.directories.values() if one.room]


def _kept(wanted: Wanted) -> list[tuple[int, int]]:
    return [(one.at, one.at + len(one.data)) for entries in wanted.values() for one in entries.values() if one.at]


def _intersects(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _edit(base: Exif, wanted: Wanted) -> bytes:
    """The block with the wanted entries at the offsets that they have. What is dropped is overwritten with zeros."""
    kept, tables = _kept(wanted), _tables(base)
    values = [(one.at, one.at + len(one.data)) for one in _all(base) if one.at]
    dropped = [*base.others, *(one for one in values if one not in kept)]
    block = bytearray(base.data[: _trimmed(len(base.data), dropped, [(0, 8), *kept, *tables])])
    for first, last in [*dropped, *tables]:
        block[first:last] = bytes(max(0, min(last, len(block)) - first))
    for first, last in kept:
        block[first:last] = base.data[first:last]
    places = {}
    for name, one in base.directories.items():
        next_at = one.at + 2 + 12 * one.room
        is_free = not any(_intersects((next_at, next_at + 4), span) for span in [*kept, *tables])
        places[name] = (one.at, one.room if is_free else 0)
    return _write(block, base.order, wanted, places)


def _trimmed(end: int, dropped: list[tuple[int, int]], kept: list[tuple[int, int]]) -> int:
    """The end without what is dropped there, as a thumbnail. Maker notes can point to bytes that nothing lists."""
    least = max(last for _, last in kept)
    while end > least:
        starts = [first for first, last in dropped if first < end <= last]
        if not starts:
            break
        end = max(least, min(starts))
    return end


def _all(exif: Exif) -> Iterator[Field]:
    for directory in exif.directories.values():
        yield from directory.entries.values()


def _shrink(order: Order, wanted: Wanted, most_bytes: int, left_out: list[LeftOut]) -> bytes:
    """The block written anew. While it is too large, its largest value is left out."""
    fresh: Wanted = {
        name: {tag: Field(tag, one.type, one.data) for tag, one in entries.items()} for name, entries in wanted.items()
    }
    while True:
        block = _write(bytearray(8), order, fresh, {})
        if len(block) <= most_bytes:
            return block
        name, tag = max(
            ((name, tag) for name in fresh for tag in fresh[name]), key=lambda at: len(fresh[at[0]][at[1]].data)
        )
        left_out.append(
            LeftOut(f"exif tag 0x{tag:04x}", f"it has {len(fresh[name].pop(tag).data)} bytes, which do not fit")
        )


def _write(block: bytearray, order: Order, wanted: Wanted, places: dict[Any, tuple[int, int]]) -> bytes:
    """Adds the directories, and the values that have no place yet, to a block. Returns it."""
    block[:4] = (b"II" if order == "little" else b"MM") + (42).to_bytes(2, order)
    image = dict(wanted["image"])
    for tag, name in ((EXIF_POINTER, "exif"), (GPS_POINTER, "gps")):
        entries = wanted[name]  # type: ignore[index]  # the two names are those of directories
        if entries:
            at = _write_directory(block, order, entries.values(), places.get(name, (0, 0)))
            image[tag] = Field(tag, LONG, at.to_bytes(4, order))
    at = _write_directory(block, order, image.values(), places.get("image", (0, 0)))
    block[4:8] = at.to_bytes(4, order)
    return bytes(block)


def _write_directory(block: bytearray, order: Order, entries: Iterable[Field], place: tuple[int, int]) -> int:
    """Writes a directory at its place if its entries fit there, otherwise at the end. Returns its offset."""
    found = sorted(entries, key=lambda one: one.tag)
    at, room = place
    if len(found) > room:
        at = _append(block, bytes(6 + 12 * len(found)))
    table = len(found).to_bytes(2, order)
    for one in found:
        if len(one.data) <= 4:
            value = one.data.ljust(4, b"\0")
        else:
            value = (one.at or _append(block, one.data)).to_bytes(4, order)
        table += one.tag.to_bytes(2, order) + one.type.to_bytes(2, order) + one.count.to_bytes(4, order) + value
    block[at : at + len(table) + 4] = table + bytes(4)
    return at


def _append(block: bytearray, data: bytes) -> int:
    """Adds data at the end, at an even offset, which it returns."""
    if len(block) % 2:
        block.append(0)
    block += data
    return len(block) - len(data)
