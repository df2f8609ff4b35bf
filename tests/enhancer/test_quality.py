"""Compares the enhancer with bicubic enlargement of scikit-image's photographs. `pytest -s` prints the figures."""

from pathlib import Path

import numpy as np
import pytest
import pyvips  # type: ignore[import-untyped]  # it ships no types
from PIL import Image

from sandbox.enhancer import enhance
from tests.enhancer.photographs import PHOTOS, SHRUNK_BY, Pixels, photograph, psnr


def bicubic(small: Pixels, like: Pixels) -> list[Pixels]:
    """Enlargements by Pillow and libvips. libvips shifts the image by half a pixel, so Pillow's is usually better."""
    height, width = like.shape[:2]
    by_pillow = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    by_vips = pyvips.Image.new_from_array(small).resize(width / small.shape[1], kernel="cubic")
    return [by_pillow, by_vips.numpy().reshape(like.shape)]


def enhanced(small: Pixels, like: Pixels, monkeypatch: pytest.MonkeyPatch) -> pyvips.Image:
    """Enhanced to the size of the original, so that the pixels are comparable."""
    monkeypatch.setitem(enhance.LONG_SIDE, "1K", max(like.shape[:2]))
    return enhance.enhanced_pixels(pyvips.Image.new_from_array(small).pngsave_buffer(), "1K")


@pytest.mark.parametrize("shrunk_by", SHRUNK_BY)
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("name", PHOTOS)
def test_it_beats_bicubic_in_psnr(name: str, factor: int, shrunk_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = photograph(name)
    size = (original.shape[1] // factor, original.shape[0] // factor)
    small = np.asarray(Image.fromarray(original).resize(size, SHRUNK_BY[shrunk_by]))
    ours = enhanced(small, original, monkeypatch).numpy().reshape(original.shape)
    theirs = [psnr(original, pixels) for pixels in bicubic(small, original)]
    gained = psnr(original, ours)
    print(
        f"\n{name} {factor}x, shrunk by {shrunk_by}: {gained:.2f} dB, bicubic {theirs[0]:.2f} (Pillow), "
        f"{theirs[1]:.2f} (libvips)",
        end="",
    )
    assert gained > max(theirs)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("name", PHOTOS)
def test_it_beats_bicubic_as_a_jpeg_too(
    name: str, factor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = photograph(name)
    size = (original.shape[1] // factor, original.shape[0] // factor)
    small = np.asarray(Image.fromarray(original).resize(size, Image.Resampling.BICUBIC))
    monkeypatch.setitem(enhance.LONG_SIDE, "1K", max(original.shape[:2]))
    png = pyvips.Image.new_from_array(small).pngsave_buffer()
    ours = np.asarray(Image.open(enhance.enhance(png, tmp_path / "ours.jpg", "1K").path))
    Image.fromarray(bicubic(small, original)[0]).save(
        tmp_path / "theirs.jpg", quality=enhance.JPEG_QUALITY, subsampling=0
    )
    theirs = np.asarray(Image.open(tmp_path / "theirs.jpg"))
    assert psnr(original, ours) > psnr(original, theirs)


@pytest.mark.parametrize("name", PHOTOS)
def test_it_looks_sharper_than_bicubic(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = photograph(name)
    small = np.asarray(Image.fromarray(original).resize((original.shape[1] // 4, original.shape[0] // 4)))
    ours = enhanced(small, original, monkeypatch)
    theirs = pyvips.Image.new_from_array(bicubic(small, original)[0])
    assert ours.sobel().avg() > 1.1 * theirs.sobel().avg()
