"""Bounded access to the bytes of a file: all of one on disk, or the two ends of an object in S3."""

from __future__ import annotations

from typing import IO, Protocol

from lumendrop.containers.image import truncated

_WINDOW_BYTES = 1 << 16


class Unseen(Exception):
    """The bytes are in the file, but they were not read."""


class Reader(Protocol):
    """Random access to a file of `size` bytes."""

    size: int

    def read(self, at: int, count: int) -> bytes:
        """1 to `count` bytes from offset `at`, none only at the end of the file. Raises Unseen."""
        ...


class FileReader:
    """Reads an open file through a window, so that neighbouring small reads cost one system call."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.size = size
        self._file = file
        self._start = 0
        self._window = b""

    def read(self, at: int, count: int) -> bytes:
        if at < self._start or at + count > self._start + len(self._window):
            self._file.seek(at)
            self._start, self._window = at, self._file.read(max(count, _WINDOW_BYTES))
        return self._window[at - self._start :][:count]


class EndsReader:
    """The first and the last bytes of an object of `size` bytes, as two range reads returned them."""

    def __init__(self, size: int, head: bytes, tail: bytes = b"") -> None:
        self.size = size
        self._tail_at = size - len(tail)
        if self._tail_at <= len(head):
            head, tail = head + tail[len(head) - self._tail_at :], b""
        self._head = head
        self.tail = tail

    def read(self, at: int, count: int) -> bytes:
        if at < len(self._head) or at >= self.size:
            return self._head[at : at + count]
        if self.tail and at >= self._tail_at:
            return self.tail[at - self._tail_at :][:count]
        raise Unseen


def exactly(reader: Reader, at: int, count: int) -> bytes:
    """`count` bytes from offset `at`. Raises Broken if the file ends before them, and Unseen."""
    if at + count > reader.size:
        raise truncated()
    found = reader.read(at, count)
    if len(found) < count:
        raise Unseen
    return found
