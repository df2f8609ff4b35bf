"""Whole, cut, damaged, and foreign image files, through the walker that results and uploads pass."""

from __future__ import annotations

import functools
import io
import random
import struct
from collections.abc import Callable

import numpy
import pillow_heif
import pytest
import pyvips
from hypothesis import settings
from PIL import Image as PillowImage

from lumendrop.containers import Broken, EndsReader, FileReader, Image, examine
from tests.unit.photos import box, chunk, frame, heic, jpeg, png, webp

HEAD = TAIL = 1 << 17
WIDTH, HEIGHT = 331, 217
pillow_heif.register_heif_opener()


def seeded(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311  # repeatable damage, no secret


NOISE = seeded("noise").randbytes(70_000)


def picture(width: int = WIDTH, height: int = HEIGHT) -> PillowImage.Image:
    """Noise over a gradient: compresses badly, so that small pictures make files of some length."""
    noise = numpy.random.default_rng(7).integers(0, 90, (height, width, 3))
    ramp = numpy.linspace(0, 160, width)[None, :, None]
    return PillowImage.fromarray((noise + ramp).astype("uint8"))


@functools.cache
def encoded(format_: str, width: int = WIDTH, height: int = HEIGHT, **options: object) -> bytes:
    file = io.BytesIO()
    picture(width, height).save(file, format_, **options)
    return file.getvalue()


def animated_webp() -> bytes:
    file, frames = io.BytesIO(), [picture(40, 30), picture(40, 30).rotate(90)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    return file.getvalue()


def exif() -> bytes:
    """EXIF with a thumbnail that is a whole JPEG of its own."""
    thumbnail = encoded("JPEG", 64, 42)
    entries = [(0x0201, 4, 1, 0), (0x0202, 4, 1, len(thumbnail))]
    start = 8 + 2 + 4 + 2 + 12 * len(entries) + 4
    entries[0] = (0x0201, 4, 1, start)
    ifd1 = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries) + b"\0" * 4
    return b"Exif\0\0MM\0*" + struct.pack(">IHI", 8, 0, 14) + ifd1 + thumbnail


SAMPLES = {
    "jpeg": encoded("JPEG", quality=90),
    "progressive jpeg": encoded("JPEG", quality=90, progressive=True),
    "jpeg with a thumbnail": encoded("JPEG", quality=90, exif=exif()),
    "jpeg with restarts": encoded("JPEG", quality=90, restart_marker_blocks=3),
    "png": encoded("PNG"),
    "interlaced png": bytes(pyvips.Image.gaussnoise(WIDTH, HEIGHT).cast("uchar").pngsave_buffer(interlace=True)),
    "webp": encoded("WEBP", quality=90),
    "lossless webp": encoded("WEBP", lossless=True),
    "extended webp": encoded("WEBP", quality=90, exif=exif()),
    "heic": encoded("HEIF", quality=80),
}
KINDS = {
    "png": "png",
    "interlaced png": "png",
    "webp": "webp",
    "lossless webp": "webp",
    "extended webp": "webp",
    "heic": "heic",
}


def on_disk(data: bytes) -> Image:
    return examine(FileReader(io.BytesIO(data), len(data)))


def from_its_ends(data: bytes) -> Image:
    return examine(EndsReader(len(data), data[:HEAD], data[HEAD:][-TAIL:]))


WAYS = pytest.mark.parametrize("look", [on_disk, from_its_ends])


def code(look: Callable[[bytes], Image], data: bytes) -> str:
    with pytest.raises(Broken) as caught:
        look(data)
    return caught.value.code


@WAYS
@pytest.mark.parametrize("name", SAMPLES)
def test_a_whole_file_states_its_dimensions(look: Callable[[bytes], Image], name: str) -> None:
    image = look(SAMPLES[name])
    assert (image.width, image.height, image.pixels) == (WIDTH, HEIGHT, "331x217")


@WAYS
@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("extra", [b"\0" * 1000, b"moov" * 20_000, NOISE], ids=["zeros", "movie", "noise"])
def test_bytes_after_the_image_are_allowed(look: Callable[[bytes], Image], name: str, extra: bytes) -> None:
    assert look(SAMPLES[name] + extra).width == WIDTH


def strict(data: bytes) -> bool:
    """Whether libvips reads the whole image without a complaint."""
    try:
        pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="truncated").avg()
    except pyvips.Error:
        return False
    return True


