"""Photos for the demo: which files to upload, and how a result compares with its original."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pyvips

from lumendrop_cli import photo_files
from lumendrop_cli.photo_files import LocalFile
from sandbox.enhancer.enhance import kind_of

# Sources and licences are in the README there.
SAMPLES = Path(__file__).parent / "photos"

LAPLACIAN = pyvips.Image.new_from_array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])


class PhotosError(ValueError):
    """The photos can't be used. The message is shown to the user."""


class UnreadableError(ValueError):
    """A file can't be decoded. The message names the file and the cause."""


@dataclass(frozen=True)
class Comparison:
    """Sizes in pixels (width, height), upright; `sharpness` as `sharpness_gain` computes it."""

    before: tuple[int, int]
    after: tuple[int, int]
    sharpness: float


def discover(folder: Path, leave_out: Path | None = None) -> list[LocalFile]:
    """Every file that `lumendrop enhance` finds below `folder`, in the order of names.

    Raises `PhotosError` when there are no files.
    """
    if not folder.is_dir():
        raise PhotosError(f"{folder} is not a folder. Choose a folder that has photos.")
    found = [one for one in photo_files.discover([folder], leave_out or folder / "out") if isinstance(one, LocalFile)]
    if not found:
        raise PhotosError(f"{folder} has no files. Hidden files are ignored. Add photos, or choose another folder.")
    return sorted(found, key=lambda file: file.name)


def samples() -> list[LocalFile]:
    """The photos that come with the repository, in the order of names."""
    return [file for file in discover(SAMPLES) if file.path.suffix != ".md"]


def load(path: Path) -> pyvips.Image:
    """The image in `path`, upright, as 8-bit sRGB. Raises `UnreadableError` if it can't be decoded."""
    try:
        # From bytes, because libvips parses the end of a name such as "a[1]" as options.
        data = path.read_bytes()
        image = _heif(data) if kind_of(data) == "heif" else pyvips.Image.new_from_buffer(data, "").autorot()
        if image.get_typeof("icc-profile-data"):
            image = image.icc_transform("srgb")
        return image.colourspace("srgb").cast("uchar").copy_memory()
    except (pyvips.Error, ImportError, OSError, ValueError, RuntimeError) as error:
        raise UnreadableError(f"{path.name} can't be shown: {error}") from error


def _heif(data: bytes) -> pyvips.Image:
    # The libvips wheels omit HEVC because of its patents. pillow_heif applies the orientation itself.
    import pillow_heif

    return pyvips.Image.new_from_array(pillow_heif.open_heif(data, convert_hdr_to_8bit=True))


def compare(before: pyvips.Image, after: pyvips.Image) -> Comparison:
    """How `after` compares with `before`, both as `load` returns them."""
    gain = sharpness_gain(before, after)
    return Comparison((before.width, before.height), (after.width, after.height), gain)


def sharpness_gain(before: pyvips.Image, after: pyvips.Image) -> float:
    """Sharpness of `after`, relative to `before` scaled to the same size by bicubic interpolation.

    Sharpness is the variance of the luminance's Laplacian, a common focus measure (Pech-Pacheco et al., 2000).
    1.0 means no sharper than bicubic.
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


def kept_metadata(path: Path) -> dict[str, str]:
    """What a result has of its photo: date, camera, and location, as far as the photo states them."""
    try:
        image = pyvips.Image.new_from_file(str(path))
    except pyvips.Error:
        return {}
    fields = {name: str(image.get(name)) for name in image.get_fields() if name.startswith("exif-ifd")}
    date = _exif_text(fields, "exif-ifd2-DateTimeOriginal", "exif-ifd0-DateTime")
    make, model = _exif_text(fields, "exif-ifd0-Make"), _exif_text(fields, "exif-ifd0-Model")
    found = {
        "date": date.replace(":", "-", 2),
        "camera": model if model.startswith(make) else f"{make} {model}".strip(),
        "location": _location(fields),
    }
    return {name: value for name, value in found.items() if value}


def _exif_text(fields: dict[str, str], *names: str) -> str:
    """The first of these values. libvips adds its type in parentheses."""
    return next((fields[name].split(" (")[0].strip() for name in names if name in fields), "")


def _location(fields: dict[str, str]) -> str:
    """Degrees, south and west negative, as in `54.32010, 10.14534`."""
    degrees = []
    for name, negative in (("Latitude", "S"), ("Longitude", "W")):
        parts = _exif_text(fields, f"exif-ifd3-GPS{name}").split()
        if len(parts) != 3:
            return ""
        try:
            value = sum(float(Fraction(part)) / 60**power for power, part in enumerate(parts))
        except (ValueError, ZeroDivisionError):
            return ""
        degrees.append(-value if _exif_text(fields, f"exif-ifd3-GPS{name}Ref") == negative else value)
    return ", ".join(f"{value:.5f}" for value in degrees)
