"""What is known of an image file once its structure was walked."""

from __future__ import annotations

from typing import Literal

import msgspec

from lumendrop.images import Format

Code = Literal["truncated", "not_an_image", "unsupported_image", "too_many_pixels"]


class Broken(Exception):
    """The file is not a whole image that an enhancer can read; the text says why."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


class Image(msgspec.Struct, frozen=True):
    """What the structure of an image file states. `format` is according to its first bytes.

    `width` and `height` are in pixels, as stored; orientation is not applied. Both are None if the part that states
    them was not read. `pictures` is `one`, `animation` (APNG, animated WebP, HEIF sequence), or `several` (MPO).
    """

    format: Format
    width: int | None = None
    height: int | None = None
    pictures: Literal["one", "animation", "several"] = "one"

    @property
    def pixels(self) -> str | None:
        """Width and height as in `4032x3024`, or None."""
        return f"{self.width}x{self.height}" if self.width and self.height else None


def truncated() -> Broken:
    return Broken("truncated", "The file ends before its image does.")


def malformed(what: str) -> Broken:
    return Broken("not_an_image", f"The file is not a valid image: {what}.")


def unsupported(what: str) -> Broken:
    return Broken("unsupported_image", f"The file is {what}, which the enhancer does not support.")
