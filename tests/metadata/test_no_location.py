"""`no-location`, judged by exiftool: every tag that it can write and whose name is about a place is gone afterwards."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lumendrop.metadata.places import is_coordinates, is_place, may_state_place
from tests.metadata import judges
from tests.metadata.delivering import deliver, result
from tests.metadata.files import block, dataset, exif_segment, itxt, jpeg, packet, photoshop, png, resource, xmp_segment
from tests.metadata.test_carry_over import SIGNED

ABOUT_PLACES = re.compile(
    r"gps|locat|city|country|state|province|region|place|lat|long|coord|altitude|geo|cell|county|municip|locality|island"
    r"|water_?body|continent|^coverage|MobileNetwork",
    re.IGNORECASE,
)
VALUES = {"integer": "47", "real": "47.25", "rational": "47.25", "date": "2001:02:03 04:05:06", "boolean": "True"}
MARKER = "Kilmarkerstead"
# Tags whose names match, but that state no place of the photo, and why.
KEPT = {
    r"ISOSpeedLatitude": "how exact the sensitivity is",
    r"^XMP-(mwg-rs|MP):|:(ImageRegion|DataOnScreen)": "rectangles within the picture",
    r"^XMP-plus:|:Creator(City|Country|Region)": "how to contact the author or the licensor",
    r"^XMP-lr:WeightedFlatSubject": "keywords, which are texts",
    r"^XMP-cr[sd]:": "settings of an editor",
    r"-platform|Statement|Relat(ion|ed|ive)|Platform|Placed|Placement|Plate|Translation|Compilation|Lateral": "words",
    r"ImageOrientation": "how the picture is held",
}


def _list(group: str) -> list[tuple[str, str]]:
    """The tags of a group that exiftool can write and whose name is about a place, and a value for each."""
    done = subprocess.run(["exiftool", "-s", "-listx", f"-{group}:all"], capture_output=True, check=True, timeout=60)
    return [
        (f"{tag.get('g1') or table.get('g1')}:{tag.get('name')}", VALUES.get(tag.get("type", ""), MARKER))
        for table in ET.fromstring(done.stdout).iter("table")  # noqa: S314  # exiftool's own list
        for tag in table.iter("tag")
        if tag.get("writable") == "true" and ABOUT_PLACES.search(tag.get("name", ""))
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG with all these tags."""
    path = tmp_path_factory.mktemp("places") / "places.jpg"
    path.write_bytes(jpeg())
    arguments = [f"-{name}={value}" for group in ("XMP", "IPTC", "GPS") for name, value in _list(group)]
    file = path.with_suffix(".args")
    file.write_text("\n".join([*arguments, f"-IFD0:GeoTiffAsciiParams={MARKER}"]))
    subprocess.run(
        ["exiftool", "-q", "-q", "-n", "-m", "-overwrite_original", "-@", str(file), str(path)],
        check=False,
        timeout=60,
    )
    return path


def _about_places(path: Path) -> set[str]:
    done = subprocess.run(["exiftool", "-G1", "-s", "-a", "-n", str(path)], capture_output=True, text=True, check=True)
    found = {re.sub(r"^\[(.+?)\] +(\S+) *:.*", r"\1:\2", line) for line in done.stdout.splitlines()}
    return {one for one in found if ABOUT_PLACES.search(one.partition(":")[2]) and "File:" not in one}


@judges.NEEDED
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "xmp"])
def test_no_tag_about_a_place_is_left(extension: str, source: Path, tmp_path: Path) -> None:
    before = _about_places(source)
    assert len(before) > 180
    signed = extension == "xmp"
    target = SIGNED["jpg"] if signed else result(extension)
    found, content = deliver(source.read_bytes(), target, tmp_path, "no-location", label=False)
    path = tmp_path / f"delivered.{extension}"
    path.write_bytes((found.sidecar or b"") if signed else content)
    after = _about_places(path) & before
    assert [one for one in sorted(after) if not any(re.search(kept, one) for kept in KEPT)] == []
    assert after >= {"XMP-mwg-rs:RegionName", "XMP-iptcCore:CreatorCity"}


