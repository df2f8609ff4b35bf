"""Metadata chunks of PNG: eXIf, XMP in iTXt, texts, and what ImageMagick writes as "Raw profile type".

Sources: the PNG specification, third edition; XMP Specification part 3; ImageMagick's coders/png.c.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from lumendrop.containers.png import Chunk, chunks
from lumendrop.containers.readers import Reader, exactly
from lumendrop.metadata import iptc
from lumendrop.metadata.blocks import MOST_BLOCK_BYTES, Blocks, BrokenBlock, LeftOut, strip_exif_header
from lumendrop.metadata.jpeg import XMP_HEADER
from lumendrop.metadata.places import may_state_place
from lumendrop.metadata.spliced import Piece, without

_XMP_KEYWORD = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_METADATA = re.compile(rb"eXIf|tEXt|zTXt|iTXt")
_KEYWORD = re.compile(rb"(?=.{1,79}\Z)[\x21-\x7e\xa1-\xff]+( [\x21-\x7e\xa1-\xff]+)*")
_MOST_TEXTS = 100
_COLOR_PROFILES = ("icc", "icm")
_TAIL_BYTES = 1 << 18
_MOST_KEYWORD_BYTES = 79


def read(reader: Reader) -> Blocks:
    """The metadata before the image data, and that in the last 256 KiB. Raises Broken."""
    found = Blocks()
    for chunk in _metadata_chunks(reader):
        found.has_icc |= chunk.type == b"iCCP"
        found.is_signed |= chunk.type == b"caBX"
        if _METADATA.fullmatch(chunk.type):
            try:
                _add(found, chunk.type, _data(reader, chunk))
            except BrokenBlock as error:
                found.left_out.append(LeftOut(f"PNG chunk {chunk.type.decode()}", str(error)))
    return found


def _metadata_chunks(reader: Reader) -> Iterator[Chunk]:
    """Image data can be thousands of chunks. So chunks after it are found from the end, by their type and checksum."""
    data_at = reader.size
    for chunk in chunks(reader):
        if chunk.type == b"IDAT":
            data_at = chunk.end
            break
        yield chunk
    start = max(data_at, reader.size - _TAIL_BYTES)
    if start >= reader.size:
        return
    tail = exactly(reader, start, reader.size - start)
    for match in _METADATA.finditer(tail):
        at = match.start() - 4
        size = int.from_bytes(tail[max(at, 0) : match.start()], "big")
        end = match.end() + size
        if (
            at >= 0
            and end + 4 <= len(tail)
            and zlib.crc32(tail[at + 4 : end]) == int.from_bytes(tail[end : end + 4], "big")
        ):
            yield Chunk(match.group(), start + at, size)


def _data(reader: Reader, chunk: Chunk) -> bytes:
    if chunk.length > MOST_BLOCK_BYTES:
        raise BrokenBlock(f"it has {chunk.length} bytes")
    return exactly(reader, chunk.data_at, chunk.length) if chunk.length else b""


def _add(found: Blocks, kind: bytes, data: bytes) -> None:
    if kind == b"eXIf":
        found.exif = strip_exif_header(data)
        return
    keyword, text = _text(kind, data)
    if keyword == _XMP_KEYWORD:
        found.xmp = found.xmp or text
    elif keyword.startswith(_RAW_PROFILE):
        _add_profile(found, keyword[len(_RAW_PROFILE) :].decode("latin-1").lower(), _profile(text))
    else:
        decoded = text.decode("utf-8" if kind == b"iTXt" else "latin-1", errors="replace")
        _add_text(found, keyword.decode("latin-1"), decoded.replace("\0", ""))


def _add_text(found: Blocks, keyword: str, text: str) -> None:
    """What has no room is left out."""
    others = [one for name, one in found.texts.items() if name != keyword]
    if found.texts.get(keyword, text) != text:
        found.left_out.append(LeftOut(f"PNG text {keyword}", "the file has another one"))
    elif len(others) >= _MOST_TEXTS or sum(map(len, others)) + len(text) > MOST_BLOCK_BYTES:
        found.left_out.append(LeftOut(f"PNG text {keyword}", "the file has too many texts"))
    else:
        found.texts[keyword] = text


def _text(kind: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Keyword and text of a chunk."""
    keyword, separator, rest = data.partition(b"\0")
    if not separator or not _KEYWORD.fullmatch(keyword):
        raise BrokenBlock("it has no valid keyword")
    if kind == b"tEXt":
        return keyword, rest
    if kind == b"zTXt":
        return keyword, _inflate(rest[1:])
    is_compressed = rest[:1] == b"\1"
    parts = rest[2:].split(b"\0", 2)  # language, translated keyword, text
    if len(parts) < 3:
        raise BrokenBlock("it is cut short")
    return keyword, _inflate(parts[2]) if is_compressed else parts[2]


