"""What the delivered photo has of its upload's metadata, for each of the files, and that its image stays the same."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import pyvips

from lumendrop.containers import FileReader, jpeg, png, webp
from lumendrop.containers.jpeg import SOS
from lumendrop.metadata import transfer
from lumendrop.metadata.blocks import LeftOut
from tests.metadata import delivering, judges, table
from tests.metadata.conftest import Delivered
from tests.metadata.delivering import MODEL, deliver, result
from tests.metadata.files import (
    FILES,
    block,
    chunk,
    dataset,
    exif_segment,
    heic,
    itxt,
    packet,
    photoshop,
    picture,
    raw_profile,
    resource,
    segment,
    upload,
    xmp_segment,
    ztxt,
)
from tests.metadata.files import jpeg as jpeg_with
from tests.metadata.judges import Tags
from tests.metadata.makers import Order

EXTENSIONS = list(delivering.RESULTS)
LOCATION = re.compile(r"GPS|City|Location|State$|Country|Sub-location")


@judges.NEEDED
def test_nothing_is_lost_that_was_not_dropped_on_purpose(
    folder: Path, tags: dict[Path, Tags], delivered: Delivered
) -> None:
    lost = {
        path.name: found
        for name, ways in delivered.items()
        for path in ways.values()
        if (found := judges.compare(tags[folder / name], tags[path])["lost"])
    }
    assert lost == {}


@judges.NEEDED
def test_exiftool_finds_nothing_wrong(tags: dict[Path, Tags], delivered: Delivered) -> None:
    paths = [path for ways in delivered.values() for path in ways.values()]
    assert {path.name: judges.problems(tags[path]) for path in paths if judges.problems(tags[path])} == {}


@judges.NEEDED
def test_exiv2_reads_everything(delivered: Delivered) -> None:
    assert judges.exiv2_problems(path for ways in delivered.values() for path in ways.values()) == ""


@judges.NEEDED
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_old_pixels_are_not_described(extension: str, tags: dict[Path, Tags], delivered: Delivered) -> None:
    for name, ways in delivered.items():
        found = tags[ways[extension]]
        assert found.get("IFD0:Orientation", 1) == 1, name
        assert found.get("XMP-tiff:Orientation", 1) == 1, name
        assert (found.get("ExifIFD:ExifImageWidth", 96), found.get("ExifIFD:ExifImageHeight", 72)) == (96, 72), name
        assert not [one for one in found if re.search(r"^IFD1|hdrgm|GContainer|MotionPhoto|MicroVideo", one)], name


@judges.NEEDED
@pytest.mark.parametrize("order", ["little", "big"])
def test_pointers_can_have_the_type_of_directories(order: Order, tmp_path: Path) -> None:
    """TIFF has a type for pointers to directories (13), which exiftool and exiv2 read as well."""
    source = block("canon", order)
    for tag in (0x8769, 0x8825):
        source = source.replace(*((tag.to_bytes(2, order) + kind.to_bytes(2, order)) for kind in (4, 13)))
    paths = {}
    for choice in ("keep", "no-location"):
        paths[choice] = tmp_path / f"{choice}.jpg"
        _, content = deliver(jpeg_with(exif_segment(source)), result("jpg"), tmp_path, choice)  # type: ignore[arg-type]
        paths[choice].write_bytes(content)
    found = judges.read(paths.values())
    kept, without = (found[path] for path in paths.values())
    assert (kept["ExifIFD:DateTimeOriginal"], kept["GPS:GPSLatitudeRef"]) == ("2024:07:14 21:03:09", "N")
    assert without["ExifIFD:DateTimeOriginal"] == "2024:07:14 21:03:09"
    assert [tag for tag in without if LOCATION.search(tag)] == judges.problems(kept) == judges.problems(without) == []
    assert judges.exiv2_problems(paths.values()) == ""


@judges.NEEDED
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_no_location_leaves_out_coordinates_and_places(extension: str, tmp_path: Path) -> None:
    names = [
        "exif-xmp-iptc.jpg",
        "xmp-attributes.jpg",
        "agency.jpg",
        "profile-iptc.png",
        "exif.heic",
        "xmp.webp",
        "all.png",
    ]
    paths = []
    for name in names:
        paths.append(tmp_path / f"{name}.{extension}")
        _, content = deliver(upload(name), result(extension), tmp_path, "no-location")
        paths[-1].write_bytes(content)
        assert b"54,19" not in content
    found = judges.read(paths)
    assert [tag for path in paths for tag in found[path] if LOCATION.search(tag)] == []
    assert all(
        judges.problems(found[path]) == [] and any(judges.ROLE_OF.get(tag.rpartition(":")[2]) for tag in found[path])
        for path in paths
    )


def test_no_location_leaves_no_bytes_of_the_location_behind(tmp_path: Path) -> None:
    seconds = (1234).to_bytes(4, "little") + (100).to_bytes(4, "little")
    assert seconds in upload("canon-little.jpg")
    for choice, is_there in (("keep", True), ("no-location", False)):
        _, content = deliver(upload("canon-little.jpg"), result("jpg"), tmp_path, choice)  # type: ignore[arg-type]
        assert (seconds in content) is is_there


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_none_without_a_label_delivers_the_result_as_it_is(extension: str, tmp_path: Path) -> None:
    found, content = deliver(upload("exif-xmp-iptc.jpg"), result(extension), tmp_path, "none", label=False)
    assert content == result(extension)
    assert found.carried == ()


@judges.NEEDED
def test_the_label_names_the_source_type_the_model_and_the_software(
    tags: dict[Path, Tags], delivered: Delivered
) -> None:
    for ways in delivered.values():
        for path in ways.values():
            found = tags[path]
            assert found["XMP-iptcExt:DigitalSourceType"].endswith("/digitalsourcetype/algorithmicallyEnhanced")
            event = found["XMP-xmpMM:History"][-1]
            assert (event["SoftwareAgent"], event["Parameters"]) == ("Lumendrop", f"enhanced by {MODEL}")


# ---------------------------------------------------------------- the image


def image_data(extension: str, content: bytes) -> bytes:
    """The compressed image with the tables that it needs: everything but metadata and headers of containers."""
    reader = FileReader(io.BytesIO(content), len(content))
    if extension == "jpg":
        kept = [one for one in jpeg.segments(reader) if not 0xE1 <= one.marker <= 0xEF]
        start = next(one.at for one in kept if one.marker == SOS)
        return b"".join(content[one.at : one.end] for one in kept if one.at < start) + content[start:]
    if extension == "png":
        return b"".join(content[one.at : one.end] for one in png.chunks(reader) if one.type not in (b"eXIf", b"iTXt"))
    kinds = (b"VP8 ", b"VP8L", b"ALPH", b"ICCP")
    return b"".join(content[one.at : one.end] for one in webp.chunks(reader) if one.type in kinds)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_compressed_image_is_identical_and_decodes_to_the_same_pixels(extension: str, delivered: Delivered) -> None:
    before = pyvips.Image.new_from_buffer(result(extension), "", fail_on="warning").write_to_memory()
    data = image_data(extension, result(extension))
    for name, ways in delivered.items():
        content = ways[extension].read_bytes()
        assert image_data(extension, content) == data, name
        after = pyvips.Image.new_from_buffer(content, "", fail_on="warning")
        assert after.write_to_memory() == before, name


# ---------------------------------------------------------------- results with metadata of their own


@judges.NEEDED
def test_technical_tags_of_the_result_stay_and_descriptive_ones_are_the_uploads(tmp_path: Path) -> None:
    own = block("sony", "big", orientation=1).replace(b"A harbour at dusk", b"enhancer's words!")
    _, content = deliver(
        upload("canon-little.jpg"), _with_exif(own.replace(b"\0\0\1\x2c\0\0\0\1", b"\0\0\0\x48\0\0\0\1")), tmp_path
    )
    path = tmp_path / "delivered.jpg"
    path.write_bytes(content)
    found = judges.read([path])[path]
    assert (found["IFD0:XResolution"], found["IFD0:Make"]) == (72, "Canon")
    assert found["IFD0:ImageDescription"] == "A harbour at dusk"
    assert content.count(b"Exif\0\0") == 1
    assert judges.problems(found) == []


def _with_exif(data: bytes) -> bytes:
    return result("jpg")[:20] + exif_segment(data) + result("jpg")[20:]


@pytest.mark.parametrize("choice", ["keep", "none"])
def test_the_results_own_orientation_stays(choice: str, tmp_path: Path) -> None:
    _, content = deliver(upload("orientation-6.jpg"), _with_exif(block("sony", orientation=3)), tmp_path, choice)  # type: ignore[arg-type]
    assert pyvips.Image.new_from_buffer(content, "").get("orientation") == 3


SIGNED = {
    "jpg": result("jpg")[:2]
    + segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x40jumb\0\0\0\x26jumdc2pa\0\x11\0\x10")
    + result("jpg")[2:],
    "png": result("png")[:33] + chunk(b"caBX", b"\0\0\0\x40jumb") + result("png")[33:],
    "webp": result("webp")[:4]
    + (len(result("webp")) + 8).to_bytes(4, "little")
    + result("webp")[8:]
    + b"C2PA\x08\0\0\0\0\0\0\x40jumb",
    "heic": heic(),
}


@judges.NEEDED
@pytest.mark.parametrize("kind", SIGNED)
def test_a_signed_or_heic_result_is_not_modified_and_gets_a_sidecar(kind: str, tmp_path: Path) -> None:
    found, content = deliver(upload("exif-xmp-iptc.jpg"), SIGNED[kind], tmp_path)
    assert content == SIGNED[kind]
    assert any("not modified" in one.why for one in found.left_out)
    sidecar, source = tmp_path / "photo.xmp", tmp_path / "upload.jpg"
    sidecar.write_bytes(found.sidecar or b"")
    source.write_bytes(upload("exif-xmp-iptc.jpg"))
    tags = judges.read([sidecar, source])
    lost = judges.compare(tags[source], tags[sidecar])["lost"]
    roles = {
        "date",
        "GPS",
        "camera",
        "lens",
        "exposure",
        "author",
        "copyright",
        "title",
        "caption",
        "keywords",
        "rating",
    }
    assert [name for name in lost if judges.ROLE_OF.get(name.rpartition(":")[2]) in roles] == []
    assert judges.exiv2_problems([sidecar]) == ""


@pytest.mark.parametrize("extension", ["png", "webp"])
def test_keywords_and_authors_of_iptc_join_those_of_xmp(extension: str, tmp_path: Path) -> None:
    base, iim = upload("nothing.jpg"), dataset(25, b"gull") + dataset(25, b"harb") + dataset(80, b"Cy Eksempel")
    iim += dataset(25, b"h" * 64)  # as much as IPTC allows, so it may have been cut short
    own = packet().replace(b"<rdf:li>boat</rdf:li>", b"<rdf:li>boat</rdf:li><rdf:li>" + b"h" * 70 + b"</rdf:li>")
    source = base[:2] + xmp_segment(own) + photoshop(resource(0x0404, iim)) + base[2:]
    _, content = deliver(source, result(extension), tmp_path)
    assert content.count(b"<rdf:li>gull</rdf:li>") == content.count(b"<rdf:li>Cy Eksempel</rdf:li>") == 1
    assert b"<rdf:li>harb</rdf:li>" in content  # a keyword of its own
    assert b"<rdf:li>" + b"h" * 64 + b"</rdf:li>" not in content
    assert b"<rdf:li>harbour</rdf:li>" in content


# ---------------------------------------------------------------- texts of PNG

CUSTOM = {"Project": "Ærø 2024", "parameters": "steps: 20", "Creation Time": "last summer", "Location": "Pier 3"}
STANDARD = {"Disclaimer": "no sales", "Warning": "flashes", "Source": "scanner 5"}


def _texts(content: bytes) -> dict[str, str]:
    return transfer.read(FileReader(io.BytesIO(content), len(content))).texts


def _with_texts(texts: dict[str, str], base: bytes = b"") -> bytes:
    base = base or picture("PNG")
    return base[:33] + b"".join(itxt(keyword, text.encode()) for keyword, text in texts.items()) + base[33:]


@judges.NEEDED
def test_texts_stay_texts_in_a_png(tmp_path: Path) -> None:
    own = _with_texts({"Project": "the result's", "Software": "enhancer"}, result("png"))
    found, content = deliver(_with_texts(CUSTOM | STANDARD), own, tmp_path)
    assert _texts(content) == CUSTOM | STANDARD | {"Software": "enhancer"}
    assert (found.carried, found.left_out) == (("texts",), ())
    path = tmp_path / "delivered.png"
    path.write_bytes(content)
    tags = judges.read([path])[path]
    assert (tags["PNG:Project"], judges.problems(tags)) == ("Ærø 2024", [])


@judges.NEEDED
@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_standard_texts_become_xmp_elsewhere_and_others_are_named(extension: str, tmp_path: Path) -> None:
    found, content = deliver(_with_texts(CUSTOM | STANDARD), result(extension), tmp_path)
    path = tmp_path / f"delivered.{extension}"
    path.write_bytes(content)
    tags = judges.read([path])[path]
    names = ("XMP-xmpRights:UsageTerms", "XMP-photoshop:Instructions", "XMP-dc:Source")
    assert [tags[name] for name in names] == list(STANDARD.values())
    assert found.left_out == (
        LeftOut("PNG texts", "XMP has no property or another text for Creation Time, Location, Project, parameters"),
    )


def test_no_location_leaves_out_texts_about_places(tmp_path: Path) -> None:
    own = _with_texts({"exif:GPSInfo": "54.3"}, result("png"))
    _, content = deliver(_with_texts(CUSTOM), own, tmp_path, "no-location")
    assert _texts(content).keys() == CUSTOM.keys() - {"Location"}
    assert b"GPSInfo" not in content


def test_hostile_texts_are_bounded(tmp_path: Path) -> None:
    bombs = b"".join(ztxt(f"bomb {number}", b"x" * (3 << 20)) for number in range(2))
    many = b"".join(itxt(f"key {number}", b"text") for number in range(200))
    broken = chunk(b"tEXt", b"\x1b[2J\0x") * 40_000
    base = picture("PNG")
    found, content = deliver(base[:33] + bombs + many + broken + base[33:], result("png"), tmp_path)
    assert len(_texts(content)) == 100
    assert len(content) < 4 << 20
    assert {one.why for one in found.left_out} >= {"it has no valid keyword", "the file has too many texts"}


def test_what_else_of_a_png_is_not_carried_over_is_named(tmp_path: Path) -> None:
    base = picture("PNG")
    chunks = raw_profile("generic", b"settings") + itxt("Comment", b"one") + itxt("Comment", b"two")
    found, _ = deliver(base[:33] + chunks + base[33:], result("png"), tmp_path)
    assert {one.what for one in found.left_out} == {"PNG text Raw profile type generic", "PNG text Comment"}


def test_what_is_damaged_is_left_out_with_a_reason(tmp_path: Path) -> None:
    found, _ = deliver(upload("damaged-header.jpg"), result("jpg"), tmp_path)
    assert [(one.what, one.why) for one in found.left_out] == [("exif", "its header is damaged")]
    assert found.carried == ("xmp",)


def test_an_extension_that_lacks_a_part_is_named(tmp_path: Path) -> None:
    whole = upload("xmp-extended.jpg")
    at = whole.index(b"http://ns.adobe.com/xmp/extension/\0") - 4
    size = int.from_bytes(whole[at + 2 : at + 4], "big") + 2
    found, _ = deliver(whole[:at] + whole[at + size :], result("jpg"), tmp_path)
    assert found.left_out == (LeftOut("xmp extension", "a part of it is missing, or it is too large"),)
    assert "xmp" in found.carried


def test_a_packet_that_declares_entities_is_left_out(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + packet().replace(b"Harbour", b"&b;")
    base = upload("nothing.jpg")
    found, _ = deliver(base[:2] + xmp_segment(bomb) + base[2:], result("jpg"), tmp_path)
    assert [(one.what, one.why) for one in found.left_out] == [("xmp", "it declares entities")]


def test_maker_notes_are_left_out_where_they_would_not_stay_valid(tmp_path: Path) -> None:
    """A PNG has room for more EXIF than a JPEG."""
    large = block("canon", padding=70_000)
    base = result("png")
    found, content = deliver(base[:33] + chunk(b"eXIf", large) + base[33:], result("jpg"), tmp_path)
    assert {one.what for one in found.left_out} == {"maker notes", "exif tag 0x9286"}
    assert b"Canon EOS R5" in content
    assert b"Firmware Version 1.8.1" not in content


def test_the_page_has_a_row_for_each_file() -> None:
    rows = re.findall(r"^\| `(.+?)` \| .*\| (\d+) / (\d+) / (\d+) \|$", table.PAGE.read_text(), re.MULTILINE)
    assert [name for name, *_ in rows] == list(FILES)
    assert {count for _, *lost in rows for count in lost} == {"0"}
