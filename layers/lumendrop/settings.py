"""A function's settings, read from its environment and checked once, at cold start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class SettingsError(RuntimeError):
    """The function's environment lacks a setting, or one has a value it can't have."""


def read(kind: type[T], environment: Mapping[str, str] = os.environ) -> T:
    """Fills `kind` from environment variables named like its fields in upper case.

    Raises SettingsError naming the variable. Values that don't fit are not repeated in the error.
    """
    found = {
        field.name: environment[field.name.upper()]
        for field in msgspec.structs.fields(kind)
        if field.name.upper() in environment
    }
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"bad settings in the function's environment: {error}") from error


def allow_loopback() -> bool:
    """Whether http and 127.0.0.1 will do for results: only where the sandbox's runtime says so."""
    return os.environ.get("LUMENDROP_ALLOW_LOOPBACK") == "true"