def _inflate(data: bytes) -> bytes:
    machine = zlib.decompressobj()
    try:
        text = machine.decompress(data, MOST_BLOCK_BYTES)
    except zlib.error:
        raise BrokenBlock("its compressed text is damaged") from None
    if not machine.eof:
        raise BrokenBlock("its compressed text is cut short or too large")
    return text


def _profile(text: bytes) -> bytes:
    """The bytes of a raw profile: a line with its name, a line with its size, and hexadecimal digits."""
    try:
        size, _, digits = text.split(b"\n", 2)[2].partition(b"\n")
        data = bytes.fromhex(digits.decode("ascii"))
        if int(size) != len(data):
            raise BrokenBlock("its raw profile has another size than it states")
    except (IndexError, ValueError):
        raise BrokenBlock("its raw profile is damaged") from None
    return data


def _add_profile(found: Blocks, name: str, data: bytes) -> None:
    if name in ("exif", "app1") and data.startswith(b"Exif\0"):
        found.exif = found.exif or strip_exif_header(data)
    elif name == "app1" and data.startswith(XMP_HEADER):
        found.xmp = found.xmp or data[len(XMP_HEADER) :]
    elif name == "xmp":
        found.xmp = found.xmp or data
    elif name in ("iptc", "8bim"):
        data = data[len(iptc.PHOTOSHOP) :] if data.startswith(iptc.PHOTOSHOP) else data
        if data.startswith(b"8BIM"):
            iptc.read(found, data)
        else:
            found.iptc = found.iptc or data
    elif name not in _COLOR_PROFILES:
        found.left_out.append(LeftOut(f"PNG text Raw profile type {name}", "its kind is not known"))


def write(reader: Reader, exif: bytes, packet: bytes, texts: dict[str, str], *, location: bool) -> list[Piece]:
    """The file with these blocks and texts instead of its own. They follow the header, so readers find them first."""
    drop, insert_at = [], 0
    for chunk in chunks(reader):
        insert_at = insert_at or chunk.end
        if chunk.type == b"eXIf" or (chunk.type in _TEXTS and _is_replaced(reader, chunk, texts, location=location)):
            drop.append((chunk.at, chunk.end))
    inserted = b"".join(
        [
            _chunk(b"eXIf", exif) if exif else b"",
            _international_text(_XMP_KEYWORD, packet) if packet else b"",
            *(_international_text(keyword.encode("latin-1"), text.encode()) for keyword, text in texts.items()),
        ]
    )
    return [*without([], 0, insert_at), inserted, *without(drop, insert_at, reader.size)]


def _is_replaced(reader: Reader, chunk: Chunk, texts: dict[str, str], *, location: bool) -> bool:
    """Whether a text is a block that is written anew, has the keyword of another one, or is about an unwanted place."""
    head = exactly(reader, chunk.data_at, min(chunk.length, _MOST_KEYWORD_BYTES + 1)) if chunk.length else b""
    keyword = head.partition(b"\0")[0]
    name = keyword.decode("latin-1")
    is_block = keyword == _XMP_KEYWORD or keyword.startswith(_RAW_PROFILE)
    return is_block or name in texts or (may_state_place(name) and not location)


def _international_text(keyword: bytes, text: bytes) -> bytes:
    """An uncompressed text in UTF-8, without a language."""
    return _chunk(b"iTXt", keyword + b"\0\0\0\0\0" + text)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