@WAYS
@pytest.mark.parametrize("name", SAMPLES)
def test_a_cut_file_is_truncated_wherever_libvips_says_so(look: Callable[[bytes], Image], name: str) -> None:
    data = SAMPLES[name]
    cuts = seeded(name).sample(range(64, len(data)), 60)
    for size in [*cuts, len(data) - 1]:
        if strict(data[:size]):
            continue
        assert code(look, data[:size]) in ("truncated", "not_an_image"), size


@pytest.mark.parametrize("look", [on_disk, from_its_ends])
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_a_large_file_that_is_cut_is_truncated(look: Callable[[bytes], Image], format_: str) -> None:
    data = encoded(format_, 800, 600, **({"quality": 95} if format_ != "PNG" else {}))
    assert len(data) > HEAD + TAIL + 10_000
    assert look(data).pixels == "800x600"
    for part in (0.35, 0.7, 0.95):
        assert code(look, data[: int(len(data) * part)]) == "truncated"


def test_a_jpeg_cut_after_its_thumbnail_is_truncated() -> None:
    data = SAMPLES["jpeg with a thumbnail"]
    end_of_thumbnail = data.index(b"\xff\xd9") + 2
    assert end_of_thumbnail < len(data) / 2
    assert code(on_disk, data[: end_of_thumbnail + 400]) == "truncated"


RULED_OUT = {
    "three bytes": (b"\xff\xd8\xff", "truncated"),
    "nothing between start and end": (b"\xff\xd8\xff\xd9", "not_an_image"),
    "no frame": (jpeg(), "not_an_image"),
    "JPEG-LS": (jpeg(frame(0xF7)), "unsupported_image"),
    "lossless JPEG": (jpeg(frame(0xC3)), "unsupported_image"),
    "JPEG of height 0": (jpeg(frame(height=0)), "not_an_image"),
    "JPEG of 60,000 x 60,000": (jpeg(frame(width=60_000, height=60_000)), "too_many_pixels"),
    "segment without room for its length": (b"\xff\xd8\xff\xe0\x00\x01" + jpeg(frame())[2:], "not_an_image"),
    "a JPEG inside a JPEG's header": (b"\xff\xd8" + jpeg(frame()), "not_an_image"),
    "CgBI PNG": (png(4, 4, chunk(b"CgBI", b"\x50\0\x20\x06")), "unsupported_image"),
    "PNG of 60,000 x 60,000": (png(60_000, 60_000), "too_many_pixels"),
    "PNG of width 0": (png(0, 4), "not_an_image"),
    "PNG with a damaged header": (png().replace(b"IHDR\0\0\0\x04", b"IHDR\0\0\0\x05"), "not_an_image"),
    "PNG without data": (png().replace(b"IDAT", b"iDOT"), "not_an_image"),
    "WebP shorter than it says": (b"RIFF\xff\xff\0\0WEBPVP8 " + b"\0" * 300, "truncated"),
    "WebP without an image": (b"RIFF\x0c\0\0\0WEBPEXIF\0\0\0\0", "not_an_image"),
    "HEIC without an image": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x08free", "not_an_image"),
    "AVIF": (heic(brands=b"avif\0\0\0\0mif1miafavif"), "unsupported_image"),
    "AVIF of brand mif3": (box(b"ftyp", b"mif3avif") + box(b"mini", b"\0" * 80), "unsupported_image"),
    "GIF": (b"GIF89a" + b"\0" * 80, "unsupported_image"),
    "TIFF": (b"II*\0" + b"\0" * 80, "unsupported_image"),
    "JPEG XL": (b"\xff\x0a" + b"\0" * 80, "unsupported_image"),
    "HEIC of which a tile is cut": (heic(items=3)[:-1], "truncated"),
    "text": (b"This is a text file and no photo, whatever its name says about it.", "not_an_image"),
    "nothing": (b"", "not_an_image"),
}


