"""A file made of new bytes and of ranges of another file, without a copy of that file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from lumendrop import checksums

_CHUNK_BYTES = 1 << 18


class Range(msgspec.Struct, frozen=True):
    """The bytes from `start` to `end` of the other file."""

    start: int
    end: int


Piece = bytes | Range


class Spliced(msgspec.Struct, frozen=True):
    """The content of a file: its pieces in order, with ranges of the file `path`."""

    path: Path
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        return sum(map(_length, self.pieces))

    def open(self) -> io.BufferedReader:
        """A reader of the content. The caller closes it."""
        return io.BufferedReader(_Reader(self.path.open("rb"), self.pieces), _CHUNK_BYTES)

    def sha256(self) -> str:
        """In base64, as in S3's checksums."""
        with self.open() as file:
            return checksums.sha256(file)


def without(drop: Iterable[tuple[int, int]], start: int, end: int) -> Iterator[Range]:
    """The ranges from `start` to `end` that remain without those to drop, which are in order."""
    for first, last in drop:
        if first > start:
            yield Range(start, first)
        start = last
    if end > start:
        yield Range(start, end)


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.end - piece.start


class _Reader(io.RawIOBase):
    """Seekable, because a request that is repeated reads its body again."""

    def __init__(self, file: IO[bytes], pieces: Sequence[Piece]) -> None:
        self._file = file
        self._pieces = pieces
        self._at = 0
        self._size = sum(map(_length, pieces))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        at = self._at
        for piece in self._pieces:
            length = _length(piece)
            if at < length:
                count = self._copy(piece, at, memoryview(buffer)[: length - at])
                self._at += count
                return count
            at -= length
        return 0

    def _copy(self, piece: Piece, at: int, target: memoryview) -> int:
        if isinstance(piece, bytes):
            target[:] = piece[at : at + len(target)]
            return len(target)
        self._file.seek(piece.start + at)
        return self._file.readinto(target)  # type: ignore[attr-defined, no-any-return]  # a file on disk has it

    def close(self) -> None:
        self._file.close()
        super().close()
