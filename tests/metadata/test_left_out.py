"""Metadata that has no place in the delivered photo, or that is damaged: it is named."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lumendrop.containers import FileReader
from lumendrop.metadata import transfer, xmp
from lumendrop.metadata.blocks import LeftOut
from tests.metadata import judges
from tests.metadata.delivering import deliver, result
from tests.metadata.files import (
    block,
    dataset,
    exif_segment,
    itxt,
    jpeg,
    packet,
    photoshop,
    png,
    resource,
    segment,
    upload,
    xmp_segment,
)
from tests.metadata.makers import BYTE, LONG, Tag, directory, rational, text
from tests.metadata.test_carry_over import SIGNED


@judges.NEEDED
@pytest.mark.parametrize("extension", ["png", "webp"])
def test_datasets_that_xmp_has_no_place_for_are_named(extension: str, tmp_path: Path) -> None:
    """Contact, an expiration date, a sender's code, and a headline that differs from that of XMP."""
    iim = dataset(118, b"desk@example.com") + dataset(37, b"20270101") + dataset(30, b"X1", 1) + dataset(105, b"Boats")
    iim += dataset(62, b"20240714") + dataset(63, b"210308+0200") + dataset(5, b"Harbour") + dataset(200, b"\0\x0b")
    own = packet(
        '<photoshop:Headline>Gulls</photoshop:Headline><dc:title><rdf:Alt><rdf:li xml:lang="x-default">'
        "Harbour</rdf:li></rdf:Alt></dc:title>"
    )
    source = jpeg(xmp_segment(own), photoshop(resource(0x0404, iim)))
    found, content = deliver(source, result(extension), tmp_path, label=False)
    assert found.left_out == (
        LeftOut("iptc", "XMP has no property or another value for datasets 1:30, 2:37, 2:105, 2:118"),
    )
    path = tmp_path / f"delivered.{extension}"
    path.write_bytes(content)
    assert judges.read([path])[path]["XMP-xmp:CreateDate"] == "2024:07:14 21:03:08+02:00"
    assert deliver(source, result("jpg"), tmp_path, label=False)[0].left_out == ()


def test_an_extension_of_another_packet_hides_none(tmp_path: Path) -> None:
    """Editors that don't know extensions leave those of an earlier packet behind."""
    header = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + (4).to_bytes(4, "big") + bytes(4)
    whole = upload("xmp-extended.jpg")
    at = whole.index(b"http://ns.adobe.com/xmp/extension/\0") - 4
    found, content = deliver(whole[:at] + segment(0xE1, header + b"old!") + whole[at:], result("jpg"), tmp_path)
    assert b"places|sea" in content
    assert found.left_out == ()


def test_a_node_of_another_type_is_read(tmp_path: Path) -> None:
    typed = packet().replace(b"<rdf:Description ", b"<xmpMM:Photo ").replace(b"</rdf:Description>", b"</xmpMM:Photo>")
    _, content = deliver(jpeg(xmp_segment(typed)), result("jpg"), tmp_path)
    assert b"Ada Example" in content


def _with_value_at(tag: bytes, at: int) -> bytes:
    data = bytearray(block("canon"))
    start = data.index(tag)
    data[start + 8 : start + 12] = at.to_bytes(4, "little")
    return jpeg(exif_segment(bytes(data)))


@pytest.mark.parametrize(
    ("source", "left_out"),
    [
        (_with_value_at(b"\x98\x82\2\0", 0xFFF0), LeftOut("exif", "the values of tags 0x8298 are damaged")),
        (_with_value_at(b"\x69\x87\4\0", 0xFFF0), LeftOut("exif", "the values of tags 0x8769 are damaged")),
    ],
)
def test_values_outside_of_their_block_are_named(source: bytes, left_out: LeftOut, tmp_path: Path) -> None:
    found, _ = deliver(source, result("jpg"), tmp_path)
    assert left_out in found.left_out


def test_a_directory_that_is_cut_short_is_named(tmp_path: Path) -> None:
    found, _ = deliver(jpeg(exif_segment(block("canon")[:100])), result("jpg"), tmp_path)
    assert LeftOut("exif", "a directory is cut short") in found.left_out


@judges.NEEDED
def test_tags_that_a_sidecar_has_no_property_for_are_named(tmp_path: Path) -> None:
    found, _ = deliver(upload("canon-little.jpg"), SIGNED["png"], tmp_path, label=False)
    assert LeftOut("exif", "XMP has no property or another text for tags 0x927c") in found.left_out