@WAYS
@pytest.mark.parametrize("name", RULED_OUT)
def test_what_the_bytes_rule_out(look: Callable[[bytes], Image], name: str) -> None:
    data, expected = RULED_OUT[name]
    assert code(look, data) == expected


@WAYS
@pytest.mark.parametrize(
    ("data", "pictures"),
    [
        (SAMPLES["jpeg"], "one"),
        (jpeg(b"\xff\xe2\x00\x06MPF\0", frame()), "several"),
        (png(4, 4).replace(b"\0\0\0\0IEND", b"\0\0\0\x08acTL" + b"\0" * 12 + b"\0\0\0\0IEND"), "animation"),
        (
            animated_webp(),
            "animation",
        ),
    ],
    ids=["jpeg", "mpo", "apng", "animated webp"],
)
def test_more_than_one_picture(look: Callable[[bytes], Image], data: bytes, pictures: str) -> None:
    assert look(data).pictures == pictures


@WAYS
@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"mif2", b"miaf", b"msf1", b"MiHB"])
def test_the_brands_of_heif(look: Callable[[bytes], Image], brand: bytes) -> None:
    """As libheif: by the major brand, or by a compatible brand of HEVC."""
    assert look(heic(brands=brand + b"\0\0\0\0mif1heic")).format.name == "heic"


@WAYS
def test_a_minimized_heif_file_states_no_dimensions(look: Callable[[bytes], Image]) -> None:
    assert look(box(b"ftyp", b"mif3heic") + box(b"mini", b"\0" * 80)).pixels is None


@WAYS
def test_more_than_the_tail_may_follow_a_png(look: Callable[[bytes], Image]) -> None:
    large = encoded("PNG", 1600, 1200)
    assert look(large + NOISE * 3).pixels == "1600x1200"


def test_the_smallest_files_are_whole() -> None:
    assert [on_disk(one).pixels for one in (jpeg(frame()), png(), webp(), heic(items=3))] == ["8x8", *["4x4"] * 3]


class Counting:
    """A file that counts what is read of it, and refuses what is out of its bounds."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self.read_bytes = 0
        self._data = data

    def read(self, at: int, count: int) -> bytes:
        assert 0 <= at < max(self.size, 1) and count >= 0
        self.read_bytes += count
        return self._data[at : at + count]


def mutated(data: bytes, dice: random.Random) -> bytes:
    """A few random edits: bytes, lengths, cuts, repeats."""
    made = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(made)) if dice.random() < 0.3 else dice.randrange(min(len(made), 400))
        match dice.randrange(5):
            case 0:
                made[at] = dice.randrange(256)
            case 1:
                made[at : at + 4] = dice.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"])
            case 2:
                del made[at : at + dice.randrange(1, 64)]
            case 3:
                made[at:at] = dice.randbytes(dice.randrange(1, 64))
            case 4:
                del made[max(20, dice.randrange(len(made) + 1)) :]
        made = made or bytearray(b"\0")
    return bytes(made)


FUZZED = ["jpeg with a thumbnail", "progressive jpeg", "png", "extended webp", "heic"]


@pytest.mark.parametrize("name", FUZZED)
def test_damaged_files_never_crash_the_walker_or_keep_it_busy(name: str) -> None:
    dice, data = seeded(name), SAMPLES[name]
    for _ in range(settings().max_examples):
        damaged = mutated(data, dice)
        counting = Counting(damaged)
        for reader in (counting, EndsReader(len(damaged), damaged[:2000], damaged[2000:][-2000:])):
            try:
                examine(reader)
            except Broken as error:
                assert error.code in ("truncated", "not_an_image", "unsupported_image", "too_many_pixels")
        assert counting.read_bytes <= 70_000 * 64 + 4 * len(damaged)