PLACES = (
    *(
        "lat",
        "lon",
        "home-lat",
        "geo:long",
        "exif:GPSInfo",
        "gps_position",
        "shotlocation",
        "Location",
        "address",
        "Alt",
    ),
    *("city", "town_name", "state", "stateProvince", "county", "region", "postal-code", "LocationAreaCode"),
    *("hdrp_makernote", "verbatimLocality", "islandGroup", "waterBody", "spatial", "coverage", "place", "venue"),
    *(
        "GPSinfo",
        "GPStrack",
        "GPSdata",
        "GEOhash",
        "LATdeg",
        "coord",
        "coords",
        "latlng",
        "latlon",
        "latlong",
        "loc",
        "home_address",
        "addr",
    ),
    *(
        "hometown",
        "easting",
        "northing",
        "utm",
        "mgrs",
        "what3words",
        "plus_code",
        "pluscode",
        "osm",
        "poi",
        "gpx",
        "bssid",
        "heading",
    ),
    *("prefecture", "nation", "shotplace", "formatted_address", "gpsinfo", "gpstrack", "geohash"),
)
COORDINATES = (
    *("52.5163,13.3777", "52.5,13.3", "-33.8 151.2", "(52.5163; 13.3777)", "[52.5, 13.3, 34]", "52.5163N", "52°N"),
    *(
        "N 52.5163 E 13.3777",
        "52°31'12.5\"N 13°22'40.1\"E",
        "52° 31\u2032 12\u2033 N",
        "52 31 12 N 13 22 40 E",
        "54,19.20567N",
        "52 deg 31' 12.00\" N, 13 deg 24' 18.00\" E",
        "52,5200; 13,4050",
        "\u221233.8688, 151.2093",
    ),
    *("geo:52.5,13.3", "9F4MGC2M+R4 Berlin", "https://maps.app.goo.gl/abc", "+52.5163+013.3777/", "33U VU 90000 20000"),
    *("33U 392000 5820000", "///filled.count.soap", "lat=52.5", '{"lat":52.5,"lng":13.3}', "POINT(13.3 52.5)"),
)
OTHER_VALUES = (
    *("2024:05:06 07:08:09", "2024-05-06T07:08:09+02:00", "1/250", "2.8", "24-70mm f/2.8", "5D", "500N", "X-T5", "7 N"),
    *(
        "24.0 105.0 2.8 4.0",
        "24/1 105/1",
        "https://example.com/licence",
        "0, 0",
        "1.8.1",
        "Boats at 52.5, 13.3 at dusk",
    ),
    *("EOS 5D S", "1.8/50.0", "100 W", "1920x1080", "C++"),
)
KNOWN = (
    *(
        "album",
        "team",
        "note",
        "date-taken",
        "DateTimeOriginal",
        "cameramodel",
        "lens_model",
        "exposure-time",
        "Author",
    ),
    *(
        "copyright-notice",
        "Title",
        "caption",
        "keywords",
        "rating",
        "Creation Time",
        "Project",
        "time-zone",
        "metadata",
    ),
)
UNKNOWN = ("ort", "ville", "home", "x", "street", "area", "time-lat", "site", "id" * 50)
OTHERS = (
    *(
        "Title",
        "Comment",
        "album",
        "altText",
        "longExposure",
        "template",
        "statement",
        "velocity",
        "opacity",
        "counter",
    ),
    *("allocation", "placeholder", "geometry", "latest", "WebStatement", "status", "PlacedXResolution"),
)


@pytest.mark.parametrize("name", PLACES)
def test_a_name_about_a_place(name: str) -> None:
    assert is_place(name)


@pytest.mark.parametrize("name", OTHERS)
def test_another_name(name: str) -> None:
    assert not is_place(name)


@pytest.mark.parametrize("value", COORDINATES)
def test_a_value_that_is_coordinates(value: str) -> None:
    assert is_coordinates(value)
    assert may_state_place("note", value)


@pytest.mark.parametrize("value", OTHER_VALUES)
def test_another_value(value: str) -> None:
    assert not is_coordinates(value)


@pytest.mark.parametrize("name", KNOWN)
def test_a_name_of_user_metadata_that_holds_no_place(name: str) -> None:
    assert not may_state_place(name, "Ada")


@pytest.mark.parametrize("name", [*PLACES, *UNKNOWN])
def test_a_name_of_user_metadata_that_may_hold_a_place(name: str) -> None:
    assert may_state_place(name, "Ada")


def test_hostile_values_are_checked_quickly() -> None:
    for part in ("1", "1 ", "5.5", "5°", "lat ", "maps", "photos", " 5.5 ,"):
        assert may_state_place(part * 300 + "?", (part * 1000)[:990] + "?")
        assert not is_coordinates((part * 1000)[:990] + "?")


