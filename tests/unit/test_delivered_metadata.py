"""deliver, through its handler: what a photo gets of its upload, and that nothing of this costs a photo."""

from __future__ import annotations

import base64
import hashlib
import io
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from lumendrop.containers import FileReader
from lumendrop.metadata import exif, transfer, xmp
from lumendrop.metadata.blocks import Blocks
from tests.metadata.files import block, chunk, exif_segment, heic, jpeg, png, upload
from tests.unit.conftest import LoadFunction
from tests.unit.world import INPUT, OUTPUT, Answer, Context, World, completed, sample

RESULT = jpeg(width=96, height=72)
SIGNED = RESULT[:2] + b"\xff\xeb\0\x20JP\0\1\0\0\0\1\0\0\0\x18jumb\0\0\0\x10jumdc2pa" + RESULT[2:]


@pytest.fixture
def deliver(function: LoadFunction) -> ModuleType:
    return function("deliver")


def put(world: World, body: bytes, key: str = "a/photo.jpg", **more: Any) -> dict[str, Any]:
    """Uploads a photo, and returns the event that delivers its result."""
    version = world.s3.put_object(Bucket=INPUT, Key=key, Body=body, **more)["VersionId"]
    event = sample("deliver")
    event["upload"] |= {"key": key, "version_id": version, "size": len(body), "pixels": "64x48", "sequencer": version}
    return event  # type: ignore[no-any-return]


def run(world: World, deliver: ModuleType, event: Any, result: bytes = RESULT) -> dict[str, Any]:
    """One delivery. Returns its output."""
    world.enhancer.on_status.append(completed())
    world.enhancer.on_result.append(Answer(200, result))
    answer = deliver.handler(event, Context())
    assert answer["state"] == "enhanced"
    return answer["output"]  # type: ignore[no-any-return]


def stored(world: World, key: str = "a/photo.jpg") -> dict[str, Any]:
    found: dict[str, Any] = world.s3.get_object(Bucket=OUTPUT, Key=key)
    return found | {"Body": found["Body"].read()}


def blocks(content: bytes) -> Blocks:
    return transfer.read(FileReader(io.BytesIO(content), len(content)))


def operations(world: World) -> list[str]:
    """The calls about the input bucket."""
    return [one.operation for one in world.calls if INPUT in str(one.request.get("url"))]


# ---------------------------------------------------------------- the file


def test_a_photo_has_its_uploads_metadata_and_the_checksum_of_what_is_delivered(
    world: World, deliver: ModuleType
) -> None:
    output = run(world, deliver, put(world, upload("exif-xmp-iptc.jpg")))

    photo = stored(world)
    found = exif.parse(blocks(photo["Body"]).exif)
    assert found.directories["image"].entries[0x0110].data == b"Canon EOS R5\0"
    assert found.number("exif", exif.PIXEL_WIDTH) == 96
    (sent,) = [one.request for one in world.calls if one.operation == "PutObject" and OUTPUT in one.request["url"]]
    digest = base64.b64encode(hashlib.sha256(photo["Body"]).digest()).decode()
    assert sent["headers"]["x-amz-checksum-sha256"] == digest
    assert output["bytes"] == len(photo["Body"]) > len(RESULT)
    assert (output["carried_over"], output["left_out"]) == (["exif", "xmp", "iptc", "texts"], [])
    assert photo["Metadata"]["carried-over"] == "exif,xmp,iptc,texts"


@pytest.mark.parametrize("label", ["write", "omit"])
def test_the_label_can_be_turned_off(label: str, world: World, function: LoadFunction) -> None:
    run(world, function("deliver", ENHANCEMENT_LABEL=label), put(world, jpeg()))

    properties = xmp.parse(blocks(stored(world)["Body"]).xmp).properties if label == "write" else {}
    assert (f"{{{xmp.IPTC_EXT}}}DigitalSourceType" in properties) is (label == "write")
    assert (stored(world)["Body"] == RESULT) is (label == "omit")


@pytest.mark.parametrize(("choice", "has_gps"), [("keep", True), ("no-location", False)])
def test_one_photo_can_leave_its_location_out(choice: str, has_gps: bool, world: World, deliver: ModuleType) -> None:
    event = put(world, upload("exif-xmp-iptc.jpg"))
    event["options"]["metadata"] = choice
    run(world, deliver, event)

    found = exif.parse(blocks(stored(world)["Body"]).exif)
    assert bool(found.directories["gps"].entries) is has_gps
    assert found.directories["exif"].entries[0x9003].data == b"2024:07:14 21:03:09\0"


