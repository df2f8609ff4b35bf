"""What is about the place of a photo: names, and values that are coordinates.

Anyone can invent names, in any language, so a list of those about places is never complete. So user metadata, tags,
texts of PNG, and namespaces of XMP are kept if they are known to hold no place, and left out otherwise. Within the
known namespaces, a pattern finds the names about places. It rather matches too much. It covers the tags that exiftool's
lists have (Image::ExifTool 12.57), and the terms of the IPTC Photo Metadata Standard 2025.1.
"""

from __future__ import annotations

import re

# Words of names, as in `shot_location`. Capitals that lower case follows, as in `GPSinfo`, can end a word or start one.
_SPLITS = (re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+"), re.compile(r"[A-Z]{2,}|[A-Z]?[a-z]+|[0-9]+"))
# Some makers repeat the location in maker notes.
_ABOUT_PLACES = re.compile(
    r"gps|latitud|longt?itud|altitud|co_?ord|(?<!al)locat|localit|countr[iy]|provinc|prefectur|municip|continent"
    r"|territor|address|(?<!re)(?<!dis)place(?!d|ment|holder)|town|venue|landmark|east_?ing|north_?ing|geo_?(hash|tag|loc)"
    r"|lat_?(lon|lng)|(lon|lng)_?lat|plus_?code|what_?3_?words|bssid"
    r"|maker_?note|shot_log"
    r"|(^|_)(geo(?!met)|cell|city|cities|count(y|ies)(_|$)|state(?!ment)|region|village|nation(_|$|al)"
    r"|suburb|neighbou?r|district|street|island|water_?body|post_?code|postal|zip(_|$)|zip_?code"
    r"|(lat|lon|lng|loc|locs|addr|utm|mgrs|osm|poi|gpx|kml|heading|bearing)(_|$)|(long|alt|elevation)$)"
    r"|^(position|spatial|coverage)$"
)
_NAMESPACES = (
    # XMP, its types, and Adobe's applications
    *("http://purl.org/dc/elements/1.1/", "http://purl.org/dc/terms/", "http://ns.adobe.com/xap/1.0/"),
    *("http://ns.adobe.com/xmp/", "http://ns.adobe.com/pdf/1.3/", "http://ns.adobe.com/photoshop/1.0/"),
    *("http://ns.adobe.com/camera-raw-", "http://ns.adobe.com/lightroom/1.0/", "http://ns.adobe.com/hdr-"),
    # cameras and phones
    *("http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/", "http://cipa.jp/exif/"),
    *("http://ns.google.com/photos/1.0/", "http://ns.apple.com/faceinfo/", "http://ns.apple.com/HDRGainMap/"),
    # standards for photos, and libraries of photos
    *("http://iptc.org/std/Iptc4xmp", "http://ns.useplus.org/ldf/", "http://www.metadataworkinggroup.com/schemas/"),
    *("http://creativecommons.org/ns#", "http://prismstandard.org/namespaces/", "http://ns.microsoft.com/photo/"),
    *("http://www.digikam.org/ns/1.0/", "http://ns.acdsee.com/"),
)
"""Namespaces that are known, so that the pattern is enough. A property of another one is left out."""
_STRUCTURE = ("http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.w3.org/XML/1998/namespace")
"""Lists, languages, and links, as in `rdf:Alt`, which is no altitude."""
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
# Names that consist of these words hold no place. They need no borders, because S3's names are in lower case.
_KNOWN_WORDS = """
    date time timezone day month year created creation create modified modify digitized original capture captured
    taken shot photo photos photograph picture pictures image by on of the is has last first mtime ctime atime btime
    camera make maker model lens serial number body firmware software exposure aperture shutter speed iso fnumber focal
    length mm flash metering white balance program bias mode scene
    author artist creator photographer owner copyright copyrighted rights license licence usage terms credit agency
    notice title headline caption description comment keyword keywords subject category categories genre label rating
    stars instructions note notes writer alttext disclaimer warning warnings url
    file filename name names id ids uuid guid key hash checksum chksum sha md etag version revision sequence index frame
    page roll count size width resolution dpi pixel pixels bytes orientation color colour profile profiles format type
    mime encoding language lang tag tags source web
    project album albums collection series set batch job order customer client account user team department cost
    costcenter costcentre budget campaign product sku brand article item asset gallery
    environment env stage app application service component workload managed retention lifecycle archive backup expire
    expires expiry delete keep classification confidentiality sensitivity privacy public private internal compliance
    status approved approval review reviewed reviewer priority quality urgency flag published publish upload uploaded
    uploader processed processing process enhanced editor edited edit retouched scan scanner scanned device
    parameters prompt seed steps sampler
    metadata creativity resemblance bucket sequencer result correlation task attempt sameas carriedover leftout sidecar
"""
_KNOWN_NAME = re.compile(f"(?:{'|'.join(sorted(_KNOWN_WORDS.split(), key=len, reverse=True))})+")
_MOST_NAME, _MOST_VALUE = 80, 1000

_SIXTIETHS = r"[0-5]?\d([.,]\d+)?"
_DEGREES = (
    r"\d{1,3}([.,]\d+ ?[°º]?| ?[°º]"
    rf"| ?[°ºd:, ] ?{_SIXTIETHS}( ?['\u2032\u2019m]| ?['\u2032\u2019m:, ] ?{_SIXTIETHS} ?(\"|\u2033|\u201d|''|s)?)?)"
)
_WITH_SIGN = r"[+-]?\d{1,3}([.,]\d+)? ?[°º]( ?[\d.,]+ ?['\u2032\u2019]( ?[\d.,]+ ?[\"\u2033\u201d])?)?"
_COORDINATE = rf"([NSEWO] ?{_DEGREES}|{_DEGREES} ?[NSEWO]|{_WITH_SIGN})"
_COMMAS = r"[+-]?\d{1,2},\d{3,} ?[°º]? ?[;| ] ?[+-]?\d{1,3},\d{3,} ?[°º]?"  # as many languages write decimals
_DEGREE_WORD = re.compile(r"(?<=\d) ?(degrees?|deg)\b\.?", re.IGNORECASE)  # as exiftool prints it
_PAIR = r"[+-]?\d{1,2}\.\d+ ?[°º]? ?[,;| ] ?[+-]?\d{1,3}\.\d+ ?[°º]?( ?[,;|] ?[+-]?\d+(\.\d+)? ?m?)?"
_COORDINATES = re.compile(
    rf"[\[({{]? ?({_PAIR}|{_COMMAS}|{_COORDINATE}( ?[,;/|]? ?{_COORDINATE})?) ?[\])}}]?"
    r"|[+-]\d{2,6}(\.\d+)?[+-]\d{3,7}(\.\d+)?([+-]\d+(\.\d+)?)?(CRS\w*)?/?"  # ISO 6709
    r"|[23456789CFGHJMPQRVWX]{4,8}\+[23456789CFGHJMPQRVWX]{2,3}\b.*"  # plus codes
    r"|\d{1,2} ?[C-X] ?([A-Z]{2} ?\d{2,5} ?\d{2,5}|\d{6}\D{1,3}\d{6,7}\D{0,2})"  # MGRS, UTM
    r"|(geo|maps|comgooglemaps|waze):\S+|///\w+\.\w+\.\w+"
    r"|https?://\S*\b(maps?|osm|openstreetmap|waze|what3words|w3w|geohack|geonames|plus\.codes|mapy)\b\S*"
    r"|.*\b(lat(itude)?|lng|longitude)\W{1,5}\d.*"
    r"|(SRID=\d+;)?(POINT|POLYGON|LINESTRING) ?Z? ?\(.*",
    re.IGNORECASE,
)


def is_place(name: str) -> bool:
    """Whether a name is about a place: `GPSLatitude`, `shot-location`, `lat`."""
    return any(_ABOUT_PLACES.search("_".join(split.findall(name)).lower()) for split in _SPLITS)


def is_place_property(name: str) -> bool:
    """Whether a property of XMP, as in `{http://ns.adobe.com/photoshop/1.0/}City`, can be about a place."""
    namespace, _, local = name[1:].partition("}")
    if namespace in _STRUCTURE:
        return False
    if not namespace.startswith(_NAMESPACES):
        return True
    return is_place(local) and not (namespace.startswith(_OTHER_NAMESPACES) or _OTHER_PROPERTIES.fullmatch(name))


def holds_coordinates(name: str, text: str) -> bool:
    """Whether the text of a property of XMP is nothing but coordinates. Rectangles within the picture are not."""
    return is_coordinates(text) and not name[1:].startswith(_OTHER_NAMESPACES)


def may_state_place(name: str, value: str = "") -> bool:
    """Whether user metadata, a tag, or a text with this name and value can be about a place."""
    letters = re.sub(r"[\W\d_]", "", name.lower())
    return len(name) > _MOST_NAME or not _KNOWN_NAME.fullmatch(letters) or is_coordinates(value)


def is_coordinates(text: str) -> bool:
    """Whether a text is nothing but coordinates, in any common notation, or a link to a map."""
    stripped = text.strip("\0\ufeff \t\r\n")
    if len(stripped) > _MOST_VALUE:
        return False
    written = _DEGREE_WORD.sub("°", " ".join(stripped.split())).replace("\u2212", "-")
    return bool(_COORDINATES.fullmatch(written))
