"""What is dropped: small photos under many keys, some keys more than once, some that can't be enhanced."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np
import pyvips

DOOMED = "doomed/"
"""Every look of `submit` at an upload with a key like this ends in a crash."""

_FOLDERS = ("", "a/", "a/b c/", "über/", "50%+/")
_NOT_AN_IMAGE = 0.03
_BAD_OPTION = 0.02
_OWN_OPTIONS = 0.05
_TRANSPARENT = 0.03


@dataclass(frozen=True)
class Drop:
    """An object to put into the input bucket."""

    key: str
    body: bytes = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict)


def seeded(seed: int) -> Random:
    """The chance that decides what is dropped."""
    return Random(seed)  # noqa: S311  # not for secrets: the same seed must give the same uploads


def drops(random: Random, uploads: int, keys: int, doomed: int = 0) -> list[Drop]:
    """`uploads` objects of `keys` keys, in the order in which they are dropped; the first `doomed` keys are DOOMED."""
    names = [f"{DOOMED}{n}.jpg" for n in range(doomed)]
    names += [f"{random.choice(_FOLDERS)}photo {n}.{_extension(random)}" for n in range(keys - doomed)]
    chosen = [*names, *random.choices(names[doomed:], k=uploads - keys)]
    random.shuffle(chosen)
    return [_drop(random, name) for name in chosen]


def photos(random: Random, count: int) -> list[Drop]:
    """So many photos that can be enhanced, of as many keys."""
    return [Drop(f"photo {n}.jpg", _photo(random)) for n in range(count)]


def rivals(random: Random, count: int, keys: int) -> list[Drop]:
    """So many photos of so few keys, in turns."""
    return [Drop(f"rival {n % keys}.jpg", _photo(random)) for n in range(count)]


def _extension(random: Random) -> str:
    return "png" if random.random() < _TRANSPARENT else "jpg"


def _drop(random: Random, key: str) -> Drop:
    kind, photo = random.random(), _photo(random, transparent=key.endswith(".png"))
    if key.startswith(DOOMED):
        return Drop(key, photo)
    if kind < _NOT_AN_IMAGE:
        return Drop(key, b"This is no photo, whatever its name says.")
    if kind < _NOT_AN_IMAGE + _BAD_OPTION:
        return Drop(key, photo, {"creativity": "very"})
    if kind < _NOT_AN_IMAGE + _BAD_OPTION + _OWN_OPTIONS:
        return Drop(key, photo, {"creativity": "0.3", "profile-ids": "anna,ben"})
    return Drop(key, photo)


def _photo(random: Random, *, transparent: bool = False) -> bytes:
    noise = np.random.default_rng(random.getrandbits(32))
    image = pyvips.Image.new_from_array(noise.integers(0, 255, (48, 64, 4 if transparent else 3), dtype=np.uint8))
    return bytes(image.pngsave_buffer() if transparent else image.jpegsave_buffer(Q=80))
