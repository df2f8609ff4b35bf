"""Makes text from outside, such as keys and error messages, safe to print."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

# Control characters (escape sequences of terminals), format characters (bidi, zero-width), lone surrogates, and line
# separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Invisible characters of other categories.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0]")


def clean(text: str) -> str:
    """The text with every character escaped that a terminal would act on or not show, such as `\\x1b`.

    A line break is escaped too, so that one value can't look like several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(one) if _is_unsafe(one) else one for one in text)


def clean_value(value: Any) -> str | None:
    """A value as clean text; None stays None."""
    return None if value is None else clean(str(value))


def count(number: int, noun: str) -> str:
    """Such as `1 photo` or `2,000 photos`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sentence(text: str) -> str:
    """The text with one punctuation mark at its end."""
    text = text.strip()
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}."


def to_json(data: Any, indent: int | None = 2) -> str:
    """JSON of ASCII characters only, none of which a terminal acts on. Programs read the exact values from it."""
    return json.dumps(data, indent=indent, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")


def decode_argument(text: str) -> str | None:
    """An argument as UTF-8, or None if it isn't. Python turns bytes that it can't decode into lone surrogates."""
    try:
        return text.encode(errors="surrogateescape").decode()
    except UnicodeError:
        return None


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE_CATEGORIES or bool(_INVISIBLE.match(character))


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
