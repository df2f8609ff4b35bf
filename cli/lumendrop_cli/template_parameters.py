"""The values of the template's parameters: from options and a file, checked before AWS is asked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from lumendrop_cli.text import decode_argument

DEFAULT_FILE = Path("lumendrop.toml")
_TABLE = "parameters"

Declarations = Mapping[str, Mapping[str, Any]]


def read_parameters(given: list[str] | None, file: Path | None, declared: Declarations) -> dict[str, str]:
    """The values that the user gives. An option takes precedence over the file. Raises BadParameter."""
    path = file or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    values = _from_file(path) if path else {}
    for one in given or ():
        name, separator, value = one.partition("=")
        if not separator:
            raise typer.BadParameter(f"{one!r} is not of the form Name=value")
        values[name] = value
    for name, value in values.items():
        _check(name, value, declared)
    return values


def _from_file(path: Path) -> dict[str, str]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows add a mark
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested too deeply
        raise typer.BadParameter(f"{path} is not valid TOML: {error}") from None
    table = content.get(_TABLE, {})
    if unknown := [*content.keys() - {_TABLE}, *([] if isinstance(table, dict) else [_TABLE])]:
        raise typer.BadParameter(f"{path} can have only the table [{_TABLE}], not {', '.join(sorted(unknown))}")
    return {name: _as_text(path, name, value) for name, value in table.items()}


def _as_text(path: Path, name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise typer.BadParameter(f"{path}: {name} must be a text or a number")
    return str(value)


def _check(name: str, value: str, declared: Declarations) -> None:
    """Checks a value as CloudFormation does. Raises BadParameter."""
    if name not in declared:
        close = get_close_matches(name, declared, n=1)
        advice = f"did you mean {close[0]}?" if close else f"choose from {', '.join(sorted(declared))}"
        raise typer.BadParameter(f"the template has no parameter {name}; {advice}")
    declaration = declared[name]
    if decode_argument(value) is None:
        raise typer.BadParameter(f"{name} is not valid UTF-8")
    if not value.isprintable():
        raise typer.BadParameter(f"{name} contains a control character, as in {value!r}")
    if declaration["Type"] == "Number":
        _check_number(name, value, is_whole="." not in str(declaration.get("Default", "")))
    for constraint, (holds, reason) in _CONSTRAINTS.items():
        if constraint in declaration and not holds(value, declaration[constraint]):
            limit = _listed(declaration[constraint])
            reason = declaration.get("ConstraintDescription") or reason.format(limit)
            raise typer.BadParameter(f"{name} {reason.rstrip('.')}, not {value!r}")


def _check_number(name: str, value: str, *, is_whole: bool) -> None:
    """CloudFormation accepts a fraction of any number, and the functions leave it out."""
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", value):
        raise typer.BadParameter(f"{name} must be a number, not {value!r}")
    if is_whole and "." in value:
        raise typer.BadParameter(f"{name} must be a whole number, not {value!r}")


def _listed(limit: Any) -> str:
    return ", ".join(map(str, limit)) if isinstance(limit, list) else f"{limit}"


_CONSTRAINTS: dict[str, tuple[Callable[[str, Any], bool], str]] = {
    "AllowedValues": (lambda value, limit: value in map(str, limit), "must be one of {}"),
    "AllowedPattern": (lambda value, limit: re.fullmatch(limit, value) is not None, "must match {}"),
    "MinLength": (lambda value, limit: len(value) >= int(limit), "must have at least {} characters"),
    "MaxLength": (lambda value, limit: len(value) <= int(limit), "must have at most {} characters"),
    "MinValue": (lambda value, limit: float(value) >= float(limit), "must be at least {}"),
    "MaxValue": (lambda value, limit: float(value) <= float(limit), "must be at most {}"),
}


def for_change_set(
    values: Mapping[str, str], declared: Declarations, previous: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The parameters of a change set. What is not given keeps its previous value, or gets the template's default."""
    given = [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]
    kept = [name for name in previous if name in declared and name not in values]
    return [*given, *({"ParameterKey": name, "UsePreviousValue": True} for name in kept)]
