"""The options of a photo: the stack's parameters, which one photo's metadata can override."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, Protocol, cast

import msgspec

from lumendrop.outcomes import Rejected

Resolution = Literal["1K", "4K"]
Metadata = Literal["keep", "no-location", "none"]
# float() also reads 0_1, infinity, and digits of other scripts.
_NUMBER = re.compile(r"\+?([0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?")
_PROFILE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MOST_PROFILE_IDS = 20
_METADATA = ("keep", "no-location", "none")
_DEFAULT_METADATA: Metadata = "keep"


class Options(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Options of one photo. `creativity` and `resemblance` are 0.0 to 1.0. Options that are None are not sent.

    `metadata` is what the enhanced photo gets of its upload's metadata. The enhancer does not get it.
    """

    resolution: Resolution
    creativity: float | None = None
    resemblance: float | None = None
    profile_ids: tuple[str, ...] | None = None
    metadata: Metadata = _DEFAULT_METADATA

    def required_only(self) -> Options:
        """These options, without those that the enhancer may not support."""
        return Options(self.resolution, metadata=self.metadata)

    def as_request(self) -> dict[str, Any]:
        """The options that the enhancer gets, with the field names of its API."""
        return {name: value for name, value in self.as_json().items() if name != "metadata"}

    def as_json(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        found = cast(dict[str, Any], msgspec.to_builtins(self))
        return {name: value for name, value in found.items() if (name, value) != ("metadata", _DEFAULT_METADATA)}

    def as_text(self) -> str:
        """`as_json` as text."""
        return msgspec.json.encode(self.as_json()).decode()


class Parameters(Protocol):
    """The stack's parameters for options."""

    @property
    def resolution(self) -> str: ...
    @property
    def creativity(self) -> str: ...
    @property
    def resemblance(self) -> str: ...
    @property
    def profile_ids(self) -> str: ...
    @property
    def metadata(self) -> str: ...


def defaults(parameters: Parameters) -> Options:
    """The options that the stack's parameters set. An empty parameter sets none."""
    names = ("resolution", "creativity", "resemblance", "profile_ids", "metadata")
    return read({name.replace("_", "-"): value for name in names if (value := getattr(parameters, name))})


def read(values: Mapping[str, str], defaults: Options | None = None) -> Options:
    """Reads options from text: `resolution`, `creativity`, `resemblance`, `profile-ids` (with commas), `metadata`.

    Options that are missing in `values` come from `defaults`. Other names are ignored. Raises Rejected, with the name
    of the option, for a value that is empty or that the enhancer does not support.
    """
    given = {name.lower(): value.strip() for name, value in values.items()}
    return Options(
        resolution=_resolution(given.get("resolution"), defaults),
        creativity=_fraction("creativity", given, defaults.creativity if defaults else None),
        resemblance=_fraction("resemblance", given, defaults.resemblance if defaults else None),
        profile_ids=_profile_ids(given, defaults.profile_ids if defaults else None),
        metadata=_metadata(given, defaults.metadata if defaults else _DEFAULT_METADATA),
    )


def _resolution(text: str | None, defaults: Options | None) -> Resolution:
    if text is None and defaults:
        return defaults.resolution
    wanted = (text or "").upper()
    if wanted not in ("1K", "4K"):
        raise _bad("resolution", text, "1K or 4K")
    return cast(Resolution, wanted)


def _fraction(name: str, given: Mapping[str, str], default: float | None) -> float | None:
    if name not in given:
        return default
    value = float(given[name]) if _NUMBER.fullmatch(given[name]) else math.nan
    if not 0 <= value <= 1:
        raise _bad(name, given[name], "a number from 0.0 to 1.0")
    return value


def _profile_ids(given: Mapping[str, str], default: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if "profile-ids" not in given:
        return default
    ids = tuple(part.strip() for part in given["profile-ids"].split(",") if part.strip())
    if not 0 < len(ids) <= _MOST_PROFILE_IDS or not all(_PROFILE_ID.fullmatch(one) for one in ids):
        raise _bad(
            "profile-ids",
            given["profile-ids"],
            f"1 to {_MOST_PROFILE_IDS} ids of letters, digits, - and _, separated by commas",
        )
    return ids


def _metadata(given: Mapping[str, str], default: Metadata) -> Metadata:
    wanted = given.get("metadata", default).lower()
    if wanted not in _METADATA:
        raise _bad("metadata", given["metadata"], "keep, no-location, or none")
    return cast(Metadata, wanted)


def _bad(name: str, value: str | None, expected: str) -> Rejected:
    return Rejected("invalid_option", name=name, value=(value or "")[:100], expected=expected)
