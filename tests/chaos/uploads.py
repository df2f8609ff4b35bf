"""The uploads of a run: small photos under many keys, some keys repeatedly, and some objects that are not photos."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np
import pyvips

CRASH_PREFIX = "crashing/"
"""`submit` crashes each time it reads an object whose key starts with this."""

_FOLDERS = ("", "a/", "a/b c/", "über/", "50%+/")
_NOT_AN_IMAGE = 0.03
_BAD_OPTION = 0.02
_OWN_OPTIONS = 0.05
_TRANSPARENT = 0.03


@dataclass(frozen=True)
class Object:
    """An object for the input bucket."""

    key: str
    body: bytes = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict)


def seeded(seed: int) -> Random:
    """The random generator that selects the uploads."""
    return Random(seed)  # noqa: S311  # not for secrets: the same seed must give the same uploads


def mixed(random: Random, uploads: int, keys: int, crashing: int = 0) -> list[Object]:
    """`uploads` objects of `keys` keys, in upload order; the first `crashing` keys start with CRASH_PREFIX."""
    names = [f"{CRASH_PREFIX}{n}.jpg" for n in range(crashing)]
    names += [f"{random.choice(_FOLDERS)}photo {n}.{_extension(random)}" for n in range(keys - crashing)]
    chosen = [*names, *random.choices(names[crashing:], k=uploads - keys)]
    random.shuffle(chosen)
    return [_object(random, name) for name in chosen]


def photos(random: Random, count: int) -> list[Object]:
    """`count` valid photos, each with its own key."""
    return [Object(f"photo {n}.jpg", _photo(random)) for n in range(count)]


def overwrites(random: Random, count: int, keys: int) -> list[Object]:
    """`count` valid photos that overwrite each other under `keys` keys."""
    return [Object(f"overwritten {n % keys}.jpg", _photo(random)) for n in range(count)]


def _extension(random: Random) -> str:
    return "png" if random.random() < _TRANSPARENT else "jpg"


def _object(random: Random, key: str) -> Object:
    kind, photo = random.random(), _photo(random, transparent=key.endswith(".png"))
    if key.startswith(CRASH_PREFIX):
        return Object(key, photo)
    if kind < _NOT_AN_IMAGE:
        return Object(key, b"This is a text file, despite its name.")
    if kind < _NOT_AN_IMAGE + _BAD_OPTION:
        return Object(key, photo, {"creativity": "very"})
    if kind < _NOT_AN_IMAGE + _BAD_OPTION + _OWN_OPTIONS:
        return Object(key, photo, {"creativity": "0.3", "profile-ids": "anna,ben"})
    return Object(key, photo)


def _photo(random: Random, *, transparent: bool = False) -> bytes:
    noise = np.random.default_rng(random.getrandbits(32))
    image = pyvips.Image.new_from_array(noise.integers(0, 255, (48, 64, 4 if transparent else 3), dtype=np.uint8))
    return bytes(image.pngsave_buffer() if transparent else image.jpegsave_buffer(Q=80))
