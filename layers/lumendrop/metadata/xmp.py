"""XMP: properties in RDF/XML. Sources: ISO 16684-1 (XMP), Adobe's XMP Specification parts 2 and 3."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

from lumendrop.metadata.blocks import BrokenBlock
from lumendrop.metadata.places import holds_coordinates, is_place_property

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
DC = "http://purl.org/dc/elements/1.1/"
XMP = "http://ns.adobe.com/xap/1.0/"
XMP_NOTE = "http://ns.adobe.com/xmp/note/"
XMP_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
XMP_MM = "http://ns.adobe.com/xap/1.0/mm/"
EVENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
EXIF_EX = "http://cipa.jp/exif/1.0/"
AUX = "http://ns.adobe.com/exif/1.0/aux/"
IPTC_CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PREFIXES = {
    RDF: "rdf",
    DC: "dc",
    XMP: "xmp",
    XMP_NOTE: "xmpNote",
    XMP_RIGHTS: "xmpRights",
    XMP_MM: "xmpMM",
    EVENT: "stEvt",
    PHOTOSHOP: "photoshop",
    TIFF: "tiff",
    EXIF: "exif",
    EXIF_EX: "exifEX",
    AUX: "aux",
    IPTC_CORE: "Iptc4xmpCore",
    IPTC_EXT: "Iptc4xmpExt",
}
_ENCODINGS = {b"\xff\xfe": "utf-16-le", b"<\0": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\0<": "utf-16-be"}
_MOST_DEPTH = 50
_MOST_NODES = 20_000  # elements and attributes; a hostile file can have a million
_DECLARATION = re.compile(r"<!(?!--|\[CDATA\[)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Gain maps, the parts of a file and its pictures, depth maps, copies of the image and its sound, thumbnails, regions.
_NAMESPACES_OF_OLD_PIXELS = (
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.apple.com/HDRGainMap/",
    "http://ns.apple.com/pixeldatainfo/",
    "http://ns.google.com/photos/1.0/container/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.google.com/photos/1.0/audio/",
    "http://ns.google.com/photos/dd/",
    "http://ns.adobe.com/xap/1.0/g/img/",
    XMP_NOTE,
)
_MOTION = re.compile(r"MotionPhoto|MicroVideo|VideoLength")
_PIXELS = re.compile(r"Pixels$|^PixelXDimension$|^PixelYDimension$")
_OF_OLD_PIXELS = frozenset(
    [
        *(
            f"{{{TIFF}}}{name}"
            for name in (
                *(
                    "ImageWidth",
                    "ImageLength",
                    "BitsPerSample",
                    "Compression",
                    "PhotometricInterpretation",
                    "Orientation",
                ),
                *(
                    "SamplesPerPixel",
                    "PlanarConfiguration",
                    "YCbCrSubSampling",
                    "YCbCrPositioning",
                    "YCbCrCoefficients",
                ),
                *("TransferFunction", "WhitePoint", "PrimaryChromaticities", "ReferenceBlackWhite", "NativeDigest"),
            )
        ),
        *(
            f"{{{EXIF}}}{name}"
            for name in (
                *("ColorSpace", "ComponentsConfiguration", "CompressedBitsPerPixel", "SubjectArea", "SubjectLocation"),
                *("FocalPlaneXResolution", "FocalPlaneYResolution", "FocalPlaneResolutionUnit", "RelatedSoundFile"),
                *("NativeDigest", "Gamma"),
            )
        ),
        f"{{{EXIF_EX}}}Gamma",
        f"{{{EXIF_EX}}}InteroperabilityIndex",
        f"{{{XMP}}}Thumbnails",
        f"{{{PHOTOSHOP}}}ICCProfile",
        f"{{{PHOTOSHOP}}}ColorMode",
        f"{{{DC}}}format",
        "{http://purl.org/dc/terms/}provenance",  # points to the Content Credentials of the old file
    ]
)
# Rectangles are relative to the picture as it was stored, so they are wrong once it was rotated.
_REGIONS = frozenset(
    [
        "{http://www.metadataworkinggroup.com/schemas/regions/}Regions",
        "{http://ns.microsoft.com/photo/1.2/}RegionInfo",
    ]
)
_RESOLUTION = frozenset(f"{{{TIFF}}}{name}" for name in ("XResolution", "YResolution", "ResolutionUnit"))

Properties = dict[str, ET.Element]
"""Properties by their name, as in `{http://purl.org/dc/elements/1.1/}title`."""


class Packet(msgspec.Struct):
    """`prefixes` are those that the packet declares, by namespace, to write them as they were."""

    properties: dict[str, Any] = {}
    prefixes: dict[str, str] = {}


class _Builder(ET.TreeBuilder):
    """Remembers the prefixes, and refuses a tree that is too deep to walk."""

    def __init__(self) -> None:
        super().__init__()
        self.prefixes: dict[str, str] = {}
        self._depth = 0
        self._nodes = 0

    def start_ns(self, prefix: str, uri: str) -> None:
        self.prefixes.setdefault(uri, prefix)

    def start(self, tag: Any, attributes: Any, /) -> ET.Element:
        self._depth += 1
        self._nodes += 1 + len(attributes)
        if self._depth > _MOST_DEPTH:
            raise BrokenBlock("it is nested too deeply")
        if self._nodes > _MOST_NODES:
            raise BrokenBlock("it has too many properties")
        return super().start(tag, attributes)

    def end(self, tag: str, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag)


def parse(*packets: bytes) -> Packet:
    """The properties of a packet and of its extension. Raises BrokenBlock."""
    found = Packet()
    for data in packets:
        if not data:
            continue
        builder = _Builder()
        root = _tree(data, builder)
        found.prefixes |= builder.prefixes
        for rdf in [root] if root.tag == f"{{{RDF}}}RDF" else root.iter(f"{{{RDF}}}RDF"):
            for node in rdf:  # rdf:Description, or a node that states its type
                for name, element in _properties_of(node):
                    found.properties.setdefault(name, element)
    return found


def extend(packet: Packet, extension: bytes) -> None:
    """Adds the properties of an extension. Raises BrokenBlock."""
    found = parse(extension)
    packet.properties = found.properties | packet.properties
    packet.prefixes = found.prefixes | packet.prefixes


def _tree(data: bytes, builder: _Builder) -> ET.Element:
    try:
        text = data.decode(_ENCODINGS.get(data[:2], "utf-8")).strip("\ufeff\0 \t\r\n")
    except UnicodeDecodeError:
        raise BrokenBlock("it is not text") from None
    if _DECLARATION.search(text):
        raise BrokenBlock("it declares entities")
    parser = ET.XMLParser(target=builder)  # noqa: S314  # without declarations, entities can't expand
    try:
        parser.feed(text)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError, AssertionError):
        raise BrokenBlock("it is not well-formed XML") from None
    return root


def _properties_of(node: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """A simple property can be an attribute instead of an element."""
    for name, value in node.attrib.items():
        if name.startswith("{") and not name.startswith((f"{{{RDF}}}", f"{{{XML}}}")):
            element = ET.Element(name)
            element.text = value
            yield name, element
    for child in node:
        if child.tag.startswith("{") and not child.tag.startswith(f"{{{RDF}}}"):
            child.tail = None
            yield child.tag, child


def combine(upload: Packet, result: Packet, *, rotated: bool) -> Packet:
    """Descriptive properties of the upload, technical ones of the result."""
    kept = {name: one for name, one in upload.properties.items() if not _is_of_old_pixels(name, rotated=rotated)}
    own = {name: one for name, one in result.properties.items() if not name.startswith(f"{{{XMP_NOTE}}}")}
    technical = {name: one for name, one in own.items() if name in _RESOLUTION or _is_of_old_pixels(name, rotated=True)}
    return Packet(own | kept | technical, result.prefixes | upload.prefixes)


def _is_of_old_pixels(name: str, *, rotated: bool) -> bool:
    namespace, _, local = name[1:].partition("}")
    return (
        name in _OF_OLD_PIXELS
        or namespace.startswith(_NAMESPACES_OF_OLD_PIXELS)
        or bool(_MOTION.search(local) or _PIXELS.search(local))
        or (rotated and name in _REGIONS)
    )


def remove_location(packet: Packet) -> list[str]:
    """Removes what can be about places, also inside structures. Returns the names of what it removed."""
    removed: list[str] = []
    for name, element in list(packet.properties.items()):
        if _is_about_place(element, name):
            del packet.properties[name]
            removed.append(name)
        else:
            _remove_inner_location(element, name, removed)
    return sorted({_short(name, packet) for name in removed})


def _is_about_place(element: ET.Element, property_: str) -> bool:
    """Whether an element is about a place: by its name, or because its text is coordinates."""
    texts = [element.text, *(child.tail for child in element)]
    return is_place_property(element.tag) or any(holds_coordinates(property_, text) for text in texts if text)


def _remove_inner_location(element: ET.Element, property_: str, removed: list[str]) -> None:
    """`property_` is the innermost property; items of lists have no name of their own."""
    for name, value in list(element.attrib.items()):
        if is_place_property(name) or holds_coordinates(name, value):
            del element.attrib[name]
            removed.append(property_ if name.startswith(f"{{{RDF}}}") else name)
    for child in list(element):
        inner = property_ if child.tag.startswith(f"{{{RDF}}}") else child.tag
        if _is_about_place(child, inner):
            element.remove(child)
            removed.append(inner)
        else:
            _remove_inner_location(child, inner, removed)


def _short(name: str, packet: Packet) -> str:
    """The name with the prefix that the packet declares for its namespace."""
    namespace, _, local = name[1:].partition("}")
    prefix = packet.prefixes.get(namespace) or _PREFIXES.get(namespace, "")
    return f"{prefix}:{local}" if prefix else local or name


def set_text(packet: Packet, namespace: str, name: str, text: str) -> None:
    """Sets a simple property."""
    element = ET.Element(f"{{{namespace}}}{name}")
    element.text = text
    packet.properties[element.tag] = element


def set_list(packet: Packet, namespace: str, name: str, kind: str, texts: list[str]) -> None:
    """Sets a list: `Seq` (ordered), `Bag`, or `Alt` (a text by language)."""
    element = ET.Element(f"{{{namespace}}}{name}")
    items = ET.SubElement(element, f"{{{RDF}}}{kind}")
    for text in texts:
        item = ET.SubElement(items, f"{{{RDF}}}li", {f"{{{XML}}}lang": "x-default"} if kind == "Alt" else {})
        item.text = text
    packet.properties[element.tag] = element


def extend_list(element: ET.Element, texts: Iterable[str]) -> None:
    """Adds texts to a list."""
    for items in element:
        for text in texts:
            ET.SubElement(items, f"{{{RDF}}}li").text = text
        return


def add_event(packet: Packet, event: dict[str, str]) -> None:
    """Adds an event to the history of the file."""
    name = f"{{{XMP_MM}}}History"
    history = packet.properties.get(name)
    if history is None:
        history = packet.properties[name] = ET.Element(name)
    items = history.find(f"{{{RDF}}}Seq")
    if items is None:
        items = ET.SubElement(history, f"{{{RDF}}}Seq")
    item = ET.SubElement(items, f"{{{RDF}}}li", {f"{{{RDF}}}parseType": "Resource"})
    for key, value in event.items():
        ET.SubElement(item, f"{{{EVENT}}}{key}").text = value


def serialize(packet: Packet, properties: Properties | None = None) -> bytes:
    """The packet, or some of its properties, as UTF-8."""
    found = packet.properties if properties is None else properties
    prefixes = _choose_prefixes(packet, found)
    body = "".join(f"   {_as_text(one, prefixes)}\n" for one in found.values())
    declared = "".join(
        f"\n    xmlns:{prefix}={quoteattr(uri)}" for uri, prefix in prefixes.items() if uri not in (RDF, XML)
    )
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f' <rdf:RDF xmlns:rdf="{RDF}">\n  <rdf:Description rdf:about=""{declared}>\n{body}'
        '  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
    )
    return text.encode()


def _choose_prefixes(packet: Packet, properties: Properties) -> dict[str, str]:
    """A prefix for each namespace: the packet's own, the usual one, or a new one. No two namespaces have the same."""
    chosen = {RDF: "rdf", XML: "xml"}
    taken = set(chosen.values())
    for root in properties.values():
        for element in root.iter():
            for name in (element.tag, *element.attrib):
                uri = name[1:].partition("}")[0] if name.startswith("{") else ""
                if uri and uri not in chosen:
                    chosen[uri] = _prefix(uri, packet, taken)
                    taken.add(chosen[uri])
    return chosen


def _prefix(uri: str, packet: Packet, taken: set[str]) -> str:
    for prefix in (_PREFIXES.get(uri), packet.prefixes.get(uri)):
        if prefix and prefix not in taken and prefix != "x" and _NAME.fullmatch(prefix):
            return prefix
    return next(one for one in (f"ns{number}" for number in itertools.count(len(taken))) if one not in taken)


def _as_text(element: ET.Element, prefixes: dict[str, str]) -> str:
    name = _qualified(element.tag, prefixes)
    attributes = "".join(f" {_qualified(key, prefixes)}={quoteattr(value)}" for key, value in element.attrib.items())
    inner = _escape(element.text) + "".join(_as_text(child, prefixes) + _escape(child.tail) for child in element)
    return f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes}/>"


def _escape(text: str | None) -> str:
    return escape(text or "", {"\r": "&#13;"})


def _qualified(name: str, prefixes: dict[str, str]) -> str:
    if not name.startswith("{"):
        return name
    uri, _, local = name[1:].partition("}")
    return f"{prefixes[uri]}:{local}"


def cleaned(text: str) -> str:
    """Text without what XML does not allow."""
    return _NOT_XML.sub("", text).strip()
