"""Reads a photo, enlarges it by iterative back-projection, sharpens it, and writes the result.

Back-projection (Irani and Peleg, 1991) enlarges the input, shrinks the result, and adds the enlarged difference. It
repeats this until the result shrinks back to the input. Enlarging and shrinking are linear here, so one small filter on
the input replaces all rounds, and the photo is enlarged once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul
from pathlib import Path
from statistics import fmean

import pyvips

LONG_SIDE = {"1K": 1024, "4K": 4096}
MAX_PIXELS = 100_000_000
ROUNDS = 2
JPEG_QUALITY = 95
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"}

# Each photo is processed once, so libvips' cache of results would only use memory.
pyvips.cache_set_max(0)


class ImageError(Exception):
    """The photo can't be read. The message is shown to users."""


@dataclass(frozen=True)
class Enhanced:
    """A result on disk."""

    path: Path
    content_type: str
    width: int
    height: int


def enhance(
    data: bytes, to: Path, resolution: str, creativity: float | None = None, resemblance: float | None = None
) -> Enhanced:
    """Enhance one photo and write it to `to`: a PNG when it has transparency, else a JPEG.

    The arguments and errors are those of `enhanced_pixels`.
    """
    return _write(enhanced_pixels(data, resolution, creativity, resemblance), to)


def enhanced_pixels(
    data: bytes, resolution: str, creativity: float | None = None, resemblance: float | None = None
) -> pyvips.Image:
    """The enhanced photo, 8 bits a band, sRGB or grey; `data` is a JPEG, PNG, WebP or HEIC/HEIF file.

    The long side becomes 1,024 (`1K`) or 4,096 (`4K`) pixels. `creativity` (0 to 1, default 0) is the strength of
    denoising, local contrast, and sharpening. `resemblance` (0 to 1, default 1 - creativity) is how closely the
    result must shrink back to the input. Raises ImageError.
    """
    creativity = creativity or 0.0
    resemblance = 1.0 - creativity if resemblance is None else resemblance
    long_side = LONG_SIDE[resolution]
    try:
        photo = _prepare(_decode(data), long_side)
    except pyvips.Error as error:
        raise ImageError("the image is damaged or incomplete") from error
    return _enlarge(photo, long_side, creativity, resemblance)