def test_what_a_sidecar_has_otherwise_is_named(tmp_path: Path) -> None:
    """XMP takes precedence. The author of EXIF has a property of its own; that of Windows has none."""
    data = directory(
        [
            text(0x013B, "Bo"),
            Tag(0x9C9D, BYTE, "Cy\0".encode("utf-16-le")),
            Tag(0x9C9B, BYTE, "Pier\0".encode("utf-16-le")),
        ],
        8,
        "little",
    )
    title = '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Harbour</rdf:li></rdf:Alt></dc:title>'
    source = jpeg(exif_segment(b"II*\0\x08\0\0\0" + data), xmp_segment(packet(title)))
    found, _ = deliver(source, SIGNED["png"], tmp_path, label=False)
    assert LeftOut("exif", "XMP has no property or another text for tags 0x9c9b") in found.left_out


def test_a_date_that_a_sidecar_has_otherwise_or_cannot_have_is_named(tmp_path: Path) -> None:
    """And a comment in an encoding that is not known. Latin 1 is read."""
    image = directory(
        [text(0x0132, "2024:05"), Tag(0x8769, LONG, (100).to_bytes(4, "little")), Tag(0x010E, 2, b"Caf\xe9\0")],
        8,
        "little",
    )
    photo = directory([text(0x9003, "2019:05:01 12:30:00"), Tag(0x9286, 7, b"JIS\0\0\0\0\0\x41\x42")], 100, "little")
    dated = packet("<exif:DateTimeOriginal>2020-05-01T12:30:00</exif:DateTimeOriginal>")
    source = jpeg(exif_segment(b"II*\0\x08\0\0\0" + image.ljust(92, b"\0") + photo), xmp_segment(dated))
    found, _ = deliver(source, SIGNED["png"], tmp_path, label=False)
    named = LeftOut("exif", "XMP has no property or another text for tags 0x0132, 0x9003, 0x9286")
    assert named in found.left_out
    assert "Café".encode() in (found.sidecar or b"")


@judges.NEEDED
def test_the_time_of_a_position_is_in_a_sidecar(tmp_path: Path) -> None:
    """Only if the date is there too: XMP has one property for both."""
    moment = [rational(0x0007, "little", (7, 1), (8, 1), (95, 10)), text(0x001D, "2024:07:14")]
    image = directory([text(0x013B, "Bo"), Tag(0x8825, LONG, (100).to_bytes(4, "little"))], 8, "little").ljust(
        92, b"\0"
    )
    data = b"II*\0\x08\0\0\0" + image + directory(moment, 100, "little")
    found, _ = deliver(jpeg(exif_segment(data)), SIGNED["png"], tmp_path, label=False)
    path = tmp_path / "photo.xmp"
    path.write_bytes(found.sidecar or b"")
    assert judges.read([path])[path]["XMP-exif:GPSDateTime"] == "2024:07:14 07:08:09.50Z"


def test_a_licence_that_is_a_map_is_left_out_with_no_location(tmp_path: Path) -> None:
    source = jpeg(photoshop(resource(0x040B, b"https://www.openstreetmap.org/#map=17/54.32/10.14")))
    found, content = deliver(source, result("jpg"), tmp_path, "no-location", label=False)
    assert b"openstreetmap" not in content
    assert found.left_out == (LeftOut("xmp", "no-location leaves out xmpRights:WebStatement"),)


def test_a_text_that_xmp_has_otherwise_is_named(tmp_path: Path) -> None:
    source = png(itxt("XML:com.adobe.xmp", packet()), itxt("Title", b"Pier"), itxt("Author", b"Ada Example"))
    found, content = deliver(source, result("jpg"), tmp_path, label=False)
    assert b"Harbour" in content
    assert found.left_out == (LeftOut("PNG texts", "XMP has no property or another text for Title"),)


def test_thousands_of_properties_and_keywords_are_carried_over(tmp_path: Path) -> None:
    """The time grew with the square of their number, and more."""
    many = "".join(f"<photoshop:p{number}>{'v' * 40}</photoshop:p{number}>" for number in range(4000))
    keywords = b"".join(dataset(25, b"%x" % number) for number in range(20_000))
    _, content = deliver(png(itxt("XML:com.adobe.xmp", packet(many))), result("jpg"), tmp_path)
    blocks = transfer.read(FileReader(io.BytesIO(content), len(content)))
    assert len(xmp.parse(blocks.xmp, blocks.extended_xmp).properties) >= 4000
    _, content = deliver(jpeg(*_in_segments(resource(0x0404, keywords))), result("png"), tmp_path)
    assert content.count(b"<rdf:li>") >= 20_000
    found, _ = deliver(png(itxt("XML:com.adobe.xmp", packet("<dc:source/>" * 20_001))), result("jpg"), tmp_path)
    assert found.left_out[0] == LeftOut("xmp", "it has too many properties")


def _in_segments(data: bytes) -> list[bytes]:
    return [segment(0xED, b"Photoshop 3.0\0" + data[at : at + 60_000]) for at in range(0, len(data), 60_000)]
