"""exiftool and exiv2, which judge what was delivered. Debian: apt-get install libimage-exiftool-perl exiv2."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

TOOLS = {"exiftool": "libimage-exiftool-perl", "exiv2": "exiv2"}
# The judges are no Python packages, so `make test` can't install them. CI does; elsewhere, tests say what to install.
MISSING = {tool: package for tool, package in TOOLS.items() if shutil.which(tool) is None}
REASON = f"not installed: {', '.join(MISSING)}. On Debian: apt-get install {' '.join(MISSING.values())}"
NEEDED = pytest.mark.skipif(bool(MISSING), reason=REASON)
"""For tests that ask the judges."""

Tags = dict[str, Any]
"""Values by group and name, as in `ExifIFD:LensModel`."""

# Roles: what people and photo libraries use. A value may move to another tag of its role.
ROLES = {
    "date": "DateTimeOriginal CreateDate ModifyDate DateCreated TimeCreated CreationTime OffsetTimeOriginal "
    "SubSecTimeOriginal",
    "GPS": "GPSLatitude GPSLongitude GPSAltitude GPSLatitudeRef GPSLongitudeRef GPSAltitudeRef",
    "camera": "Make Model SerialNumber",
    "lens": "LensModel LensInfo Lens LensType LensSerialNumber LensSpec",
    "exposure": "ExposureTime FNumber ISO FocalLength",
    "author": "Artist Creator By-line By-lineTitle AuthorsPosition Author",
    "copyright": "Copyright CopyrightNotice Rights CopyrightFlag Marked URL WebStatement",
    "title": "Title ObjectName Headline",
    "caption": "ImageDescription Description Caption-Abstract UserComment Comment Writer-Editor CaptionWriter",
    "keywords": "Keywords Subject HierarchicalSubject SupplementalCategories",
    "rating": "Rating",
}
# The names of IPTC-IIM for properties of XMP.
IIM = {
    "SpecialInstructions": "Instructions",
    "Sub-location": "Location",
    "Province-State": "State",
    "Country-PrimaryLocationCode": "CountryCode",
    "Country-PrimaryLocationName": "Country",
    "OriginalTransmissionReference": "TransmissionReference",
}
ROLE_OF = IIM | {name: role for role, names in ROLES.items() for name in names.split()}
# What describes the file, or is computed.
_NOT_METADATA = re.compile(
    r"^(SourceFile|ExifTool|File|System|Composite|JFIF|QuickTime|Meta|RIFF|MPF\d|MPImage\d|XMP-x|PNG:(Image|Bit|Color|Compr"
    r"|Filter|Inter)|Adobe|ICC)"
)
# What is dropped on purpose.
_DROPPED = re.compile(
    r"^IFD1:|^InteropIFD:|:(YCbCrPositioning|ComponentsConfiguration|HasExtendedXMP|About|IPTCDigest|Thumbnail\w*)$"
    r"|^XMP-(hdrgm|GContainer|GCamera|mwg-rs|Container|Item)|^Photoshop:|^GContainer"
    r"|^IPTC:(CodedCharacterSet|ApplicationRecordVersion)$"
)
_REPLACED = re.compile(
    r":(Orientation|(Exif|Related)?ImageWidth|(Exif)?ImageHeight|ImageLength|ColorSpace|PixelXDimension)$"
)


def read(paths: Iterable[Path]) -> dict[Path, Tags]:
    """What exiftool reads."""
    command = ["exiftool", "-json", "-G1", "-n", "-struct", "-charset", "iptc=Latin", "-charset", "exif=UTF8"]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, check=False, timeout=120)
    return {Path(one["SourceFile"]): _flat(one) for one in json.loads(done.stdout)}


def _flat(tags: Tags) -> Tags:
    """The tags, with a language of a text as a tag of the same name."""
    found: Tags = {}
    for name, value in tags.items():
        plain = re.sub(r"(Title|Description|Rights)-[a-z]{2}(-[A-Z]{2})?$", r"\1", name)
        found[plain] = [found[plain], value] if plain in found else value
    return found


def problems(tags: Tags) -> list[str]:
    """What exiftool calls wrong about a file."""
    return [f"{name}: {text}" for name, text in tags.items() if re.match(r"ExifTool:(Error|Warning)", name)]


def exiv2_problems(paths: Iterable[Path]) -> str:
    """What exiv2 prints as errors when it reads all metadata."""
    command = ["exiv2", "-q", "-pa", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    lines = done.stderr.decode(errors="replace").splitlines()
    return "\n".join(one for one in lines if one.startswith("Error"))


def compare(before: Tags, after: Tags) -> dict[str, list[str]]:
    """The upload's tags: `carried`, `dropped` on purpose, or `lost`."""
    found: dict[str, list[str]] = {"carried": [], "dropped": [], "lost": []}
    values = {_role(name): set() for name in after}
    for name, value in after.items():
        values[_role(name)] |= _values(value)
    for name, value in before.items():
        if _NOT_METADATA.match(name) or problems({name: value}):
            continue
        role = _role(name)
        if _values(value) <= values.get(role, set()) or _is_within(_values(value), values.get(role, set()), role):
            found["carried"].append(name)
        elif _DROPPED.search(name) or _REPLACED.search(name) or _is_replaced_text(name, before, after):
            found["dropped"].append(name)
        else:
            found["lost"].append(name)
    return found


def _role(name: str) -> str:
    local = name.rpartition(":")[2]
    return ROLE_OF.get(local, local)


def _values(value: Any) -> set[str]:
    """The values of a tag as text. Numbers are rounded, because fractions and decimals differ in their last digits."""
    if isinstance(value, list):
        return {text for one in value for text in _values(one)}
    if isinstance(value, dict):
        return {json.dumps(value, sort_keys=True)}
    if isinstance(value, float):
        return {f"{value:.4g}"}
    text = str(value).strip()
    return {f"{float(text):.4g}"} if re.fullmatch(r"-?\d+\.\d+", text) else {text}


def _is_within(values: set[str], others: set[str], role: str) -> bool:
    """Whether each date is part of one that is more exact; writers state dates with and without time and zone."""
    if role != "date":
        return False
    digits = [re.sub(r"\D", "", one) for one in others]
    return all(any(re.sub(r"\D", "", value) in one for one in digits) for value in values)


def _is_replaced_text(name: str, before: Tags, after: Tags) -> bool:
    """A text of PNG, if the upload's XMP has another value: XMP takes precedence."""
    return name.startswith("PNG:") and any(
        other.startswith("XMP") and _role(other) == _role(name) and other in after for other in before
    )