def test_none_reads_nothing_of_the_upload(world: World, function: LoadFunction) -> None:
    event = put(world, upload("exif-xmp-iptc.jpg"), Metadata={"album": "summer"}, CacheControl="max-age=60")
    event["options"]["metadata"] = "none"
    world.calls.clear()
    output = run(world, function("deliver", ENHANCEMENT_LABEL="omit"), event)

    assert operations(world) == []
    assert stored(world)["Body"] == RESULT
    assert "album" not in stored(world)["Metadata"]
    assert (output["carried_over"], output["left_out"]) == ([], [])


def test_few_and_small_parts_of_a_large_upload_are_read(world: World, deliver: ModuleType) -> None:
    """PNG's image data here has 2,500 chunks; XMP follows it."""
    data = b"".join(chunk(b"IDAT", bytes(8192)) for _ in range(2500))
    base = png(chunk(b"eXIf", block()), data, after=(upload("xmp.png")[33:-12],))
    event = put(world, base[:-12] + base[-12:], "a/photo.png")
    world.calls.clear()
    output = run(world, deliver, event)

    reads = [
        one.request["headers"]["Range"]
        for one in world.calls
        if one.operation == "GetObject" and INPUT in one.request["url"]
    ]
    assert len(reads) <= 3
    assert sum(int(end) - int(start) + 1 for start, end in (one[6:].split("-") for one in reads)) < 1 << 20
    assert output["carried_over"] == ["exif", "xmp"]


# ---------------------------------------------------------------- a failure costs no photo


def raising(error: Exception) -> Any:
    def fail(**_: object) -> Any:
        raise error

    return fail


ERRORS = {
    "S3 answered AccessDenied": ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"),
    "the upload was deleted": ClientError({"Error": {"Code": "NoSuchVersion"}}, "GetObject"),
    "S3 did not answer (EndpointConnectionError)": EndpointConnectionError(endpoint_url="https://s3"),
    "of an unexpected error (KeyError)": KeyError("x"),
}


