"""`no-location`, judged by exiftool: every tag that it can write and whose name is about a place is gone afterwards."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lumendrop.metadata.places import is_place
from tests.metadata import judges
from tests.metadata.delivering import deliver, result
from tests.metadata.files import dataset, jpeg, packet, photoshop, resource, xmp_segment
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
)
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
