"""Which names are about the place of a photo: names of XMP properties, texts of PNG, user metadata, and tags.

Anyone can invent such names, so a list of the known ones would keep the next one. The rule is a pattern that rather
matches too much, and names what it must not match. Values are not searched. The pattern covers the tags that
exiftool's lists have (Image::ExifTool 12.57), and the terms of the IPTC Photo Metadata Standard 2025.1.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# Of the name in words, as in `shot_location`. Some makers repeat the location in maker notes.
_ABOUT_PLACES = re.compile(
    r"gps|latitud|longt?itud|altitud|coordinat|(?<!al)locat|localit|countr[iy]|provinc|municip|continent|territor"
    r"|maker_?note|shot_log"
    r"|(^|_)(geo(?!met)|cell|city|cities|count(y|ies)(_|$)|state(?!ment)|region|place(?!d|ment|holder)|town|village"
    r"|suburb|neighbou?r|district|street|island|water_?body|venue|landmark|post_?code|postal|zip(_|$)|zip_?code"
    r"|(lat|lon|lng)(_|$)|(long|alt|elevation)$)"
    r"|^(address|position|spatial|coverage)$"
)
_NAMESPACES = (
    "http://rs.tdwg.org/dwc/",  # Darwin Core: where and when a specimen was found
    "http://developer.sonyericsson.com/cell/",  # cell towers
    "http://www.w3.org/2003/01/geo/",
    "http://www.georss.org/",
    "http://www.opengis.net/",
)
# Rectangles within the picture, contact data of licensors, and settings of Camera Raw.
_OTHER_NAMESPACES = (
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.microsoft.com/photo/1.2/",
    "http://ns.apple.com/faceinfo/",
    "http://ns.useplus.org/ldf/",
    "http://ns.adobe.com/camera-raw-",
)
# Contact data of the author, rectangles, and the tolerance of an exposure.
_OTHER_PROPERTIES = re.compile(
    r"\{http://iptc\.org/std/Iptc4xmpCore/1\.0/xmlns/\}CiAdr\w*"
    r"|\{http://iptc\.org/std/Iptc4xmpExt/2008-02-29/\}(ImageRegion|RegionBoundary|Region)"
    r"|\{http://cipa\.jp/exif/1\.0/\}ISOSpeedLatitude\w*"
)


def is_place(name: str) -> bool:
    """Whether a name is about a place: `GPSLatitude`, `shot-location`, `lat`."""
    return bool(_ABOUT_PLACES.search("_".join(_WORD.findall(name)).lower()))


def is_place_property(name: str) -> bool:
    """Whether a property of XMP, as in `{http://ns.adobe.com/photoshop/1.0/}City`, is about a place."""
    namespace, _, local = name[1:].partition("}")
    if namespace.startswith(_NAMESPACES):
        return True
    return is_place(local) and not (namespace.startswith(_OTHER_NAMESPACES) or _OTHER_PROPERTIES.fullmatch(name))
