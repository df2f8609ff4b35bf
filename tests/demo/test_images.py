"""The files that the demo uploads, and how it compares images."""

from pathlib import Path

import pillow_heif
import pytest
import pyvips

from sandbox.demo.images import (
    SAMPLES,
    PhotosError,
    UnreadableError,
    discover,
    kept_metadata,
    load,
    samples,
    sharpness_gain,
)
from tests.metadata.files import exif_segment, jpeg
from tests.metadata.makers import block


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_finds_files_at_any_depth_under_their_paths(tmp_path: Path) -> None:
    for name in ("b.jpg", "Ä ö/mit Leerzeichen & ß.png", "a/b/c/d.webp", "notes.txt"):
        touch(tmp_path / name)
    photos = discover(tmp_path)
    assert [photo.name for photo in photos] == [
        "a/b/c/d.webp", "b.jpg", "notes.txt", "Ä ö/mit Leerzeichen & ß.png",
    ]  # fmt: skip
    assert all(photo.path == tmp_path / photo.name for photo in photos)


def test_ignores_system_files(tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".cache/photo.jpg", "sub/._photo.jpg", "photo.jpg"):
        touch(tmp_path / name)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert [photo.name for photo in discover(tmp_path)] == ["photo.jpg"]


def test_ignores_the_results_of_an_earlier_run(tmp_path: Path) -> None:
    touch(tmp_path / "photo.jpg")
    touch(tmp_path / "out/photo.jpg")
    assert [photo.name for photo in discover(tmp_path, leave_out=tmp_path / "out")] == ["photo.jpg"]


def test_an_unusable_folder_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "empty/.DS_Store")
    with pytest.raises(PhotosError, match=r"missing is not a folder"):
        discover(tmp_path / "missing")
    with pytest.raises(PhotosError, match=r"empty has no files"):
        discover(tmp_path / "empty")


def test_the_samples_are_small_photos_in_three_formats_and_one_is_rotated_by_exif() -> None:
    images = {photo.name: load(photo.path) for photo in samples()}
    assert len(images) == 6
    assert {Path(key).suffix for key in images} == {".jpg", ".png", ".webp"}
    assert all(max(image.width, image.height) == 384 for image in images.values())
    assert sum(file.stat().st_size for file in SAMPLES.iterdir()) < 400_000
    raw = pyvips.Image.new_from_file(str(SAMPLES / "rocket.jpg"))
    assert raw.get("orientation") == 6
    assert raw.width > raw.height
    assert images["rocket.jpg"].width < images["rocket.jpg"].height
    # The dark sky is at the top, the lights of the launch pad are at the bottom.
    upright = images["rocket.jpg"]
    third = upright.height // 3
    assert upright.crop(0, 0, upright.width, third).avg() < upright.crop(0, 2 * third, upright.width, third).avg()


def test_each_sample_has_a_source_and_a_licence() -> None:
    rows = [
        line.split("|")[1:-1] for line in (SAMPLES / "README.md").read_text().splitlines() if line.startswith("| `")
    ]
    licences = {name.strip(" `"): licence.strip() for name, _, _, licence in rows}
    assert set(licences) == {photo.name for photo in samples()}
    assert set(licences.values()) == {"public domain", "CC0 1.0"}


def test_loads_a_file_whose_name_looks_like_options_and_makes_it_srgb(tmp_path: Path) -> None:
    grey = pyvips.Image.black(20, 10).copy(interpretation="b-w")
    path = touch(tmp_path / "photo [page=3]", grey.pngsave_buffer())
    image = load(path)
    assert (image.width, image.height, image.bands, image.interpretation) == (20, 10, 3, "srgb")


def test_loads_heic(tmp_path: Path) -> None:
    photo = pillow_heif.from_bytes(mode="RGB", size=(64, 48), data=bytes([200, 100, 50]) * 64 * 48)
    photo.save(tmp_path / "IMG_1.HEIC")
    image = load(tmp_path / "IMG_1.HEIC")
    assert (image.width, image.height, image.bands) == (64, 48, 3)
    assert image(30, 20) == pytest.approx([200, 100, 50], abs=6)


def test_a_file_that_is_not_an_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"photo\.jpg can't be shown"):
        load(touch(tmp_path / "photo.jpg", b"not a photo"))


def test_sharpness_is_measured_against_bicubic() -> None:
    small = load(SAMPLES / "cat.png")
    bicubic = small.resize(3, kernel="cubic")
    assert sharpness_gain(small, bicubic) == pytest.approx(1.0)
    assert sharpness_gain(small, (bicubic * 2 - bicubic.gaussblur(1)).cast("uchar")) > 1.2
    assert sharpness_gain(small, bicubic.gaussblur(2)) < 0.8


def test_a_photo_without_detail_has_no_gain_in_sharpness() -> None:
    flat = (pyvips.Image.black(10, 10, bands=3) + 40).cast("uchar").copy(interpretation="srgb")
    assert sharpness_gain(flat, flat.resize(4)) == 1.0


def test_date_and_place_of_a_photo_are_read_from_its_exif() -> None:
    assert kept_metadata(SAMPLES / "rocket.jpg") == {"date": "2015-02-11 18:03:42", "location": "28.56194, -80.57736"}
    assert kept_metadata(SAMPLES / "cat.png") == {}


def test_the_camera_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    for maker, camera in (("canon", "Canon EOS R5"), ("sony", "SONY ILCE-7M4")):
        path.write_bytes(jpeg(exif_segment(block(maker))))
        assert kept_metadata(path)["camera"] == camera
