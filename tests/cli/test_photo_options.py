"""The command line shares no code with the layer, so what both must agree on is compared here."""

import hashlib
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from lumendrop import containers, ledger, options
from lumendrop.containers.readers import EndsReader
from lumendrop.outcomes import Rejected
from lumendrop_cli import enhance_plan, image_header, photo_options
from tests.unit import photos

PARAMETERS = {
    "Resolution": "4K",
    "Creativity": "0.30",
    "Resemblance": "",
    "ProfileIds": "one , two",
    "Metadata": "keep",
}
VALUES = {
    "resolution": ("1K", "4k", " 1k ", "2K"),
    "creativity": ("0", ".5", "1.000", "+0.25", "1e-1", "1.1", "half", "0_1", " ", ""),
    "resemblance": ("1", ""),
    "profile-ids": ("a,b", " a ,, b ", "a b", "", ",,", ",".join("p" * 21)),
    "metadata": ("keep", " No-Location", "none", "", "all"),
}


def _cases() -> Iterator[dict[str, str]]:
    yield {}
    yield {"Creativity": "0.5", "other": "x"}
    for name, values in VALUES.items():
        for value in values:
            yield {name: value}
    for one, other in itertools.product(VALUES["creativity"][:4], VALUES["profile-ids"][:2]):
        yield {"creativity": one, "profile-ids": other}


@pytest.mark.parametrize("given", list(_cases()), ids=str)
def test_options_have_the_same_text_as_in_submit(given: dict[str, str]) -> None:
    stack: Any = SimpleNamespace(parameters=PARAMETERS)
    names = ("resolution", "creativity", "resemblance", "profile_ids", "metadata")
    parameters: Any = SimpleNamespace(**dict(zip(names, PARAMETERS.values(), strict=True)))
    defaults = options.defaults(parameters)
    try:
        expected = options.read(given, defaults).as_text()
    except Rejected:
        with pytest.raises(typer.BadParameter):
            photo_options.as_text(stack, given)
    else:
        assert photo_options.as_text(stack, given) == expected


def test_the_same_photo_has_the_same_key_as_in_submit() -> None:
    stack: Any = SimpleNamespace(output=lambda _: "bucket")
    source: Any = SimpleNamespace(file=SimpleNamespace(size=17), sha256="c2hh", options='{"resolution":"4K"}')
    assert enhance_plan._photo_key(stack, source) == ledger.photo_key("bucket", "17 c2hh", source.options)


PHOTOS = {"jpeg": photos.jpeg(photos.frame()), "png": photos.png(), "webp": photos.webp(), "heic": photos.heic()}


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_formats_and_sizes_are_those_that_submit_finds(photo: bytes) -> None:
    header = image_header.read_header(photo)
    image = containers.examine(EndsReader(len(photo), photo))
    assert header == image_header.Header(image.format.content_type, max(image.width or 0, image.height or 0))


@pytest.mark.parametrize("other", [b"", b"GIF89a", b"<html>", b"\0" * 64, hashlib.sha256(b"x").digest()])
def test_other_files_are_no_photos(other: bytes) -> None:
    assert image_header.read_header(other) is None
