"""Which photos the enhancer accepts, and what it makes of them."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import pyvips  # type: ignore[import-untyped]  # it ships no types
from PIL import Image

from sandbox.enhancer.enhance import ImageError, enhance
from tests.enhancer.running import Enhancer, Photos, gradient

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

WIDE = (120, 80)


def encoded(kind: str, image: pyvips.Image | None = None) -> bytes:
    image = gradient(*WIDE) if image is None else image
    if kind == "heic":
        file = BytesIO()
        pillow_heif.from_pillow(Image.fromarray(image.numpy())).save(file, quality=90)
        return file.getvalue()
    data: bytes = image.write_to_buffer(f".{kind}")
    return data


def enhanced(tmp_path: Path, data: bytes, resolution: str = "1K", **options: Any) -> pyvips.Image:
    result = enhance(data, tmp_path / "result", resolution, **options)
    image = pyvips.Image.new_from_file(str(result.path))
    assert (image.width, image.height) == (result.width, result.height)
    assert result.content_type == ("image/png" if image.hasalpha() else "image/jpeg")
    return image


def corners(image: pyvips.Image) -> list[tuple[bool, bool]]:
    """For each corner (top left, top right, bottom left, bottom right): is it red, is it green?"""
    right, bottom = image.width - 5, image.height - 5
    pixels = [image(x, y) for y in (4, bottom) for x in (4, right)]
    return [(pixel[0] > 128, pixel[1] > 128) for pixel in pixels]


UPRIGHT = [(False, False), (True, False), (False, True), (True, True)]


def without_box(heic: bytes, name: bytes) -> bytes:
    """A HEIC file without one of its boxes, such as `mdat` with the image."""
    at = heic.index(name) - 4
    return heic[:at] + heic[at + int.from_bytes(heic[at : at + 4], "big") :]


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "heic"])
def test_every_documented_format_is_read(enhancer: Enhancer, photos: Photos, kind: str) -> None:
    image = enhancer.enhanced(photos.put(f"/b/photo.{kind}", encoded(kind)))
    assert (image.width, image.height) == (1024, 683)
    assert corners(image) == UPRIGHT


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_removed(tmp_path: Path, orientation: int) -> None:
    stored = Image.fromarray(gradient(*WIDE).numpy())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how a camera in that orientation stores an upright photo
    if orientation in undo:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    stored.save(file, "JPEG", quality=95, exif=exif)
    image = enhanced(tmp_path, file.getvalue())
    assert (image.width, image.height) == (1024, 683)
    assert corners(image) == UPRIGHT
    assert image.get_typeof("orientation") == 0


def test_a_rotated_heic_is_turned_upright_once(tmp_path: Path) -> None:
    heif = pillow_heif.from_pillow(Image.fromarray(gradient(*WIDE).numpy()).transpose(Image.Transpose.ROTATE_90))
    exif = Image.Exif()
    exif[0x0112] = 6
    heif.info["exif"] = exif.tobytes()
    file = BytesIO()
    heif.save(file, quality=90)
    image = enhanced(tmp_path, file.getvalue())
    assert (image.width, image.height) == (1024, 683)
    assert corners(image) == UPRIGHT


def test_twelve_megapixels_in_portrait(enhancer: Enhancer, photos: Photos) -> None:
    stored = gradient(4000, 3000).rot270().copy()
    stored.set_type(pyvips.GValue.gint_type, "orientation", 6)
    url = photos.put("/b/portrait.jpg", stored.jpegsave_buffer(Q=90))
    for resolution, size in {"1K": (1024, 768), "4K": (4096, 3072)}.items():
        image = enhancer.enhanced(url, resolution=resolution)
        assert (image.width, image.height) == size
        assert corners(image) == UPRIGHT


@pytest.mark.parametrize(
    ("width", "height", "resolution", "size"),
    [
        (1, 1, "1K", (1024, 1024)),
        (3, 2, "4K", (4096, 2731)),
        (2000, 1, "1K", (1024, 1)),
        (1024, 768, "1K", (1024, 768)),
        (1000, 1500, "1K", (683, 1024)),
        (4096, 100, "4K", (4096, 100)),
        (5000, 4000, "4K", (4096, 3277)),
    ],
)
def test_the_long_side_has_the_requested_length(
    tmp_path: Path, width: int, height: int, resolution: str, size: tuple[int, int]
) -> None:
    image = enhanced(tmp_path, encoded("png", gradient(width, height)), resolution)
    assert (image.width, image.height) == size


def test_transparency_is_kept(tmp_path: Path) -> None:
    across = pyvips.Image.xyz(*WIDE)[0]
    photo = gradient(*WIDE).bandjoin((across >= 60).ifthenelse(255, 0))
    image = enhanced(tmp_path, encoded("png", photo))
    assert image.bands == 4
    assert (image(20, 300)[3], image(1000, 300)[3]) == (0, 255)
    assert corners(image[:3])[1::2] == UPRIGHT[1::2]


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    assert enhanced(tmp_path, encoded("png", gradient(*WIDE).bandjoin(255))).bands == 3


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "I;16", "LA"])
def test_unusual_pixels_become_ordinary_ones(tmp_path: Path, mode: str) -> None:
    grey = Image.linear_gradient("L")
    photo = Image.fromarray(np.asarray(grey).astype("uint16") * 257) if mode == "I;16" else grey.convert(mode)
    file = BytesIO()
    photo.save(file, "JPEG" if mode == "CMYK" else "PNG")
    image = enhanced(tmp_path, file.getvalue())
    assert image.format == "uchar"
    assert image.interpretation in {"srgb", "b-w"}
    assert image(512, 100)[0] < 90
    assert image(512, 900)[0] > 160


def test_colours_of_another_profile_are_converted(tmp_path: Path) -> None:
    orange = pyvips.Image.black(*WIDE).bandjoin([0, 0]).linear(1, [230, 120, 40]).cast("uchar")
    orange = orange.copy(interpretation="srgb")
    wide_gamut = orange.icc_transform("p3", embedded=False, input_profile="srgb")
    assert wide_gamut(9, 9)[0] != pytest.approx(230, abs=3)
    image = enhanced(tmp_path, encoded("png", wide_gamut))
    assert image(500, 300) == pytest.approx([230, 120, 40], abs=3)
    assert image.get_typeof("icc-profile-data") == 0


def test_a_broken_profile_is_ignored(tmp_path: Path) -> None:
    file = BytesIO()
    Image.new("RGB", WIDE, (100, 100, 100)).save(file, "JPEG", quality=95, icc_profile=b"broken")
    assert enhanced(tmp_path, file.getvalue())(500, 300) == pytest.approx([100, 100, 100], abs=3)


def test_metadata_is_removed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    file = BytesIO()
    Image.new("RGB", WIDE).save(file, "JPEG", exif=exif)
    assert enhanced(tmp_path, file.getvalue()).get_typeof("exif-data") == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Dear diary, this is no photo.\n" * 10,
        b"\xff\xd8\xff\xe0 and then nothing that a decoder knows",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00",
        b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        encoded("jpg")[:-400],
        encoded("png")[:-400],
        encoded("webp")[:-100],
        encoded("heic")[:-100],
        encoded("jpg")[:-2],  # no EOI
        encoded("png")[:-12],  # no IEND
        encoded("png")[:-1],
        encoded("webp")[:-1],
        encoded("heic")[:-1],
        without_box(encoded("heic"), b"mdat"),
        without_box(encoded("heic"), b"meta"),
    ],
)
def test_an_incomplete_or_unknown_file_is_rejected(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ImageError):
        enhanced(tmp_path, data)


def test_a_progressive_jpeg_must_end(tmp_path: Path) -> None:
    data = gradient(*WIDE).jpegsave_buffer(interlace=True)
    enhanced(tmp_path, data)
    with pytest.raises(ImageError):
        enhanced(tmp_path, data[:-2])


@pytest.mark.parametrize("kind", ["jpg", "png", "heic"])
def test_what_follows_an_image_is_ignored(tmp_path: Path, kind: str) -> None:
    trailer = b"\0\0\x10\x08free" + bytes(4096) if kind == "heic" else bytes(70_000)
    assert enhanced(tmp_path, encoded(kind) + trailer).width == 1024


def test_a_heif_file_of_the_newer_brand_is_read(tmp_path: Path) -> None:
    assert enhanced(tmp_path, encoded("heic").replace(b"ftypheic", b"ftypmif2")).width == 1024


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_decompression_bomb_is_rejected_without_decoding(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ImageError, match="megapixels"):
        enhanced(tmp_path, encoded(kind, pyvips.Image.black(16000, 6300)))


def test_a_text_file_fails_its_task(enhancer: Enhancer, photos: Photos) -> None:
    url = photos.put("/b/photo.jpg", b"Dear diary, this is no photo.\n")
    task = enhancer.finished(enhancer.submit(url).json()["id"])
    assert (task["status"], task["error"]["code"]) == ("failed", "image_processing_error")


def test_creativity_changes_the_photo_and_resemblance_limits_it(tmp_path: Path) -> None:
    photo = pyvips.Image.new_from_array(np.kron(np.eye(8), np.full((32, 32), 160)).astype("uint8") + 40)
    small = photo.resize(0.5)

    def distance(**options: Any) -> float:
        large = enhanced(tmp_path, encoded("png", small), **options)
        return float((large.resize(128 / 1024) - small).abs().avg())

    assert distance(creativity=1.0, resemblance=0.0) > distance(creativity=0.3) > distance()
    assert distance(creativity=1.0, resemblance=0.0) > distance(creativity=1.0, resemblance=1.0)
