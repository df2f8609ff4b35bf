"""Photos of every format, size, and orientation, and options for one photo."""

from contextlib import suppress

import pytest

from tests.e2e import photos
from tests.e2e.photos import difference, opened
from tests.e2e.pipeline import Pipeline, Upload, WaitTimeout
from tests.metadata import files as metadata_files

JPEG_AND_PNG = {
    "photos/plain.jpg": (photos.jpeg(), "photos/plain.jpg"),
    "photos/IMG_1.JPG": (photos.jpeg(), "photos/IMG_1.JPG"),
    "photos/scan.jpeg": (photos.jpeg(), "photos/scan.jpeg"),
    "photos/no extension": (photos.jpeg(), "photos/no extension.jpg"),
    "photos/really a jpeg.png": (photos.jpeg(), "photos/really a jpeg.png.jpg"),
    "photos/opaque.png": (photos.png(), "photos/opaque.png.jpg"),
    "photos/transparent.png": (photos.transparent_png(), "photos/transparent.png"),
    "photos/web.webp": (photos.webp(), "photos/web.webp.jpg"),
}
HEIC = "photos/IMG_2.HEIC"
PORTRAIT = "photos/portrait.jpg"
LARGE = "photos/12 megapixels.jpg"
OPTIONS = "photos/options.jpg"
DESCRIBED = "photos/described.jpg"
PROFILES = "photos/profiles.jpg"
ONE_NAME = ("photos/pair.webp", "photos/pair.webp.jpg")


@pytest.fixture(scope="module")
def uploads(pipeline: Pipeline) -> dict[str, Upload]:
    large = pipeline.drop(LARGE, photos.twelve_megapixels(), Metadata={"resolution": "4K"})
    plain = {key: body for key, (body, _) in JPEG_AND_PNG.items()}
    more = {HEIC: photos.heic(), PORTRAIT: photos.portrait(), ONE_NAME[0]: photos.webp(), ONE_NAME[1]: photos.jpeg()}
    dropped = {LARGE: large} | pipeline.drop_folder(plain | more)
    options = {"resolution": "1K", "creativity": "0.3", "resemblance": "0.9", "camera": "old"}
    dropped[OPTIONS] = pipeline.drop(OPTIONS, photos.jpeg(), Metadata=options)
    more_of_it = {"Tagging": "team=photo", "CacheControl": "max-age=60", "Metadata": {"album": "summer"}}
    dropped[DESCRIBED] = pipeline.drop(DESCRIBED, metadata_files.upload("exif-xmp-iptc.jpg"), **more_of_it)
    dropped[PROFILES] = pipeline.drop(PROFILES, photos.jpeg(), Metadata={"profile-ids": "ann, bob"})
    with suppress(WaitTimeout):  # each test checks its own upload
        pipeline.wait(dropped.values())
    return dropped


@pytest.mark.parametrize("key", JPEG_AND_PNG)
def test_the_output_key_has_the_extension_of_the_result(
    pipeline: Pipeline, uploads: dict[str, Upload], key: str
) -> None:
    body, at = JPEG_AND_PNG[key]
    result = pipeline.enhanced(uploads[key], at)
    assert result.content_type == ("image/png" if at.endswith(".png") else "image/jpeg")
    assert (result.image.width, result.image.height) == (1024, 683)
    assert difference(opened(body), result.image) < 4


def test_a_heic_photo_becomes_a_jpeg(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    result = pipeline.enhanced(uploads[HEIC], f"{HEIC}.jpg")
    assert (result.content_type, result.image.width) == ("image/jpeg", 1024)
    assert difference(opened(photos.png()), result.image) < 4


def test_a_rotated_photo_comes_out_upright(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    stored = opened(photos.portrait())
    assert (stored.width, stored.height) == (96, 64)
    result = pipeline.enhanced(uploads[PORTRAIT]).image
    assert (result.width, result.height) == (683, 1024)
    assert result.get("orientation") == 1
    assert difference(stored.autorot(), result) < 4


def test_a_photo_of_12_megapixels_is_enlarged(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    result = pipeline.enhanced(uploads[LARGE], options={"resolution": "4K"}).image
    assert (result.width, result.height) == (4096, 3072)


def test_metadata_sets_the_options_of_one_photo(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    options = {"resolution": "1K", "creativity": "0.3", "resemblance": "0.9"}
    pipeline.enhanced(uploads[OPTIONS], options=options | {"camera": "old"})
    assert pipeline.tasks(uploads[OPTIONS])[0]["options"] == {"resolution": "1K", "creativity": 0.3, "resemblance": 0.9}


def test_a_photo_keeps_what_its_file_and_its_object_say(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    result = pipeline.enhanced(uploads[DESCRIBED], options={"resolution": "1K", "album": "summer"})
    assert result.image.get("exif-ifd0-Model").startswith("Canon EOS R5")
    assert {"xmp-data", "iptc-data"} <= set(result.image.get_fields())
    found = {"Bucket": pipeline.outputs["OutputBucketName"], "Key": DESCRIBED}
    s3 = pipeline.cloud.client("s3")
    assert s3.head_object(**found)["CacheControl"] == "max-age=60"
    assert s3.get_object_tagging(**found)["TagSet"] == [{"Key": "team", "Value": "photo"}]
    assert pipeline.rows()[uploads[DESCRIBED]]["output"]["smaller"] is False


def test_metadata_sets_the_profiles_of_one_photo(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    pipeline.enhanced(uploads[PROFILES], options={"resolution": "1K", "profile-ids": "ann,bob"})
    task = pipeline.tasks(uploads[PROFILES])[0]
    assert task["options"] == {"resolution": "1K", "profile_ids": ["ann", "bob"]}
    assert pipeline.rows()[uploads[PROFILES]]["credits"] == task["credits"] == 15


def test_two_photos_with_the_same_output_key_are_both_delivered(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    keys = {pipeline.rows()[uploads[key]]["output"]["key"] for key in ONE_NAME}
    assert len(keys) == 2
    assert ONE_NAME[1] in keys
    for key in ONE_NAME:
        pipeline.enhanced(uploads[key], pipeline.rows()[uploads[key]]["output"]["key"])


def test_a_photo_behind_a_delete_marker_is_enhanced_from_its_version(pipeline: Pipeline) -> None:
    key = "photos/deleted.jpg"
    with pipeline.event_source_disabled():
        upload = pipeline.drop(key, photos.jpeg())
        pipeline.cloud.client("s3").delete_object(Bucket=pipeline.outputs["InputBucketName"], Key=key)
    pipeline.wait_for_status(upload, "enhanced")
