"""A function's settings, read from its environment and checked once, at cold start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class SettingsError(RuntimeError):
    """A setting in the function's environment is missing or has an invalid value."""


def read(kind: type[T], environment: Mapping[str, str] = os.environ) -> T:
    """Fills `kind` from environment variables with the names of its fields in upper case.

    A fraction of a whole number is left out: CloudFormation accepts it for any parameter of the type Number. Raises
    SettingsError with the name of the variable. The error does not contain invalid values.
    """
    found = {
        field.name: _without_fraction(field.type, environment[field.name.upper()])
        for field in msgspec.structs.fields(kind)
        if field.name.upper() in environment
    }
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"invalid settings in the function's environment: {error}") from error


def _without_fraction(kind: Any, value: str) -> str:
    is_whole = get_origin(kind) is Annotated and get_args(kind)[0] is int
    whole, _, fraction = value.partition(".")
    return whole if is_whole and (fraction or "0").isdecimal() else value


def allow_loopback() -> bool:
    """Whether results may come from http and 127.0.0.1. Only the sandbox's runtime allows it."""
    return os.environ.get("LUMENDROP_ALLOW_LOOPBACK") == "true"
