"""10,000 damaged blocks: nothing raises, and what is delivered is a whole image that its judges can read.

python -m tests.metadata.test_damage judges all of them, which takes some minutes; the test judges every hundredth.
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyvips

from lumendrop import containers
from lumendrop.containers import Broken, FileReader
from lumendrop.metadata import transfer
from lumendrop.metadata.blocks import Blocks
from lumendrop.metadata.combining import Wanted
from lumendrop.metadata.transfer import CarriedOver
from tests.metadata import judges
from tests.metadata.delivering import MODEL, NOW, result
from tests.metadata.files import block, datasets, packet, upload

COUNT = 10_000
SEED = 12
JUDGED = 100
FILES = ["exif-xmp-iptc.jpg", "xmp-extended.jpg", "all.png", "profile-iptc.png", "exif-xmp.webp", "exif-xmp.heic"]
_EXTENSIONS = ("jpg", "png", "webp")
_CHOICES = ("keep", "no-location")
NUMBERS = [
    bytes.fromhex(one) for one in ("00000000", "ffffffff", "7fffffff", "80000000", "00000001", "0000ffff", "fffffff0")
]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The data with some bytes changed, numbers replaced, and parts cut out, doubled, or moved."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(max(1, len(changed)))
        match chance.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[at : at + 4] = chance.choice(NUMBERS)
            case 2:
                del changed[at : at + chance.randrange(1, 40)]
            case 3:
                changed[at:at] = changed[at : at + chance.randrange(1, 40)]
            case 4:
                changed[at : at + 2] = changed[:2]
            case 5 if not chance.randrange(4):
                del changed[at:]
    return bytes(changed)


def damaged_blocks(chance: random.Random) -> Blocks:
    """One block of a file is damaged; the others are whole."""
    whole = Blocks(exif=block(chance.choice(("canon", "nikon", "sony")), chance.choice(("little", "big"))))
    whole.xmp, whole.iptc, whole.texts = packet(), datasets(), {}
    name = chance.choice(("exif", "exif", "xmp", "iptc"))
    setattr(whole, name, damaged(getattr(whole, name), chance))
    return whole


def deliveries(count: int, folder: Path) -> Iterator[tuple[str, CarriedOver, bytes]]:
    """Delivers `count` photos whose upload, or one block of it, is damaged."""
    chance = random.Random(SEED)  # noqa: S311  # repeatable damage, no secret
    images = {one: _image(one, folder) for one in _EXTENSIONS}
    for number in range(count):
        extension = _EXTENSIONS[number % 3]
        if number % 5:
            blocks = damaged_blocks(chance)
        else:
            data = damaged(upload(chance.choice(FILES)), chance)
            try:
                blocks = transfer.read(FileReader(io.BytesIO(data), len(data)))
            except Broken:
                blocks = Blocks()
        wanted: Any = Wanted(_CHOICES[number % 2], MODEL, NOW)  # type: ignore[arg-type]  # one of its values
        path, image = images[extension]
        found = transfer.carry_over(transfer.unchanged(path, len(result(extension))), image, blocks, wanted)
        with found.content.open() as file:
            yield extension, found, file.read()


def _image(extension: str, folder: Path) -> tuple[Path, containers.Image]:
    path = folder / f"result.{extension}"
    path.write_bytes(result(extension))
    with path.open("rb") as file:
        return path, containers.examine(FileReader(file, len(result(extension))))


def check(count: int, every: int, folder: Path) -> tuple[int, list[str]]:
    """The number of blocks that were left out, and what the judges find in one of `every` delivered photos."""
    left_out, kept = 0, []
    for number, (extension, found, content) in enumerate(deliveries(count, folder)):
        left_out += len(found.left_out)
        containers.examine(FileReader(io.BytesIO(content), len(content)))
        if number % every == 0:
            kept.append(folder / f"{number}.{extension}")
            kept[-1].write_bytes(content)
            pyvips.Image.new_from_buffer(content, "", fail_on="warning").write_to_memory()
    return left_out, [] if judges.MISSING else list(_complaints(kept))


def _complaints(paths: list[Path]) -> Iterator[str]:
    for at in range(0, len(paths), 200):
        for path, tags in judges.read(paths[at : at + 200]).items():
            yield from (f"{path.name}: {one}" for one in judges.problems(tags) if is_about_structure(one))


def is_about_structure(problem: str) -> bool:
    """Whether exiftool calls a file or a directory broken. Maker notes and texts can be damaged inside."""
    return not any(one in problem for one in ("[minor]", "MakerNote", "Maker notes", "maker notes", "text encoding"))


@judges.NEEDED
def test_ten_thousand_damaged_blocks_break_nothing(tmp_path: Path) -> None:
    left_out, complaints = check(COUNT, JUDGED, tmp_path)
    assert complaints == []
    assert left_out > COUNT / 100


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
        print(*check(count, 1, Path(made)), sep="\n")
