"""A function's settings, read from its environment and checked once, at cold start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class SettingsError(RuntimeError):
    """A setting in the function's environment is missing or has an invalid value."""


def read(kind: type[T], environment: Mapping[str, str] = os.environ) -> T:
    """Fills `kind` from environment variables with the names of its fields in upper case.

    Raises SettingsError with the name of the variable. The error does not contain invalid values.
    """
    found = {
        field.name: environment[field.name.upper()]
        for field in msgspec.structs.fields(kind)
        if field.name.upper() in environment
    }
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"invalid settings in the function's environment: {error}") from error


def allow_loopback() -> bool:
    """Whether results may come from http and 127.0.0.1. Only the sandbox's runtime allows it."""
    return os.environ.get("LUMENDROP_ALLOW_LOOPBACK") == "true"