def test_what_may_state_a_place_is_named(tmp_path: Path) -> None:
    """Properties of unknown namespaces, and texts that are coordinates, wherever they are."""
    elements = (
        '<me:author xmlns:me="urn:me">Ada</me:author><dc:source>geo:52.5,13.3</dc:source>'
        "<dc:subject><rdf:Bag><rdf:li>gull</rdf:li><rdf:li>52.5163,13.3777</rdf:li></rdf:Bag></dc:subject>"
        "<photoshop:GPSinfo>here</photoshop:GPSinfo>"
    )
    iim = dataset(120, b"52.5163 N, 13.3777 E") + dataset(25, b"tern")
    source = jpeg(xmp_segment(packet(elements)), photoshop(resource(0x0404, iim)))
    found, content = deliver(source, result("jpg"), tmp_path, "no-location")
    assert [(one.what, one.why) for one in found.left_out] == [
        ("iptc", "no-location leaves out coordinates"),
        ("xmp", "no-location leaves out dc:source, dc:subject, me:author, photoshop:GPSinfo"),
    ]
    assert b"gull" in content
    assert b"tern" in content
    assert b"52.5" not in content


def test_texts_of_a_png_that_may_state_a_place_are_named(tmp_path: Path) -> None:
    texts = {"GPSinfo": "x", "ort": "Kiel", "Comment": "52.5163,13.3777", "Title": "Harbour", "Project": "one"}
    source = png(*(itxt(keyword, text.encode()) for keyword, text in texts.items()))
    found, content = deliver(source, result("png"), tmp_path, "no-location")
    assert [(one.what, one.why) for one in found.left_out] == [
        ("PNG texts", "no-location leaves out Comment, GPSinfo, ort"),
    ]
    assert b"Harbour" in content
    assert b"52.5163" not in content


def test_lists_are_no_altitudes(tmp_path: Path) -> None:
    """Titles, captions, and copyright are `rdf:Alt`, one item for each language."""
    elements = '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">Ada 2026</rdf:li></rdf:Alt></dc:rights>'
    found, content = deliver(jpeg(xmp_segment(packet(elements))), result("jpg"), tmp_path, "no-location")
    assert not found.left_out
    assert b"Ada 2026" in content


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + "52.5\N{DEGREE SIGN}N   ".encode("utf-16-le"),
        b"UNICODE\0" + "\ufeff52.5\N{DEGREE SIGN}N  ".encode("utf-16-be"),
        b"ASCII\0\0\0" + "52.5163\N{DEGREE SIGN} N        ".encode("latin-1"),
    ],
)
def test_coordinates_in_a_comment_are_found_in_every_encoding(tmp_path: Path, comment: bytes) -> None:
    before = b"ASCII\0\0\0seen from the pier"
    assert (block("canon").count(before), len(comment)) == (1, len(before))
    data = block("canon").replace(before, comment)
    found, content = deliver(jpeg(exif_segment(data)), result("jpg"), tmp_path, "no-location")
    assert {one.what for one in found.left_out} == {"maker notes", "exif tag 0x9286"}
    assert comment[8:] not in content


def test_a_comment_of_exif_that_is_coordinates_is_left_out(tmp_path: Path) -> None:
    data = block("canon").replace(b"seen from the pier", b"52.5163,13.3777 \0\0")
    found, content = deliver(jpeg(exif_segment(data)), result("jpg"), tmp_path, "no-location")
    assert {one.what for one in found.left_out} == {"maker notes", "exif tag 0x9286"}
    assert b"A harbour at dusk" in content
    assert b"52.5163" not in content


def test_unknown_namespaces_and_private_blocks_are_searched_too(tmp_path: Path) -> None:
    """Inside of structures and as attributes, and IPTC outside of the standard."""
    inner = (
        '<a:b xmlns:a="urn:a"><rdf:Bag><rdf:li a:homeTown="M" rdf:parseType="Resource"><a:lat>M</a:lat>'
        "</rdf:li></rdf:Bag></a:b>"
        '<d:taxonRemarks xmlns:d="http://rs.tdwg.org/dwc/terms/">M</d:taxonRemarks>'
    )
    iim = b"".join(dataset(number, MARKER.encode(), record) for number, record in ((232, 2), (27, 2), (10, 240)))
    resources = photoshop(resource(0x0404, iim + dataset(25, b"gull")))
    source = jpeg(xmp_segment(packet(inner.replace("M", MARKER))), resources)
    for choice, count in (("keep", 6), ("no-location", 0)):
        _, content = deliver(source, result("jpg"), tmp_path, choice)  # type: ignore[arg-type]
        assert content.count(MARKER.encode()) == count
        assert b"gull" in content
