"""The uploads of these tests: small images with metadata as cameras, phones, agencies, and editors write it.

All are made here, byte by byte, without the code under test and without the tools that judge it.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy
import pillow_heif
from PIL import Image

from tests.metadata.makers import MAKERS, block
from tests.unit.photos import chunk

pillow_heif.register_heif_opener()
WIDTH, HEIGHT = 64, 48
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" {namespaces} {attributes}>
{elements}
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "GCamera": "http://ns.google.com/photos/1.0/camera/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "stArea": "http://ns.adobe.com/xmp/sType/Area#",
}
DESCRIPTIVE = """<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Harbour</rdf:li>
<rdf:li xml:lang="de">Hafen</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt>
<rdf:li xml:lang="x-default">Boats &amp; gulls at dusk, Ærøskøbing</rdf:li></rdf:Alt></dc:description>
<dc:creator><rdf:Seq><rdf:li>Ada Example</rdf:li><rdf:li>Bo Beispiel</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) 2024 Ada Example</rdf:li></rdf:Alt></dc:rights>
<dc:subject><rdf:Bag><rdf:li>harbour</rdf:li><rdf:li>boat</rdf:li><rdf:li>Æ</rdf:li></rdf:Bag></dc:subject>
<xmp:Rating>4</xmp:Rating><xmp:CreateDate>2024-07-14T21:03:10.42+02:00</xmp:CreateDate>
<photoshop:DateCreated>2024-07-14T21:03:09+02:00</photoshop:DateCreated>"""
CAMERA = (
    'tiff:Make="Canon" tiff:Model="Canon EOS R5" aux:Lens="RF24-105mm F4 L IS USM" exif:ExposureTime="1/250" '
    'exif:FNumber="28/10" exif:FocalLength="35/1" exif:GPSLatitude="54,19.20567N" exif:GPSLongitude="10,8.72017E" '
    'tiff:Orientation="6" exif:PixelXDimension="6000" exif:PixelYDimension="4000" tiff:ImageWidth="6000"'
)


def packet(elements: str = DESCRIPTIVE, attributes: str = "") -> bytes:
    """An XMP packet."""
    namespaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return _PACKET.format(namespaces=namespaces, attributes=attributes, elements=elements).encode()


@cache
def picture(kind: str, width: int = WIDTH, height: int = HEIGHT, **options: Any) -> bytes:
    """An encoded picture without metadata."""
    noise = numpy.random.default_rng(7).integers(0, 90, (height, width, 3))
    ramp = numpy.linspace(0, 160, width)[None, :, None]
    mode = options.pop("mode", "RGB")
    image = Image.fromarray((noise + ramp).astype("uint8")).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data


def jpeg(*segments: bytes, after: bytes = b"", **options: Any) -> bytes:
    """A JPEG with these segments after SOI, and bytes after its end."""
    base = picture("JPEG", **options)
    return base[:2] + b"".join(segments) + base[2:] + after


def exif_segment(data: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + data)


def xmp_segment(data: bytes) -> bytes:
    return segment(0xE1, XMP_HEADER + data)


def dataset(number: int, text: bytes, record: int = 2) -> bytes:
    return bytes([0x1C, record, number]) + len(text).to_bytes(2, "big") + text


def datasets(encoding: str = "utf-8") -> bytes:
    """IPTC-IIM as an agency sends it."""
    texts = {
        5: "Harbour",
        10: "5",
        15: "NEW",
        25: "harbour",
        40: "No sales in Æ",
        55: "20240714",
        60: "210309+0200",
        80: "Ada Example",
        85: "Staff",
        90: "Ærøskøbing",
        92: "Pier 3",
        95: "Syddanmark",
        100: "DNK",
        101: "Denmark",
        103: "DK-1234",
        105: "Boats at dusk",
        110: "Example/Agency",
        115: "Agency",
        116: "(c) 2024 Ada Example",
        120: "Boats & gulls at dusk, Ærøskøbing",
        122: "bo",
    }
    head = dataset(90, b"\x1b%G", 1) if encoding == "utf-8" else b""
    body = b"".join(dataset(number, text.encode(encoding)) for number, text in texts.items())
    return head + dataset(0, b"\0\4") + body + dataset(25, b"boat") + dataset(25, "Æ".encode(encoding))


def resource(number: int, data: bytes) -> bytes:
    return b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(data).to_bytes(4, "big") + data + bytes(len(data) % 2)


def photoshop(*resources: bytes) -> bytes:
    return segment(0xED, b"Photoshop 3.0\0" + b"".join(resources))


def agency(encoding: str = "utf-8") -> bytes:
    """Photoshop resources: thumbnail, IPTC with its digest, copyright flag and URL."""
    iim = datasets(encoding)
    return photoshop(
        resource(0x03ED, b"\1\x2c\0\0\0\1\0\1\1\x2c\0\0\0\1\0\1"),
        resource(0x0404, iim),
        resource(0x0425, hashlib.md5(iim, usedforsecurity=False).digest()),
        resource(0x040A, b"\1"),
        resource(0x040B, b"https://example.com/licence"),
    )


def png(*before: bytes, after: tuple[bytes, ...] = ()) -> bytes:
    """A PNG with these chunks before its image data, and others after it."""
    base = picture("PNG")
    end = base.index(b"IEND") - 4
    return base[:33] + b"".join(before) + base[33:end] + b"".join(after) + base[end:]


def itxt(keyword: str, text: bytes, *, compressed: bool = False) -> bytes:
    body = zlib.compress(text) if compressed else text
    return chunk(b"iTXt", keyword.encode() + b"\0" + bytes([compressed, 0]) + b"\0\0" + body)


def ztxt(keyword: str, text: bytes) -> bytes:
    return chunk(b"zTXt", keyword.encode() + b"\0\0" + zlib.compress(text))


def raw_profile(name: str, data: bytes) -> bytes:
    """What ImageMagick writes."""
    digits = data.hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return ztxt(f"Raw profile type {name}", b"\n%s\n%8d\n%s\n" % (name.encode(), len(data), lines))


def webp(exif: bytes = b"", xmp: bytes = b"", *, extended: bool = True, **options: Any) -> bytes:
    """A WebP, with VP8X if it is to be extended."""
    base = picture("WEBP", **options)
    if base[12:16] == b"VP8X":
        header, body = bytearray(base[12:30]), base[30:]
    else:
        header = bytearray(b"VP8X\x0a\0\0\0" + b"\0\0\0\0" + (WIDTH - 1).to_bytes(3, "little"))
        header += (HEIGHT - 1).to_bytes(3, "little")
        body = base[12:]
    if not extended:
        return base
    header[8] |= (0x08 if exif else 0) | (0x04 if xmp else 0)
    parts = bytes(header) + body
    for kind, data in ((b"EXIF", exif), (b"XMP ", xmp)):
        if data:
            parts += kind + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)
    return b"RIFF" + (len(parts) + 4).to_bytes(4, "little") + b"WEBP" + parts


def heic(exif: bytes = b"", xmp: bytes = b"") -> bytes:
    image = Image.open(io.BytesIO(picture("PNG")))
    file = io.BytesIO()
    more: dict[str, Any] = {name: value for name, value in (("exif", b"Exif\0\0" + exif), ("xmp", xmp)) if value[-1:]}
    if not exif:
        more.pop("exif", None)
    image.save(file, "HEIF", quality=60, **more)
    return file.getvalue()


def movie() -> bytes:
    """The start of an MP4, as a motion photo has it after its JPEG."""
    return b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\2\0mdat" + bytes(504)


def mpf(first: bytes, second: bytes) -> bytes:
    """Two pictures in one file. The offset of the second counts from the MPF header, which follows SOI here."""
    at = len(first) + 90 - 10  # the segment has 90 bytes, and its header ends 10 bytes after SOI and marker
    entries = [(0x030000, len(first) + 90, 0), (0, len(second), at)]
    table = b"".join(
        kind.to_bytes(4, "big") + size.to_bytes(4, "big") + at.to_bytes(4, "big") + bytes(4)
        for kind, size, at in entries
    )
    index = b"MM\0*\0\0\0\x08" + b"\0\3" + bytes.fromhex("b000000700000004") + b"0100"
    index += bytes.fromhex("b00100040000000100000002") + bytes.fromhex("b0020007000000200000003200000000")
    made = segment(0xE2, b"MPF\0" + index + table)
    return first[:2] + made + first[2:] + second


def gain_map() -> bytes:
    return jpeg(xmp_segment(packet("", 'hdrgm:Version="1.0" hdrgm:GainMapMax="2.5"')), width=16, height=12)


def ultra_hdr() -> bytes:
    directory = """<Container:Directory><rdf:Seq>
    <rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>
    <rdf:li rdf:parseType="Resource"><Container:Item
    Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="999"/></rdf:li>
    </rdf:Seq></Container:Directory>"""
    primary = jpeg(exif_segment(block("canon")), xmp_segment(packet(DESCRIPTIVE + directory, 'hdrgm:Version="1.0"')))
    return mpf(primary, gain_map())


def motion_photo(attributes: str) -> bytes:
    return jpeg(exif_segment(block("canon", "big")), xmp_segment(packet(DESCRIPTIVE, attributes)), after=movie())


def extended_xmp() -> bytes:
    """A packet whose second part has 150 KB in three segments."""
    long = "<photoshop:History>" + "layer renamed; " * 10_000 + "</photoshop:History>"
    extension = packet(
        long + "<lr:hierarchicalSubject><rdf:Bag><rdf:li>places|sea</rdf:li></rdf:Bag></lr:hierarchicalSubject>"
    )
    guid = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper().encode()
    parts = [
        segment(
            0xE1,
            _EXTENSION + guid + len(extension).to_bytes(4, "big") + at.to_bytes(4, "big") + extension[at : at + 60_000],
        )
        for at in range(0, len(extension), 60_000)
    ]
    main = packet(DESCRIPTIVE, f'xmpNote:HasExtendedXMP="{guid.decode()}"')
    return jpeg(exif_segment(block("sony")), xmp_segment(main), *parts)


def regions(orientation: int) -> bytes:
    faces = """<mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="64" stDim:h="48" stDim:unit="pixel"/>
    <mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource"><mwg-rs:Name>Ada</mwg-rs:Name>
    <mwg-rs:Type>Face</mwg-rs:Type>
    <mwg-rs:Area stArea:x="0.4" stArea:y="0.3" stArea:w="0.1" stArea:h="0.1" stArea:unit="normalized"/>
    </rdf:li></rdf:Bag>
    </mwg-rs:RegionList></mwg-rs:Regions>"""
    return jpeg(exif_segment(block("nikon", orientation=orientation)), xmp_segment(packet(DESCRIPTIVE + faces)))


def damaged(change: Callable[[bytearray], None]) -> bytes:
    """A JPEG with damaged EXIF, and with XMP that is not damaged."""
    data = bytearray(block("canon", thumbnail=picture("JPEG", width=16, height=12)))
    change(data)
    return jpeg(exif_segment(bytes(data)), xmp_segment(packet()))


def _cut(data: bytearray) -> None:
    del data[400:]


def _no_header(data: bytearray) -> None:
    data[:4] = b"MM*\0"


def _bad_pointer(data: bytearray) -> None:
    at = data.index(b"\x69\x87\4\0")
    data[at + 8 : at + 12] = b"\xff\xff\xff\x7f"


def _bad_value(data: bytearray) -> None:
    at = data.index(b"\x98\x82\2\0")
    data[at + 8 : at + 12] = b"\xf0\xff\0\0"


THUMBNAIL = picture("JPEG", width=16, height=12)
TEXTS = (
    *(chunk(b"tEXt", b"Title\0Harbour"), chunk(b"tEXt", b"Author\0Ada Example")),
    *(ztxt("Description", b"Boats at dusk"), itxt("Copyright", "© 2024 Ada".encode(), compressed=True)),
    *(chunk(b"tEXt", b"Creation Time\0Sun, 14 Jul 2024 21:03:09 +0200"), chunk(b"tEXt", b"Comment\0from the pier")),
)
LOCAL = 'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" GCamera:MotionPhotoPresentationTimestampUs="400"'

Make = Callable[[], bytes]
FILES: dict[str, Make] = {
    **{
        f"{maker}-{order}.jpg": lambda maker=maker, order=order: jpeg(
            exif_segment(block(maker, order, thumbnail=THUMBNAIL))
        )
        for maker in MAKERS
        for order in ("little", "big")
    },
    **{
        f"orientation-{number}.jpg": lambda number=number: jpeg(
            exif_segment(block("apple", "big", orientation=number)), xmp_segment(packet(DESCRIPTIVE, CAMERA))
        )
        for number in range(1, 9)
    },
    "exif-xmp-iptc.jpg": lambda: jpeg(exif_segment(block()), xmp_segment(packet()), agency()),
    "xmp-attributes.jpg": lambda: jpeg(xmp_segment(packet(DESCRIPTIVE, CAMERA))),
    "xmp-utf16.jpg": lambda: jpeg(xmp_segment(packet().decode().encode("utf-16-be"))),
    "xmp-extended.jpg": extended_xmp,
    "xmp-regions.jpg": lambda: regions(1),
    "xmp-regions-rotated.jpg": lambda: regions(6),
    "agency.jpg": lambda: jpeg(agency()),
    "agency-latin1.jpg": lambda: jpeg(agency("latin-1")),
    "agency-two-segments.jpg": lambda: jpeg(*_split(agency())),
    "no-next-offsets.jpg": lambda: jpeg(exif_segment(block("panasonic", next_offsets=False))),
    "no-location.jpg": lambda: jpeg(exif_segment(block("canon", "big", location=False))),
    "full-64k.jpg": lambda: jpeg(exif_segment(block("canon", padding=63_000))),
    "progressive.jpg": lambda: jpeg(exif_segment(block("nikon", "big")), progressive=True),
    "grey.jpg": lambda: jpeg(exif_segment(block("sony", "big")), mode="L"),
    "cmyk.jpg": lambda: jpeg(exif_segment(block("sony")), mode="CMYK"),
    "after-the-end.jpg": lambda: jpeg(exif_segment(block("olympus")), after=bytes(5000)),
    "jfif-first.jpg": lambda: picture("JPEG")[:20] + exif_segment(block("fujifilm")) + picture("JPEG")[20:],
    "motion-photo.jpg": lambda: motion_photo(LOCAL),
    "micro-video.jpg": lambda: motion_photo('GCamera:MicroVideo="1" GCamera:MicroVideoOffset="544"'),
    "mpo.jpg": lambda: mpf(jpeg(exif_segment(block("panasonic"))), jpeg()),
    "ultra-hdr.jpg": ultra_hdr,
    "damaged-cut.jpg": lambda: damaged(_cut),
    "damaged-header.jpg": lambda: damaged(_no_header),
    "damaged-pointer.jpg": lambda: damaged(_bad_pointer),
    "damaged-value.jpg": lambda: damaged(_bad_value),
    "nothing.jpg": jpeg,
    "exif.png": lambda: png(chunk(b"eXIf", block("canon", "big"))),
    "exif-little.png": lambda: png(chunk(b"eXIf", block("nikon"))),
    "xmp.png": lambda: png(itxt("XML:com.adobe.xmp", packet(DESCRIPTIVE, CAMERA))),
    "xmp-compressed.png": lambda: png(itxt("XML:com.adobe.xmp", packet(), compressed=True)),
    "after-the-data.png": lambda: png(after=(chunk(b"eXIf", block()), itxt("XML:com.adobe.xmp", packet()))),
    "profile-exif.png": lambda: png(raw_profile("exif", b"Exif\0\0" + block("sony"))),
    "profile-app1.png": lambda: png(raw_profile("APP1", b"Exif\0\0" + block("olympus", "big"))),
    "profile-xmp.png": lambda: png(raw_profile("xmp", packet())),
    "profile-iptc.png": lambda: png(raw_profile("iptc", resource(0x0404, datasets()))),
    "texts.png": lambda: png(*TEXTS),
    "texts-after-the-data.png": lambda: png(after=TEXTS),
    "all.png": lambda: png(chunk(b"eXIf", block("canon")), itxt("XML:com.adobe.xmp", packet()), *TEXTS),
    "exif.webp": lambda: webp(block("canon", "big")),
    "exif-with-header.webp": lambda: webp(b"Exif\0\0" + block("panasonic")),
    "xmp.webp": lambda: webp(xmp=packet(DESCRIPTIVE, CAMERA)),
    "exif-xmp.webp": lambda: webp(block("sony"), packet()),
    "lossless.webp": lambda: webp(block("nikon"), packet(), lossless=True),
    "alpha.webp": lambda: webp(block("apple", "big"), packet(), mode="RGBA"),
    "without-vp8x.webp": lambda: webp(extended=False),
    "exif.heic": lambda: heic(block("apple", "big")),
    "exif-little.heic": lambda: heic(block("canon")),
    "xmp.heic": lambda: heic(xmp=packet(DESCRIPTIVE, CAMERA)),
    "exif-xmp.heic": lambda: heic(block("apple", "big"), packet()),
}


def _split(whole: bytes) -> tuple[bytes, bytes]:
    """One Photoshop block in two segments, as writers split a large one."""
    data = whole[4 + len(b"Photoshop 3.0\0") :]
    middle = len(data) // 2
    return tuple(segment(0xED, b"Photoshop 3.0\0" + part) for part in (data[:middle], data[middle:]))  # type: ignore[return-value]


@cache
def upload(name: str) -> bytes:
    """The bytes of one of these files."""
    return FILES[name]()