def kind_of(data: bytes) -> str | None:
    """`jpeg`, `png`, `webp` or `heif` by the magic bytes, or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        return "heif"
    return None


def _decode(data: bytes) -> pyvips.Image:
    kind = kind_of(data)
    if kind is None:
        raise ImageError("not a readable image; use JPEG, PNG, WebP, or HEIC/HEIF")
    if kind == "heif":
        return _decode_heif(data)
    if kind == "png" and not _png_ends(data):  # libvips needs no more than the pixels
        raise ImageError("the image is damaged or incomplete")
    image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="truncated")
    _check_size(image.width, image.height)
    return image


def _png_ends(data: bytes) -> bool:
    """Whether a PNG has its last chunk, whole."""
    at = 8
    while at + 12 <= len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if at <= len(data) and data[at - 8 : at - 4] == b"IEND":
            return True
    return False


def _decode_heif(data: bytes) -> pyvips.Image:
    # The libvips wheels omit HEVC because of its patents. Imported here, because most photos don't need it.
    import pillow_heif

    try:
        heif = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
        _check_size(*heif.size)
        image = pyvips.Image.new_from_array(heif)
    except (ValueError, OSError, RuntimeError, EOFError, SyntaxError) as error:
        raise ImageError("the HEIC image is damaged or of an unknown type") from error
    profile = heif.info.get("icc_profile")
    if profile:
        image = image.copy()
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels are more than {MAX_PIXELS // 1_000_000} megapixels")


def _prepare(image: pyvips.Image, long_side: int) -> pyvips.Image:
    """The photo upright, 8-bit, sRGB or grey, at most `long_side` wide and high. Opaque alpha is removed."""
    image = _to_srgb(image)
    scale = long_side / max(image.width, image.height)
    if scale < 1:
        width, height = _fit(image, long_side)
        flat = image.premultiply() if image.hasalpha() else image
        flat = flat.resize(width / image.width, vscale=height / image.height)
        image = flat.unpremultiply() if image.hasalpha() else flat
    image = image.cast("uchar").copy_memory().autorot()
    if image.hasalpha() and image[-1].min() == 255:
        image = image[: image.bands - 1]
    return image.copy_memory()


def _to_srgb(image: pyvips.Image) -> pyvips.Image:
    cmyk = image.interpretation == "cmyk"
    if cmyk or image.get_typeof("icc-profile-data"):
        try:
            return image.icc_transform("srgb", embedded=True, depth=8, input_profile="cmyk" if cmyk else "srgb")
        except pyvips.Error:  # a photo with a broken profile is still usable
            image.remove("icc-profile-data")
    grey = image.interpretation in {"b-w", "grey16"}
    return image.colourspace("b-w" if grey else "srgb").cast("uchar")


def _fit(image: pyvips.Image, long_side: int) -> tuple[int, int]:
    scale = long_side / max(image.width, image.height)
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def _enlarge(photo: pyvips.Image, long_side: int, creativity: float, resemblance: float) -> pyvips.Image:
    width, height = _fit(photo, long_side)
    if not photo.hasalpha():
        return _enlarge_colours(photo, width, height, creativity, resemblance).cast("uchar")
    # Premultiplied, so that the colour of transparent pixels doesn't bleed into their neighbours.
    flat = photo.premultiply()
    colours = _enlarge_colours(flat[: flat.bands - 1], width, height, creativity, resemblance)
    large = colours.bandjoin(_enlarged(flat[flat.bands - 1], width, height))
    return large.copy(interpretation=photo.interpretation).unpremultiply().rint().cast("uchar")


def _enlarge_colours(
    photo: pyvips.Image, width: int, height: int, creativity: float, resemblance: float
) -> pyvips.Image:
    scale = max(width, height) / max(photo.width, photo.height)
    strict = _back_projection(scale, resemblance)
    denoised = _denoised(photo, creativity) if creativity else photo.cast("float")
    faithful = _in_memory(_enlarged(denoised.convsep(strict), width, height))
    if (scale > 1 and not creativity) or min(width, height) < 3:
        return faithful
    free = _in_memory(_crisp(faithful, scale, creativity))
    # At a scale near 1, back-projection would undo the sharpening.
    weight = resemblance * min(1.0, scale - 1.0)
    if weight < 0.1:
        return free
    departed = denoised - photo + _shrunk(free.cast("short") - faithful, photo.width, photo.height)
    return (free - _enlarged((departed * weight).convsep(strict).copy_memory(), width, height)).rint()


def _in_memory(image: pyvips.Image) -> pyvips.Image:
    """The image as bytes, which take a quarter of the memory of floats."""
    return image.rint().cast("uchar").copy_memory()


def _enlarged(image: pyvips.Image, width: int, height: int) -> pyvips.Image:
    """A bicubic enlargement. `resize` would shift the image by half a pixel."""
    across, down = width / image.width, height / image.height
    return image.affine(
        [across, 0, 0, down],
        interpolate=pyvips.Interpolate.new("bicubic"),
        odx=(across - 1) / 2,
        ody=(down - 1) / 2,
        oarea=[0, 0, width, height],
        extend="copy",
    )


def _shrunk(image: pyvips.Image, width: int, height: int) -> pyvips.Image:
    return image.cast("float").resize(width / image.width, vscale=height / image.height, kernel="lanczos3")


def _back_projection(scale: float, resemblance: float) -> pyvips.Image:
    """One filter for rows and columns that replaces the rounds of back-projection."""
    response = _response(max(1.0, round(scale, 2)))
    identity = [float(at == len(response) // 2) for at in range(len(response))]
    sharper = identity
    for _ in range(ROUNDS):
        reproduced = _convolve(sharper, response)
        sharper = [s + resemblance * (i - r) for s, i, r in zip(sharper, identity, reproduced, strict=True)]
    return pyvips.Image.new_from_list([[value / sum(sharper) for value in sharper]])


def _convolve(values: Sequence[float], kernel: Sequence[float]) -> list[float]:
    """`values` convolved with a kernel of the same odd length, cut to that length."""
    padding = [0.0] * (len(kernel) // 2)
    padded, reverse = [*padding, *values, *padding], kernel[::-1]
    return [sum(map(mul, padded[at:], reverse)) for at in range(len(values))]


@lru_cache(maxsize=64)
def _response(scale: float) -> tuple[float, ...]:
    """The response to one bright pixel in a row of enlarging by `scale` and shrinking again."""
    spacing, pixels = 14, 24
    row = [float(at % spacing == spacing // 2) for at in range(spacing * pixels)]
    image = pyvips.Image.new_from_list([row]).cast("float")
    back = _shrunk(_enlarged(image, round(image.width * scale), 1), image.width, 1).tolist()[0]
    # The position of a pixel between the enlarged pixels varies along the row, so this takes the mean. It leaves out
    # two pixels at each end.
    spread = [fmean(back[2 * spacing + at : -2 * spacing : spacing]) for at in range(1, spacing)]
    symmetric = [left + right for left, right in zip(spread, reversed(spread), strict=True)]
    return tuple(value / sum(symmetric) for value in symmetric)


def _denoised(photo: pyvips.Image, creativity: float) -> pyvips.Image:
    """The photo with less noise and more local contrast, at its own size."""
    smooth = photo.gaussblur(1.0)
    detail = (photo - smooth).cast("float")
    power = detail * detail
    threshold = 3.0 * creativity * _noise(photo)
    denoised = smooth + detail * (power / (power + (threshold**2 + 1e-6)))
    eighth = photo.resize(max(1 / 8, 1 / min(photo.width, photo.height)))
    surroundings = eighth.gaussblur(max(eighth.width, eighth.height) / 32).copy_memory()
    return denoised + (denoised - _enlarged(surroundings, photo.width, photo.height)) * (creativity / 2)


def _noise(photo: pyvips.Image) -> float:
    """Standard deviation of the noise in the photo's middle, 0 to 255 (Immerkaer, 1996)."""
    middle = photo.smartcrop(min(1024, photo.width), min(1024, photo.height), interesting="centre")
    mask = pyvips.Image.new_from_array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    mean: float = middle.cast("float").conv(mask, precision="float").abs().avg()
    return mean * math.sqrt(math.pi / 2) / 6


def _crisp(large: pyvips.Image, scale: float, creativity: float) -> pyvips.Image:
    """Sharpened, and limited to the range of the neighbours, which makes edges steeper without halos."""
    sharp = large + (large - large.gaussblur(min(3.0, 0.6 * scale))) * (2 * creativity + (0.4 if scale <= 1.0 else 0.0))
    return sharp.maxpair(large.rank(3, 3, 0)).minpair(large.rank(3, 3, 8))


def _write(image: pyvips.Image, to: Path) -> Enhanced:
    if image.hasalpha():
        image.pngsave(str(to), compression=3, keep="none")
        return Enhanced(to, "image/png", image.width, image.height)
    image.jpegsave(str(to), Q=JPEG_QUALITY, keep="none")
    return Enhanced(to, "image/jpeg", image.width, image.height)
