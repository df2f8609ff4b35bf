"""EXIF, IPTC-IIM, and PNG's texts as XMP, for files that have no place for them.

Sources: IPTC Photo Metadata Standard 2025.1 (IIM and XMP), CIPA DC-010 (EXIF in XMP), XMP Specification part 2.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from lumendrop.metadata import iptc
from lumendrop.metadata.exif import Exif, Field, Name
from lumendrop.metadata.xmp import (
    AUX,
    DC,
    EXIF,
    EXIF_EX,
    IPTC_CORE,
    PHOTOSHOP,
    TIFF,
    XMP,
    XMP_RIGHTS,
    Packet,
    cleaned,
    extend_list,
    set_list,
    set_text,
)

Kind = Literal["text", "Seq", "Bag", "Alt"]
Target = tuple[str, str, Kind]
"""Namespace and name of a property, and its kind."""

_IIM: dict[int, Target] = {
    5: (DC, "title", "Alt"),
    10: (PHOTOSHOP, "Urgency", "text"),
    15: (PHOTOSHOP, "Category", "text"),
    20: (PHOTOSHOP, "SupplementalCategories", "Bag"),
    25: (DC, "subject", "Bag"),
    40: (PHOTOSHOP, "Instructions", "text"),
    80: (DC, "creator", "Seq"),
    85: (PHOTOSHOP, "AuthorsPosition", "text"),
    90: (PHOTOSHOP, "City", "text"),
    92: (IPTC_CORE, "Location", "text"),
    95: (PHOTOSHOP, "State", "text"),
    100: (IPTC_CORE, "CountryCode", "text"),
    101: (PHOTOSHOP, "Country", "text"),
    103: (PHOTOSHOP, "TransmissionReference", "text"),
    105: (PHOTOSHOP, "Headline", "text"),
    110: (PHOTOSHOP, "Credit", "text"),
    115: (PHOTOSHOP, "Source", "text"),
    116: (DC, "rights", "Alt"),
    120: (DC, "description", "Alt"),
    122: (PHOTOSHOP, "CaptionWriter", "text"),
}
_IIM_BYTES = {  # the longest texts that IPTC-IIM allows
    **dict.fromkeys((20, 80, 85, 90, 92, 95, 103, 110, 115, 122), 32),
    **dict.fromkeys((5, 25, 101), 64),
    40: 256,
    105: 256,
    116: 128,
    120: 2000,
}
_CHARACTER_BYTES = 4  # of UTF-8: a cut leaves out the whole last character
_IIM_DATES: dict[tuple[int, int], Target] = {  # the numbers of a date and its time
    (55, 60): (PHOTOSHOP, "DateCreated", "text"),
    (62, 63): (XMP, "CreateDate", "text"),
}
_CREATION_TIME = "Creation Time"
_KEYWORDS: dict[str, Target] = {
    "Title": (DC, "title", "Alt"),
    "Author": (DC, "creator", "Seq"),
    "Description": (DC, "description", "Alt"),
    "Copyright": (DC, "rights", "Alt"),
    "Comment": (EXIF, "UserComment", "Alt"),
    "Software": (XMP, "CreatorTool", "text"),
    "Source": (DC, "source", "text"),
    "Disclaimer": (XMP_RIGHTS, "UsageTerms", "Alt"),
    "Warning": (PHOTOSHOP, "Instructions", "text"),
    "Copyrighted": (XMP_RIGHTS, "Marked", "text"),
    "Copyright URL": (XMP_RIGHTS, "WebStatement", "text"),
}
_TEXTS: tuple[tuple[Name, int, Target], ...] = (
    # XMP can have another description, author, and copyright; those of EXIF have properties of their own, too.
    ("image", 0x010E, (DC, "description", "Alt")),
    ("image", 0x010E, (TIFF, "ImageDescription", "Alt")),
    ("image", 0x013B, (DC, "creator", "Seq")),
    ("image", 0x013B, (TIFF, "Artist", "text")),
    ("image", 0x8298, (DC, "rights", "Alt")),
    ("image", 0x8298, (TIFF, "Copyright", "Alt")),
    ("image", 0x010F, (TIFF, "Make", "text")),
    ("image", 0x0110, (TIFF, "Model", "text")),
    ("image", 0x0131, (XMP, "CreatorTool", "text")),
    ("exif", 0xA430, (AUX, "OwnerName", "text")),
    ("exif", 0xA431, (EXIF_EX, "BodySerialNumber", "text")),
    ("exif", 0xA433, (EXIF_EX, "LensMake", "text")),
    ("exif", 0xA434, (EXIF_EX, "LensModel", "text")),
    ("exif", 0xA435, (EXIF_EX, "LensSerialNumber", "text")),
    ("exif", 0xA420, (EXIF, "ImageUniqueID", "text")),
    ("gps", 0x0009, (EXIF, "GPSStatus", "text")),
    ("gps", 0x000A, (EXIF, "GPSMeasureMode", "text")),
    ("gps", 0x000C, (EXIF, "GPSSpeedRef", "text")),
    ("gps", 0x000E, (EXIF, "GPSTrackRef", "text")),
    ("gps", 0x0010, (EXIF, "GPSImgDirectionRef", "text")),
    ("gps", 0x0012, (EXIF, "GPSMapDatum", "text")),
)
_USER_COMMENT = 0x9286
_COMMENT_ENCODINGS = {b"ASCII\0\0\0": "utf-8", b"UNICODE\0": "utf-16", b"\0" * 8: "utf-8"}
_NUMBERS: dict[tuple[Name, int], Target] = {
    ("image", 0x4746): (XMP, "Rating", "text"),
    ("exif", 0x829A): (EXIF, "ExposureTime", "text"),
    ("exif", 0x829D): (EXIF, "FNumber", "text"),
    ("exif", 0x8822): (EXIF, "ExposureProgram", "text"),
    ("exif", 0x8827): (EXIF, "ISOSpeedRatings", "Seq"),
    ("exif", 0x9201): (EXIF, "ShutterSpeedValue", "text"),
    ("exif", 0x9202): (EXIF, "ApertureValue", "text"),
    ("exif", 0x9203): (EXIF, "BrightnessValue", "text"),
    ("exif", 0x9204): (EXIF, "ExposureBiasValue", "text"),
    ("exif", 0x9205): (EXIF, "MaxApertureValue", "text"),
    ("exif", 0x9206): (EXIF, "SubjectDistance", "text"),
    ("exif", 0x9207): (EXIF, "MeteringMode", "text"),
    ("exif", 0x9208): (EXIF, "LightSource", "text"),
    ("exif", 0x920A): (EXIF, "FocalLength", "text"),
    ("exif", 0xA217): (EXIF, "SensingMethod", "text"),
    ("exif", 0xA401): (EXIF, "CustomRendered", "text"),
    ("exif", 0xA402): (EXIF, "ExposureMode", "text"),
    ("exif", 0xA403): (EXIF, "WhiteBalance", "text"),
    ("exif", 0xA404): (EXIF, "DigitalZoomRatio", "text"),
    ("exif", 0xA405): (EXIF, "FocalLengthIn35mmFilm", "text"),
    ("exif", 0xA406): (EXIF, "SceneCaptureType", "text"),
    ("exif", 0xA407): (EXIF, "GainControl", "text"),
    ("exif", 0xA408): (EXIF, "Contrast", "text"),
    ("exif", 0xA409): (EXIF, "Saturation", "text"),
    ("exif", 0xA40A): (EXIF, "Sharpness", "text"),
    ("exif", 0xA40C): (EXIF, "SubjectDistanceRange", "text"),
    ("exif", 0xA432): (EXIF_EX, "LensSpecification", "Seq"),
    ("gps", 0x0005): (EXIF, "GPSAltitudeRef", "text"),
    ("gps", 0x0006): (EXIF, "GPSAltitude", "text"),
    ("gps", 0x000B): (EXIF, "GPSDOP", "text"),
    ("gps", 0x000D): (EXIF, "GPSSpeed", "text"),
    ("gps", 0x000F): (EXIF, "GPSTrack", "text"),
    ("gps", 0x0011): (EXIF, "GPSImgDirection", "text"),
    ("gps", 0x001F): (EXIF, "GPSHPositioningError", "text"),
}
_DATES: dict[tuple[Name, int], tuple[str, str, int, int]] = {  # with the tags of fractions and time zone
    ("image", 0x0132): (XMP, "ModifyDate", 0x9290, 0x9010),
    ("exif", 0x9003): (EXIF, "DateTimeOriginal", 0x9291, 0x9011),
    ("exif", 0x9004): (XMP, "CreateDate", 0x9292, 0x9012),
}
_WINDOWS: dict[int, Target] = {
    0x9C9B: (DC, "title", "Alt"),
    0x9C9D: (DC, "creator", "Seq"),
    0x9C9E: (DC, "subject", "Bag"),
}
# What only describes the file or the block: resolution, orientation, color space, dimensions, versions, pointers.
_OF_THE_FILE: tuple[tuple[Name, int], ...] = (
    *(("image", tag) for tag in (0x0112, 0x011A, 0x011B, 0x0128, 0x8769, 0x8825)),
    *(("exif", tag) for tag in (0x9000, 0xA000, 0xA001, 0xA002, 0xA003)),
    ("gps", 0x0000),
)
_DESCRIBED = frozenset(
    [
        *((name, tag) for name, tag, _ in _TEXTS),
        *(*_NUMBERS, *_DATES, *_OF_THE_FILE, ("exif", _USER_COMMENT)),
        *(("exif", tag) for _, _, *parts in _DATES.values() for tag in parts),
        *(("image", tag) for tag in _WINDOWS),
        *(("gps", tag) for tag in (0x0001, 0x0002, 0x0003, 0x0004, 0x0007, 0x001D)),
    ]
)


def _add(packet: Packet, target: Target, texts: Iterable[str], most_bytes: int | None = None) -> bool:
    """Adds a property. If the packet has it already, only a list gets what it lacks.

    Returns whether the property has all of the texts now. One of `most_bytes` can have been cut short.
    """
    namespace, name, kind = target
    found = [text for text in map(cleaned, texts) if text]
    if not found:
        return True
    existing = packet.properties.get(f"{{{namespace}}}{name}")
    if existing is None and kind == "text":
        set_text(packet, namespace, name, found[0])
    elif existing is None:
        set_list(packet, namespace, name, kind, found[:1] if kind == "Alt" else found)
    elif kind in ("Bag", "Seq"):
        extend_list(existing, dict.fromkeys(_lacking(existing, found, most_bytes)))
    return not _lacking(packet.properties[f"{{{namespace}}}{name}"], found, most_bytes)


def _lacking(element: ET.Element, texts: list[str], most_bytes: int | None) -> list[str]:
    """The texts that a property does not have, not even in full length."""
    stated = sorted(text.strip() for text in element.itertext())
    return [text for text in texts if not _is_stated(text, stated, most_bytes)]


def _is_stated(text: str, stated: list[str], most_bytes: int | None) -> bool:
    """`stated` is sorted, so that the texts that begin with this one follow its place."""
    at = bisect_left(stated, text)
    if at == len(stated):
        return False
    is_cut = most_bytes is not None and len(text.encode()) > most_bytes - _CHARACTER_BYTES
    return stated[at].startswith(text) if is_cut else stated[at] == text


def add_iptc(packet: Packet, data: bytes) -> list[str]:
    """Returns the datasets that XMP has no property or another value for, as in `2:118`. Raises BrokenBlock."""
    texts = iptc.texts(data)
    added = {
        (2, number)
        for number, target in _IIM.items()
        if _add(packet, target, texts.get((2, number), []), _IIM_BYTES.get(number))
    }
    for (date, time), target in _IIM_DATES.items():
        moment = _moment(*(texts.get((2, number), [""])[0] for number in (date, time)))
        if moment and _add(packet, target, [moment]):
            added |= {(2, date), (2, time)}
    return [f"{record}:{number}" for record, number in sorted(texts.keys() - added) if any(texts[record, number])]


def _moment(date: str, time: str) -> str:
    """In ISO 8601, "" if there is no date."""
    if not (date.isdecimal() and len(date) == 8):
        return ""
    clock = f"T{time[:2]}:{time[2:4]}:{time[4:6]}" if time[:6].isdecimal() and len(time) >= 6 else ""
    zone = f"{time[6:9]}:{time[9:11]}" if clock and len(time) == 11 else ""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}{clock}{zone}"


def add_texts(packet: Packet, texts: dict[str, str]) -> list[str]:
    """Adds the texts that PNG defines keywords for, and those of Photoshop.

    Returns the keywords that XMP has no property or another text for.
    """
    added = {keyword for keyword, target in _KEYWORDS.items() if _add(packet, target, [texts.get(keyword, "")])}
    created = _iso(texts.get(_CREATION_TIME, ""))
    if created and _add(packet, (XMP, "CreateDate", "text"), [created]):
        added.add(_CREATION_TIME)
    return sorted(texts.keys() - added)


def _iso(text: str) -> str:
    """A time in ISO 8601, "" if it is in neither that nor the format of e-mails, which PNG recommends."""
    for read in (datetime.fromisoformat, parsedate_to_datetime, _exif_time):
        try:
            return read(text.strip("\0 ")).isoformat()
        except (ValueError, TypeError, IndexError):
            continue
    return ""


def _exif_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007  # EXIF states a local time


def add_exif(packet: Packet, exif: Exif) -> list[str]:
    """Adds dates, camera, lens, exposure, location, author, copyright, and texts.

    Returns the tags that XMP has no property or another text for, as in `0x9c9f` and `gps 0x0007`.
    """
    stated: set[tuple[Name, int]] = {(name, tag) for name, one in exif.directories.items() for tag in one.entries}
    lacking = stated - _DESCRIBED
    for name, tag, target in (*_TEXTS, ("exif", _USER_COMMENT, (EXIF, "UserComment", "Alt"))):
        if not _add_field(packet, exif, name, tag, target, _comment if tag == _USER_COMMENT else _texts):
            lacking.add((name, tag))
    for (name, tag), target in _NUMBERS.items():
        if not _add_field(packet, exif, name, tag, target, _numbers):
            lacking.add((name, tag))
    for (name, tag), (namespace, local, fraction, zone) in _DATES.items():
        moment = _iso(_first(exif, name, tag))
        digits, offset = _first(exif, "exif", fraction), _first(exif, "exif", zone)
        fractions = f".{digits}" if digits.isdecimal() else ""
        text = moment + fractions + (offset if ":" in offset else "")
        if not (moment and _add(packet, (namespace, local, "text"), [text])):
            lacking |= {(name, tag), ("exif", fraction), ("exif", zone)} & stated
    for tag, target in _WINDOWS.items():
        field = exif.directories["image"].entries.get(tag)
        if field:
            text = field.data.decode("utf-16-le", errors="replace").strip("\0 ")
            if not _add(packet, target, [text] if target[2] == "Alt" else text.split(";")):
                lacking.add(("image", tag))
    for tags, local, text in (
        ((0x0001, 0x0002), "GPSLatitude", _coordinate(exif, 0x0002)),
        ((0x0003, 0x0004), "GPSLongitude", _coordinate(exif, 0x0004)),
        ((0x0007, 0x001D), "GPSTimeStamp", _gps_time(exif)),
    ):
        if not (text and _add(packet, (EXIF, local, "text"), [text])):
            lacking |= {("gps", tag) for tag in tags} & stated
    return [f"{'gps ' if name == 'gps' else ''}0x{tag:04x}" for name, tag in sorted(lacking, key=lambda one: one[1])]


def _add_field(
    packet: Packet,
    exif: Exif,
    name: Name,
    tag: int,
    target: Target,
    read: Callable[[Exif, Field], list[str]],
) -> bool:
    """Whether the property has the value of the tag now, if there is one."""
    field = exif.directories[name].entries.get(tag)
    if field is None:
        return True
    found = read(exif, field)
    return bool(found) and _add(packet, target, found)


def _texts(_: Exif, field: Field) -> list[str]:
    return [_decoded(field.data.partition(b"\0")[0])]


def _decoded(data: bytes) -> str:
    """UTF-8 if the bytes allow it, otherwise Latin 1, as older writers assume."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _comment(exif: Exif, field: Field) -> list[str]:
    """A comment starts with the name of its encoding. In UTF-16, the byte order is the block's unless it is stated."""
    encoding = _COMMENT_ENCODINGS.get(field.data[:8])
    if encoding is None:
        return [] if field.data.strip(b"\0 ") else [""]
    data = field.data[8:]
    if encoding == "utf-16" and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16-le" if exif.order == "little" else "utf-16-be"
    return [(_decoded(data) if encoding == "utf-8" else data.decode(encoding, errors="replace")).strip("\0 ")]


