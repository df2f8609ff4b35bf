"""The smallest image files that are whole according to their structure."""

from __future__ import annotations

import struct
import zlib


def jpeg(*segments: bytes, data: bytes = b"\x12\x34") -> bytes:
    """A JPEG of these segments and one scan."""
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    return b"\xff\xd8" + b"".join(segments) + scan + data + b"\xff\xd9"


def frame(marker: int = 0xC0, width: int = 8, height: int = 8) -> bytes:
    """The segment that states the dimensions of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">HBHHBBBB", 11, 8, height, width, 1, 1, 0x11, 0)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int = 4, height: int = 4, *before: bytes) -> bytes:
    """A PNG, with these chunks before its first."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * (height * (width + 1))) if width * height < 10_000 else b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(before) + header + data + chunk(b"IEND", b"")


def webp(width: int = 4, height: int = 4, *chunks: bytes) -> bytes:
    """A lossless WebP, with these chunks after its image data."""
    data = b"\x2f" + struct.pack("<I", (height - 1) << 14 | (width - 1)) + b"\0" * 59
    parts = b"WEBPVP8L" + struct.pack("<I", len(data)) + data + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(parts)) + parts


def box(kind: bytes, data: bytes) -> bytes:
    """A box of a HEIF file."""
    return struct.pack(">I", len(data) + 8) + kind + data


def heic(width: int = 4, height: int = 4, brands: bytes = b"heic\0\0\0\0mif1heic", items: int = 1) -> bytes:
    """A HEIC file with some items, of which the first is the primary one."""
    sizes = box(b"ipco", box(b"ispe", struct.pack(">III", 0, width, height)))
    used = box(b"ipma", struct.pack(">IIHBB", 0, 1, 1, 1, 1))
    ftyp, data = box(b"ftyp", brands), b"\0" * 300

    def meta(at: int) -> bytes:
        places = b"".join(struct.pack(">HHHII", item + 1, 0, 1, at + item * 300, 300) for item in range(items))
        located = box(b"iloc", struct.pack(">IBBH", 0, 0x44, 0, items) + places)
        primary = box(b"pitm", struct.pack(">IH", 0, 1))
        return box(b"meta", b"\0" * 4 + primary + located + box(b"iprp", sizes + used))

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", data * items)
