"""Photos for the demo: which ones to drop, and how a result compares with what was dropped."""

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pyvips

from sandbox.enhancer.enhance import kind_of

# What scikit-image's wheel carries, and the name each is dropped under: three formats, six motifs.
BUNDLED = {
    "astronaut.png": "astronaut.jpg",
    "chelsea.png": "cat.png",
    "coffee.png": "coffee.webp",
    "rocket.jpg": "rocket.jpg",
    "motorcycle_left.png": "motorcycle.webp",
    "hubble_deep_field.jpg": "galaxies.png",
}
BUNDLED_LONG_SIDE = 384
ROTATE_90_CLOCKWISE_TO_VIEW = 6  # the EXIF orientation of a phone held upright

LAPLACIAN = pyvips.Image.new_from_array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


class PhotosError(ValueError):
    """The photos can't be used; the message says why and is meant for people."""


class UnreadableError(ValueError):
    """A file that can't be decoded here; the message says which and why."""


@dataclass(frozen=True)
class Photo:
    """A file to drop: where it is, and the key it gets in the input bucket."""

    path: Path
    key: str


@dataclass(frozen=True)
class Comparison:
    """Sizes in pixels (width, height), upright; `sharpness` as `sharpness_gain` computes it."""

    before: tuple[int, int]
    after: tuple[int, int]
    sharpness: float


def discover(folder: Path, leave_out: Path | None = None) -> list[Photo]:
    """Every file below `folder`, sorted by key, except hidden ones and those below `leave_out`.

    The key is the path below `folder` with slashes. Files that are no photos are included: that they end as a
    report is part of what the sandbox shows. Raises `PhotosError` when there is nothing.
    """
    if not folder.is_dir():
        raise PhotosError(f"{folder} is not a folder. Name a folder with photos in it.")
    excluded = leave_out.resolve() if leave_out else None
    photos = []
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        folders[:] = [name for name in folders if not _hidden(name) and (here / name).resolve() != excluded]
        files = (here / name for name in names if not _hidden(name))
        photos += [Photo(path, _key(path, folder)) for path in files if path.is_file()]
    if not photos:
        raise PhotosError(f"{folder} has no files in it (hidden ones don't count). Put photos there.")
    return sorted(photos, key=lambda photo: photo.key)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in {"Thumbs.db", "desktop.ini"}


def _key(path: Path, folder: Path) -> str:
    # A file name need not be UTF-8 on Linux; an S3 key must be.
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "replace")


def bundled(folder: Path) -> list[Photo]:
    """Write scikit-image's photographs to `folder`, shrunk to 384 pixels on the long side."""
    source = resources.files("skimage.data")
    photos = []
    for original, name in BUNDLED.items():
        image = pyvips.Image.new_from_buffer((source / original).read_bytes(), "")
        if name == "rocket.jpg":
            image = _as_phone_portrait(image)
        image.thumbnail_image(BUNDLED_LONG_SIDE, height=BUNDLED_LONG_SIDE, no_rotate=True).write_to_file(
            str(folder / name)
        )
        photos.append(Photo(folder / name, name))
    return photos


def _as_phone_portrait(image: pyvips.Image) -> pyvips.Image:
    """The upright middle of `image`, stored lying on its side with the EXIF orientation that rights it."""
    width = round(image.height * 2 / 3)
    lying = image.crop((image.width - width) // 2, 0, width, image.height).rot270().copy()
    lying.set_type(pyvips.GValue.gint_type, "orientation", ROTATE_90_CLOCKWISE_TO_VIEW)
    return lying


def load(path: Path) -> pyvips.Image:
    """The picture in `path` as people see it: upright, 8-bit sRGB. Raises `UnreadableError` if there is none."""
    try:
        # From bytes, since libvips reads the end of a name like "a[1]" as options.
        data = path.read_bytes()
        image = _heif(data) if kind_of(data) == "heif" else pyvips.Image.new_from_buffer(data, "").autorot()
        if image.get_typeof("icc-profile-data"):
            image = image.icc_transform("srgb")
        return image.colourspace("srgb").cast("uchar").copy_memory()
    except (pyvips.Error, ImportError, OSError, ValueError, RuntimeError) as error:
        raise UnreadableError(f"{path.name} can't be shown: {error}") from error


def _heif(data: bytes) -> pyvips.Image:
    # libvips' own wheels leave HEVC out for its patents; this one turns photos upright by itself.
    import pillow_heif

    return pyvips.Image.new_from_array(pillow_heif.open_heif(data, convert_hdr_to_8bit=True))


def compare(before: pyvips.Image, after: pyvips.Image) -> Comparison:
    """How `after` compares with `before`, both as `load` returns them."""
    gain = sharpness_gain(before, after)
    return Comparison((before.width, before.height), (after.width, after.height), gain)


def sharpness_gain(before: pyvips.Image, after: pyvips.Image) -> float:
    """Sharpness of `after` over that of `before` brought to the same size by plain bicubic scaling.

    Sharpness is the variance of the luminance's Laplacian, a usual focus measure (Pech-Pacheco et al., 2000).
    1.0: no sharper than bicubic.
    """
    plain = before.resize(after.width / before.width, vscale=after.height / before.height, kernel="cubic")
    reference = _laplacian(plain).deviate() ** 2
    return (_laplacian(after).deviate() ** 2) / reference if reference else 1.0


def _laplacian(image: pyvips.Image) -> pyvips.Image:
    return luminance(image).conv(LAPLACIAN, precision="float")


def luminance(image: pyvips.Image) -> pyvips.Image:
    """One band, 0 to 255, transparent parts on white."""
    flat = image.flatten(background=255) if image.hasalpha() else image
    return flat.colourspace("b-w")