def _first(exif: Exif, name: Name, tag: int) -> str:
    field = exif.directories[name].entries.get(tag)
    return _texts(exif, field)[0].strip() if field else ""


def _numbers(exif: Exif, field: Field) -> list[str]:
    """Numbers as text, fractions as in `1/250`."""
    size = {1: 1, 3: 2, 4: 4, 9: 4, 5: 4, 10: 4}.get(field.type)
    if size is None:
        return []
    signed = field.type in (9, 10)
    data = field.data
    found = [str(int.from_bytes(data[at : at + size], exif.order, signed=signed)) for at in range(0, len(data), size)]
    if field.type in (5, 10):
        return [f"{one}/{other}" for one, other in zip(found[::2], found[1::2], strict=False)]
    return found


def _gps_time(exif: Exif) -> str:
    """The date and time of the position in UTC, "" if one of them is not stated."""
    field, date = exif.directories["gps"].entries.get(0x0007), _first(exif, "gps", 0x001D).replace(":", "-")
    values = _numbers(exif, field) if field and field.type == 5 else []
    try:
        hours, minutes, seconds = (int(one) / int(other) for one, other in (value.split("/") for value in values))
        hundredths = int(seconds * 100) / 100  # rounded, 59.999 would be 60
        clock = f"{hours:02.0f}:{minutes:02.0f}:{hundredths:05.2f}".removesuffix(".00")
        return datetime.fromisoformat(f"{date}T{clock}Z").strftime(f"%Y-%m-%dT{clock}Z")
    except (ValueError, ZeroDivisionError):
        return ""


def _coordinate(exif: Exif, tag: int) -> str:
    """Degrees and minutes, as in `52,31.25N`, "" if they are not stated."""
    field, reference = exif.directories["gps"].entries.get(tag), _first(exif, "gps", tag - 1)
    values = _numbers(exif, field) if field and field.type == 5 else []
    if len(values) != 3 or reference not in ("N", "S", "E", "W"):
        return ""
    try:
        degrees, minutes, seconds = (int(one) / int(other) for one, other in (value.split("/") for value in values))
    except ZeroDivisionError:
        return ""
    total = degrees * 60 + minutes + seconds / 60
    return f"{int(total // 60)},{total % 60:.8f}{reference}"
