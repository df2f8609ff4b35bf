"""The options of a photo: what `lumendrop enhance` writes to an object's metadata, and how submit identifies them.

layers/lumendrop/options.py has the same rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import typer

from lumendrop_cli.stack import Stack

RESOLUTIONS = {"1K": 1024, "4K": 4096}
METADATA = ("keep", "no-location", "none")

# The names in an object's metadata, and the stack's parameters.
_PARAMETERS = {
    "resolution": "Resolution",
    "creativity": "Creativity",
    "resemblance": "Resemblance",
    "profile-ids": "ProfileIds",
    "metadata": "Metadata",
}
_NUMBER = re.compile(r"\+?([0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?")
_PROFILE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MOST_PROFILE_IDS = 20


def checked(given: Mapping[str, str | None]) -> dict[str, str]:
    """The options that are given, as an object's metadata. Raises BadParameter."""
    options = {name: value for name, value in given.items() if value is not None}
    _parse(options | {"resolution": options.get("resolution", "1K")})
    return options


def as_text(stack: Stack, metadata: Mapping[str, str]) -> str:
    """The options of a photo as the ledger has them. Raises BadParameter for values that submit rejects."""
    defaults = {name: stack.parameters.get(parameter, "") for name, parameter in _PARAMETERS.items()}
    defaults = {name: value for name, value in defaults.items() if value}
    given = {name.lower(): value for name, value in metadata.items() if name.lower() in _PARAMETERS}
    return json.dumps(_parse(defaults | given), separators=(",", ":"))


def resolution(text: str) -> str:
    """The resolution in the ledger's text of options."""
    found: str = json.loads(text)["resolution"]
    return found


def _parse(values: Mapping[str, str]) -> dict[str, Any]:
    """The options that are sent or differ from their default, in the order of the layer's fields."""
    given = {name: value.strip() for name, value in values.items()}
    resolution, metadata = given.get("resolution", "").upper(), given.get("metadata", METADATA[0]).lower()
    if resolution not in RESOLUTIONS:
        raise _bad("resolution", resolution, " or ".join(RESOLUTIONS))
    if metadata not in METADATA:
        raise _bad("metadata", metadata, ", ".join(METADATA))
    options = {
        "resolution": resolution,
        "creativity": _fraction("creativity", given.get("creativity")),
        "resemblance": _fraction("resemblance", given.get("resemblance")),
        "profile_ids": _profile_ids(given.get("profile-ids")),
        "metadata": None if metadata == METADATA[0] else metadata,
    }
    return {name: value for name, value in options.items() if value is not None}


def _fraction(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or not 0 <= float(text) <= 1:
        raise _bad(name, text, "a number from 0.0 to 1.0")
    return float(text)


def _profile_ids(text: str | None) -> list[str] | None:
    if text is None:
        return None
    ids = [part.strip() for part in text.split(",") if part.strip()]
    if not 0 < len(ids) <= _MOST_PROFILE_IDS or not all(_PROFILE_ID.fullmatch(one) for one in ids):
        raise _bad("profile-ids", text, f"1 to {_MOST_PROFILE_IDS} IDs, separated by commas")
    return ids


def _bad(name: str, value: str, expected: str) -> typer.BadParameter:
    return typer.BadParameter(f"--{name} must be {expected}, not {value!r}")
