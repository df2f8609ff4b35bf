"""Combines the metadata of an upload and of its result: what describes the photo comes from the upload."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from lumendrop.containers import Image
from lumendrop.images import HEIC, JPEG, PNG
from lumendrop.metadata import exif, iptc, jpeg, label, mapping, xmp
from lumendrop.metadata.blocks import MOST_BLOCK_BYTES, Blocks, BrokenBlock, Kind, LeftOut, listed
from lumendrop.metadata.places import may_state_place
from lumendrop.options import Metadata

T = TypeVar("T")
_SWAPS_SIDES = (5, 6, 7, 8)


class Wanted(msgspec.Struct, frozen=True):
    """What the owner wants: the metadata to carry over, and the model that the label names, None for no label."""

    metadata: Metadata
    model: str | None
    now: datetime


class Combined(msgspec.Struct):
    """The blocks to deliver. `carried` names those that come from the upload, at least in part.

    Only PNG has a place for `texts`.
    `swaps_sides` is whether the upload is shown with its width and height exchanged, None if that is unknown.
    """

    exif: bytes
    packet: xmp.Packet
    iptc: bytes
    texts: dict[str, str] = {}
    carried: list[str] = []
    left_out: list[LeftOut] = []
    swaps_sides: bool | None = None


def combine(upload: Blocks, result: Blocks, image: Image, wanted: Wanted, *, is_modified: bool) -> Combined:
    """Blocks of the upload that can't be read are left out. For a file that is not modified, all of it is in XMP."""
    found = Combined(result.exif, _read(xmp.Packet(), xmp.parse, result.xmp, result.extended_xmp), result.iptc)
    if wanted.metadata != "none":
        found.left_out += upload.left_out
        _Combiner(found, upload, result, image, location=wanted.metadata == "keep").run(is_modified=is_modified)
    if wanted.model:
        label.apply(found.packet, wanted.model, wanted.now)
    return found


class _Combiner:
    def __init__(self, found: Combined, upload: Blocks, result: Blocks, image: Image, *, location: bool) -> None:
        self._found = found
        self._upload = upload
        self._result = result
        self._image = image
        self._location = location
        self._old = self._attempt("exif", None, exif.parse)

    def run(self, *, is_modified: bool) -> None:
        orientation = (self._old.number("image", exif.ORIENTATION) if self._old else None) or 1
        rotated = bool(self._upload.quarter_turns) or orientation != 1
        self._found.swaps_sides = self._upload.quarter_turns % 2 == 1 or orientation in _SWAPS_SIDES
        self._combine_exif()
        self._combine_xmp(rotated=rotated)
        self._combine_iptc(is_jpeg=is_modified and self._image.format is JPEG)
        self._combine_texts(is_png=is_modified and self._image.format is PNG)
        if not is_modified and self._found.exif:
            self._describe_exif(exif.parse(self._found.exif))
        if not self._location:
            self._leave_out("xmp", xmp.remove_location(self._found.packet))

    def _describe_exif(self, found: exif.Exif) -> None:
        others = mapping.add_exif(self._found.packet, found)
        if others:
            why = f"XMP has no property or another text for tags {listed(others)}"
            self._found.left_out.append(LeftOut("exif", why))

    def _attempt(self, kind: Kind, default: T, read: Callable[[bytes], T]) -> T:
        """The first of the upload's blocks of this kind that can be read, if it has any."""
        candidates = self._upload.candidates(kind)
        for number, data in enumerate(candidates, 1):
            try:
                found = read(data)
            except BrokenBlock as error:
                self._found.left_out.append(LeftOut(kind, str(error)))
                continue
            if number < len(candidates):
                self._found.left_out.append(LeftOut(kind, "the file has another one"))
            self._found.carried.append(kind)
            return found
        return default

    def _combine_exif(self) -> None:
        own = _read(None, exif.parse, self._result.exif)
        if not self._old and (self._location or not own):
            return
        changes = exif.Changes(
            self._image.width,
            self._image.height,
            self._result.has_icc,
            jpeg.MOST_EXIF_BYTES if self._image.format is JPEG else MOST_BLOCK_BYTES,
            self._location,
        )
        self._found.exif, left_out = exif.combine(self._old, own, changes)
        self._found.left_out += left_out

    def _combine_xmp(self, *, rotated: bool) -> None:
        old = self._attempt("xmp", xmp.Packet(), xmp.parse)
        if self._upload.extended_xmp:
            try:
                xmp.extend(old, self._upload.extended_xmp)
            except BrokenBlock as error:
                self._found.left_out.append(LeftOut("xmp extension", str(error)))
            else:
                self._found.carried.append("xmp")
        self._found.packet = xmp.combine(old, self._found.packet, rotated=rotated)

    def _leave_out(self, what: str, names: list[str]) -> None:
        if names:
            self._found.left_out.append(LeftOut(what, f"no-location leaves out {listed(sorted(names))}"))

    def _combine_iptc(self, *, is_jpeg: bool) -> None:
        """Only JPEG has a place for IPTC-IIM."""

        def read(data: bytes) -> bytes:
            if not self._location and iptc.has_coordinates(data):
                self._found.left_out.append(LeftOut("iptc", "no-location leaves out coordinates"))
            return iptc.combine(data, b"", location=self._location)

        own = _read(b"", read, self._result.iptc)
        self._found.iptc = self._attempt("iptc", b"", read) or self._undamaged_iptc(read) or own
        if not is_jpeg and self._found.iptc:
            others = mapping.add_iptc(self._found.packet, self._found.iptc)
            if others:
                why = f"XMP has no property or another value for datasets {listed(others)}"
                self._found.left_out.append(LeftOut("iptc", why))

    def _undamaged_iptc(self, read: Callable[[bytes], bytes]) -> bytes:
        """The datasets before the damage, if no block is whole."""
        if "iptc" in self._found.carried:
            return b""
        found = next(filter(None, map(iptc.undamaged, self._upload.candidates("iptc"))), b"")
        if found:
            self._found.carried.append("iptc")
        return read(found)

    def _combine_texts(self, *, is_png: bool) -> None:
        """All texts stay texts in a PNG. Those with a standard keyword become XMP everywhere."""
        texts = dict(self._upload.texts)
        if not self._location:
            unwanted = [name for name, text in texts.items() if may_state_place(name, text)]
            self._leave_out("PNG texts", unwanted)
            texts = {name: text for name, text in texts.items() if name not in unwanted}
        if texts or self._upload.copyright:
            self._found.carried.append("texts")
        others = mapping.add_texts(self._found.packet, texts | self._upload.copyright)
        if is_png:
            self._found.texts = texts
        elif others:
            self._found.left_out.append(
                LeftOut("PNG texts", f"XMP has no property or another text for {listed(others)}")
            )


def _read(default: T, read: Callable[..., T], *blocks: bytes) -> T:
    """Reads the result's blocks. What can't be read is replaced."""
    try:
        return read(*blocks) if any(blocks) else default
    except BrokenBlock:
        return default


def unmodifiable(image: Image, result: Blocks) -> str | None:
    """None if metadata can be written into the result, otherwise why not."""
    if result.is_signed:
        return "the result has Content Credentials (C2PA), so it is not modified and has a sidecar"
    if image.format is HEIC:
        return "the result is HEIC, which is not modified and has a sidecar"
    return (
        "the result holds several pictures, so it is not modified and has a sidecar"
        if image.pictures == "several"
        else None
    )