@pytest.mark.parametrize("why", ERRORS)
def test_an_upload_that_cant_be_read_is_delivered_without(
    why: str, world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = put(world, upload("exif-xmp-iptc.jpg"))
    monkeypatch.setattr(deliver.UPLOADS, "get_object", raising(ERRORS[why]))
    output = run(world, deliver, event)

    assert output["left_out"] == [f"the file's metadata: {why}"]
    assert stored(world)["Metadata"]["left-out"] == f"the file's metadata: {why}"


def test_a_defect_in_carrying_over_costs_no_photo(
    world: World, deliver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "carry_over", lambda *_: [][0])
    output = run(world, deliver, put(world, upload("exif-xmp-iptc.jpg")))

    assert stored(world)["Body"] == RESULT
    assert output["left_out"] == ["the file's metadata: of an unexpected error (IndexError)"]


def test_a_damaged_block_is_left_out_and_the_others_are_not(world: World, deliver: ModuleType) -> None:
    output = run(world, deliver, put(world, upload("damaged-header.jpg")))

    assert (output["carried_over"], output["left_out"]) == (["xmp"], ["exif: its header is damaged"])


def test_a_redelivery_says_the_same(world: World, deliver: ModuleType) -> None:
    event = put(world, upload("damaged-header.jpg"))
    first = run(world, deliver, event)

    assert run(world, deliver, event) == first


# ---------------------------------------------------------------- the object


def test_the_object_keeps_user_metadata_headers_and_tags(world: World, deliver: ModuleType) -> None:
    event = put(
        world,
        jpeg(),
        Metadata={"album": "summer", "attempt": "7", "same-as": "x", "resolution": "1K"},
        CacheControl="max-age=60",
        ContentDisposition='attachment; filename="photo.jpg"',
        ContentLanguage="da",
        ContentType="binary/octet-stream",
        Tagging="team=photo&place=%C3%86r%C3%B8",
    )
    output = run(world, deliver, event)

    photo = stored(world)
    assert photo["Metadata"]["album"] == "summer"
    assert (photo["Metadata"]["attempt"], photo["Metadata"]["resolution"]) == ("1", "4K")
    assert "same-as" not in photo["Metadata"]
    headers = [photo[name] for name in ("CacheControl", "ContentDisposition", "ContentLanguage", "ContentType")]
    assert headers == ["max-age=60", 'attachment; filename="photo.jpg"', "da", "image/jpeg"]
    tags = world.s3.get_object_tagging(Bucket=OUTPUT, Key="a/photo.jpg")["TagSet"]
    assert {one["Key"]: one["Value"] for one in tags} == {"team": "photo", "place": "Ærø"}
    assert output["left_out"] == []


def test_what_is_about_the_uploads_bytes_or_its_address_is_not_carried_over(world: World, deliver: ModuleType) -> None:
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    redirect = {"WebsiteRedirectLocation": "/other", "StorageClass": "STANDARD_IA"}
    run(
        world,
        deliver,
        put(world, jpeg(), ContentEncoding="identity", Expires=moment, CacheControl="no-cache", **redirect),
    )

    photo = stored(world)
    assert photo["CacheControl"] == "no-cache"
    assert photo.keys().isdisjoint({"ContentEncoding", "Expires", *redirect})


def test_no_location_leaves_out_user_metadata_and_tags_about_places(world: World, deliver: ModuleType) -> None:
    event = put(
        world,
        jpeg(),
        Metadata={"album": "summer", "lat": "54.3", "gps": "x", "note": "54.3, 10.1"},
        Tagging="team=photo&ort=Kiel",
    )
    event["options"]["metadata"] = "no-location"
    output = run(world, deliver, event)

    assert stored(world)["Metadata"].items() >= {"album": "summer"}.items()
    assert stored(world)["Metadata"].keys().isdisjoint({"lat", "gps", "note"})
    tags = world.s3.get_object_tagging(Bucket=OUTPUT, Key="a/photo.jpg")["TagSet"]
    assert tags == [{"Key": "team", "Value": "photo"}]
    assert output["left_out"] == [
        "user metadata: no-location leaves out gps, lat, note",
        "tags: no-location leaves out ort",
    ]


def test_user_metadata_that_has_no_room_is_left_out(world: World, deliver: ModuleType) -> None:
    output = run(world, deliver, put(world, jpeg(), Metadata={"long": "x" * 1900, "short": "y"}))

    photo = stored(world)
    assert photo["Metadata"]["short"] == "y"
    assert photo["Metadata"]["task-id"] == sample("deliver")["task"]["id"]
    assert output["left_out"] == ["user metadata: S3 has no room for long"]


@pytest.mark.parametrize("size", [700, *range(1450, 1650, 20), 1900])
def test_the_object_says_what_had_no_room_as_the_event_does(size: int, world: World, deliver: ModuleType) -> None:
    output = run(world, deliver, put(world, jpeg(), Metadata={"note": "x" * size, "short": "y"}))

    metadata = stored(world)["Metadata"]
    assert {700: True, 1900: False}.get(size, "note" in metadata) is ("note" in metadata)
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048
    assert output["left_out"] == ([] if "note" in metadata else ["user metadata: S3 has no room for note"])
    assert metadata.get("left-out", "") == "; ".join(output["left_out"])


def test_a_long_key_and_many_profiles_leave_room_for_what_is_left_out(world: World, deliver: ModuleType) -> None:
    event = put(world, upload("damaged-header.jpg"), "a/" + "k" * 1000 + ".jpg", Metadata={"note": "x"})
    event["options"]["profile_ids"] = ["p" * 128] * 20
    output = run(world, deliver, event)

    metadata = stored(world, "a/" + "k" * 1000 + ".jpg")["Metadata"]
    assert output["left_out"] == ["exif: its header is damaged", "user metadata: S3 has no room for profile-ids"]
    assert (metadata["left-out"], metadata["note"]) == ("; ".join(output["left_out"]), "x")


def test_what_is_left_out_is_bounded_and_printable(world: World, deliver: ModuleType) -> None:
    """40,000 damaged chunks, hundreds of texts, and keywords that a header can't hold."""
    hostile = b"".join(chunk(b"tEXt", f"k\xff; {number}".encode("latin-1") + b"\0text") for number in range(400))
    body = png(hostile, chunk(b"tEXt", b"\x1b[2J\0x") * 40_000)
    output = run(world, deliver, put(world, body, "a/photo.png"))

    text = stored(world, output["key"])["Metadata"]["left-out"]
    assert text == "; ".join(output["left_out"])
    assert len(text) <= 600
    assert text.isprintable()
    assert text.isascii()
    assert output["left_out"][-1].endswith(" more")


@pytest.mark.parametrize("operation", ["GetObjectTagging", "PutObject"])
def test_tags_that_are_refused_cost_no_photo(operation: str, world: World, deliver: ModuleType) -> None:
    event = put(world, jpeg(), Tagging="team=photo")
    denied = ClientError({"Error": {"Code": "AccessDenied"}}, operation)

    def refuse(model: Any, params: dict[str, Any], **_: object) -> None:
        if model.name == operation and (operation != "PutObject" or "x-amz-tagging" in params["headers"]):
            raise denied

    events = deliver.S3.meta.events if operation == "PutObject" else deliver.UPLOADS.meta.events
    events.register(f"before-call.s3.{operation}", refuse)
    try:
        output = run(world, deliver, event)
    finally:
        events.unregister(f"before-call.s3.{operation}", refuse)
    assert output["left_out"] == ["tags: S3 answered AccessDenied"]
    assert stored(world)["Metadata"]["left-out"] == "tags: S3 answered AccessDenied"
    assert world.s3.get_object_tagging(Bucket=OUTPUT, Key="a/photo.jpg")["TagSet"] == []


# ---------------------------------------------------------------- sidecars


@pytest.mark.parametrize(("key", "result"), [("a/photo.jpg", SIGNED), ("a/photo.heic", heic())], ids=["c2pa", "heic"])
def test_a_result_that_is_not_modified_has_a_sidecar(
    key: str, result: bytes, world: World, deliver: ModuleType
) -> None:
    output = run(world, deliver, put(world, upload("exif-xmp-iptc.jpg"), key), result)

    assert stored(world, key)["Body"] == result
    assert output["sidecar"] == f"{key}.xmp"
    sidecar = stored(world, f"{key}.xmp")
    assert f"{{{xmp.EXIF}}}GPSLatitude" in xmp.parse(sidecar["Body"]).properties
    assert sidecar["Metadata"]["source-version-id"] == stored(world, key)["Metadata"]["source-version-id"]
    assert any("not modified" in one for one in output["left_out"])


def test_a_foreign_object_is_not_replaced_by_a_sidecar(world: World, deliver: ModuleType) -> None:
    event = put(world, upload("exif-xmp-iptc.jpg"))
    world.s3.put_object(Bucket=world.output_bucket, Key="a/photo.jpg.xmp", Body=b"own")
    output = run(world, deliver, event, SIGNED)

    assert stored(world, "a/photo.jpg.xmp")["Body"] == b"own"
    assert output["sidecar"] is None
    assert any(one.startswith("sidecar: an object") for one in output["left_out"])


def test_a_newer_upload_replaces_the_sidecar_too(world: World, deliver: ModuleType) -> None:
    for body, model in (("canon-little.jpg", "Canon EOS R5"), ("nikon-big.jpg", "NIKON Z 8")):
        event = put(world, upload(body))
        event["upload"]["sequencer"] = {"canon-little.jpg": "01", "nikon-big.jpg": "02"}[body]
        run(world, deliver, event, SIGNED)
        assert model.encode() in stored(world, "a/photo.jpg.xmp")["Body"]


# ---------------------------------------------------------------- dimensions


@pytest.mark.parametrize(
    ("pixels", "orientation", "smaller", "warnings"),
    [
        ("64x48", 1, False, []),
        ("4032x3024", 1, True, []),
        ("48x64", 6, False, []),
        ("48x64", 1, False, ["aspect_ratio_changed"]),
        ("64x48", 6, False, ["aspect_ratio_changed"]),
        (None, 1, False, []),
    ],
)
def test_a_smaller_result_and_another_ratio_are_marked(
    pixels: str | None, orientation: int, smaller: bool, warnings: list[str], world: World, deliver: ModuleType
) -> None:
    event = put(world, jpeg(exif_segment(block(orientation=orientation))))
    event["upload"]["pixels"] = pixels
    output = run(world, deliver, event)

    assert (output["smaller"], output["warnings"]) == (smaller, warnings)
    assert stored(world)["Metadata"].get("warnings", "") == ",".join(warnings)


def test_what_s3_can_store_but_not_take_again_is_left_out(world: World, deliver: ModuleType) -> None:
    event = put(world, jpeg(), Metadata={"album": "summer"})

    def answer(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
        parsed["Metadata"]["place"] = "\u00c6r\u00f8"
        parsed["ContentLanguage"] = "d\u00e4"

    deliver.UPLOADS.meta.events.register("after-call.s3.GetObject", answer)
    try:
        output = run(world, deliver, event)
    finally:
        deliver.UPLOADS.meta.events.unregister("after-call.s3.GetObject", answer)
    assert output["left_out"] == ["ContentLanguage: it is not ASCII", "place: it is not ASCII"]
    assert stored(world)["Metadata"]["album"] == "summer"
