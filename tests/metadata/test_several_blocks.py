"""Files with several blocks of a kind: one that can't be read hides no other one, and what is ignored is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumendrop.metadata.blocks import LeftOut
from tests.metadata import judges
from tests.metadata.delivering import deliver, result
from tests.metadata.files import (
    block,
    chunk,
    dataset,
    exif_segment,
    heic,
    itxt,
    jpeg,
    packet,
    photoshop,
    png,
    raw_profile,
    resource,
    segment,
    webp,
    xmp_segment,
)

EXIF, BROKEN = block("canon"), b"MM\0*\0\0\0\1"
XMP, BROKEN_XMP = packet(), b"<x:xmpmeta"
IPTC, BROKEN_IPTC = dataset(25, b"gull") + dataset(80, b"Ada"), b"\x1c\x02\x19\0\x20gull"
PROFILE = raw_profile("exif", b"Exif\0\0" + EXIF)


def iptc(data: bytes) -> bytes:
    return photoshop(resource(0x0404, data))


def several_in_webp(kind: bytes, first: bytes, second: bytes) -> bytes:
    """A WebP with two chunks of this kind."""
    base = webp(*((first, b"") if kind == b"EXIF" else (b"", first)))
    more = kind + len(second).to_bytes(4, "little") + second + bytes(len(second) % 2)
    return base[:4] + (len(base) - 8 + len(more)).to_bytes(4, "little") + base[8:] + more


def several_in_heic(first: bytes) -> bytes:
    """A HEIC with two EXIF items: what is XMP in the source is declared as EXIF here."""
    data = heic(EXIF, bytes(4) + first)
    return data.replace(b"mime\0application/rdf+xml\0", b"Exif\0application/rdf+xml\0")


BROKEN_FIRST = {
    "exif.jpg": (jpeg(exif_segment(BROKEN), exif_segment(EXIF)), "exif"),
    "xmp.jpg": (jpeg(xmp_segment(BROKEN_XMP), xmp_segment(XMP)), "xmp"),
    "iptc.jpg": (jpeg(iptc(BROKEN_IPTC), iptc(IPTC)), "iptc"),
    "profile.png": (png(PROFILE, chunk(b"eXIf", BROKEN)), "exif"),
    "exif.png": (png(chunk(b"eXIf", BROKEN), chunk(b"eXIf", EXIF)), "exif"),
    "xmp.png": (png(itxt("XML:com.adobe.xmp", BROKEN_XMP), raw_profile("xmp", XMP)), "xmp"),
    "iptc.png": (png(raw_profile("iptc", BROKEN_IPTC), raw_profile("8bim", resource(0x0404, IPTC))), "iptc"),
    "exif.webp": (several_in_webp(b"EXIF", BROKEN, EXIF), "exif"),
    "xmp.webp": (several_in_webp(b"XMP ", BROKEN_XMP, XMP), "xmp"),
}
SECOND = {
    "exif.jpg": (jpeg(exif_segment(EXIF), exif_segment(block("sony"))), "exif"),
    "xmp.jpg": (jpeg(xmp_segment(XMP), xmp_segment(packet("", 'xmp:Rating="1"'))), "xmp"),
    "iptc.jpg": (jpeg(iptc(IPTC), iptc(dataset(25, b"tern"))), "iptc"),
    "exif.png": (png(chunk(b"eXIf", EXIF), chunk(b"eXIf", block("sony"))), "exif"),
    "profile.png": (png(raw_profile("exif", b"Exif\0\0" + block("sony")), chunk(b"eXIf", EXIF)), "exif"),
    "xmp.webp": (several_in_webp(b"XMP ", XMP, packet("", 'xmp:Rating="1"')), "xmp"),
    "exif.webp": (several_in_webp(b"EXIF", EXIF, block("sony")), "exif"),
}
CONTENT = {"exif": b"Canon EOS R5", "xmp": b"Harbour", "iptc": b"gull"}


@judges.NEEDED
@pytest.mark.parametrize("name", BROKEN_FIRST)
def test_a_broken_block_does_not_hide_one_that_can_be_read(name: str, tmp_path: Path) -> None:
    source, kind = BROKEN_FIRST[name]
    found, content = deliver(source, result("jpg"), tmp_path, label=False)
    assert CONTENT[kind] in content
    assert kind in found.carried
    assert [one.what for one in found.left_out] == [kind]
    path = tmp_path / "delivered.jpg"
    path.write_bytes(content)
    assert judges.problems(judges.read([path])[path]) == []
    assert judges.exiv2_problems([path]) == ""


@pytest.mark.parametrize("name", SECOND)
def test_a_block_that_is_ignored_is_named(name: str, tmp_path: Path) -> None:
    source, kind = SECOND[name]
    found, content = deliver(source, result("jpg"), tmp_path, label=False)
    assert CONTENT[kind] in content
    assert b"ILCE-7M4" not in content
    assert found.left_out == (LeftOut(kind, "the file has another one"),)


def test_an_empty_block_and_a_copy_hide_and_lose_nothing(tmp_path: Path) -> None:
    for source in (
        png(PROFILE, chunk(b"eXIf", b"")),
        png(PROFILE, chunk(b"eXIf", EXIF)),
        jpeg(exif_segment(b""), exif_segment(EXIF), exif_segment(EXIF)),
        several_in_webp(b"EXIF", EXIF, EXIF),
    ):
        found, content = deliver(source, result("jpg"), tmp_path, label=False)
        assert CONTENT["exif"] in content
        assert found.left_out == ()


def test_a_second_item_of_a_heic_is_named(tmp_path: Path) -> None:
    found, content = deliver(several_in_heic(block("sony")), result("jpg"), tmp_path, label=False)
    assert (b"Canon EOS R5" in content) is (b"ILCE-7M4" not in content)
    assert found.left_out == (LeftOut("exif", "the file has another one"),)


def test_a_broken_extension_does_not_hide_its_packet(tmp_path: Path) -> None:
    guid = b"A" * 32
    main = packet(attributes=f'xmpNote:HasExtendedXMP="{guid.decode()}"')
    header = b"http://ns.adobe.com/xmp/extension/\0" + guid + len(BROKEN_XMP).to_bytes(4, "big") + bytes(4)
    source = jpeg(xmp_segment(main), segment(0xE1, header + BROKEN_XMP))
    found, content = deliver(source, result("jpg"), tmp_path, label=False)
    assert CONTENT["xmp"] in content
    assert found.left_out == (LeftOut("xmp extension", "it is not well-formed XML"),)


def test_thousands_of_blocks_are_not_read(tmp_path: Path) -> None:
    many = [exif_segment(BROKEN + number.to_bytes(4, "big")) for number in range(2000)]
    found, _ = deliver(jpeg(*many), result("jpg"), tmp_path, label=False)
    assert {one.what for one in found.left_out} == {"exif"}
    assert len(found.left_out) < 10


@pytest.mark.parametrize(
    ("damage", "why"), [(b"8BIM\x04\x25\0\0\0\0\0\x10abc", "one is cut short"), (b"?" * 20, "one is damaged")]
)
def test_resources_before_a_damage_are_kept(damage: bytes, why: str, tmp_path: Path) -> None:
    iim = resource(0x0404, IPTC)
    for source in (jpeg(photoshop(iim, damage)), png(raw_profile("8bim", iim + damage))):
        found, content = deliver(source, result("jpg"), tmp_path, label=False)
        assert b"gull" in content
        assert found.carried == ("iptc",)
        assert [one.why for one in found.left_out] == [why]


def test_resources_in_a_segment_behind_a_damage_are_found(tmp_path: Path) -> None:
    source = jpeg(photoshop(resource(0x03ED, bytes(8)), b"?" * 20), iptc(IPTC))
    found, content = deliver(source, result("jpg"), tmp_path, label=False)
    assert b"gull" in content
    assert found.left_out == (LeftOut("Photoshop resources", "one is damaged"),)


@judges.NEEDED
@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_datasets_before_a_damage_are_kept(extension: str, tmp_path: Path) -> None:
    source = jpeg(iptc(IPTC + BROKEN_IPTC))
    found, content = deliver(source, result(extension), tmp_path, label=False)
    assert b"gull" in content
    assert found.carried == ("iptc",)
    assert found.left_out == (LeftOut("iptc", "a dataset is cut short"),)
    path = tmp_path / f"delivered.{extension}"
    path.write_bytes(content)
    assert judges.problems(judges.read([path])[path]) == []


@pytest.mark.parametrize("rest", [b"???", b"????"])
def test_a_dataset_that_swallows_another_one_is_not_kept(rest: bytes, tmp_path: Path) -> None:
    """Its size is wrong, so that `no-location` would not see the place in it."""
    swallowing = bytes([0x1C, 2, 120, 0, 16]) + b"dusk" + dataset(90, b"Kiel") + rest
    source = jpeg(iptc(IPTC + swallowing))
    _, content = deliver(source, result("jpg"), tmp_path, "no-location", label=False)
    assert b"gull" in content
    assert b"Kiel" not in content
