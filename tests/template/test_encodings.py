"""Text files are UTF-8 on every machine. Python's default is the encoding of the user's locale.

The tests themselves run in Python's UTF-8 mode; see `make test`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.template.reading import ROOT

FOLDERS = ("benchmarks", "cli", "docs", "functions", "layers", "sandbox")


def without_encoding(source: str) -> Iterator[int]:
    """The lines that open a text file with the locale's encoding."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _reads_text(node) and "encoding" not in {one.arg for one in node.keywords}:
            yield node.lineno


def _reads_text(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(attr="read_text" | "write_text"):
            return True
        case ast.Name(id="open"):
            return "b" not in _mode(call.args[1:])
        case ast.Attribute(attr="open"):
            # Other objects have a method of this name too, so only what names a mode of a text file counts.
            return _mode(call.args) in ("r", "w", "a", "x")
        case _:
            return False


def _mode(arguments: list[ast.expr]) -> str:
    return str(arguments[0].value) if arguments and isinstance(arguments[0], ast.Constant) else ""


def test_code_names_the_encoding_of_text_files() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("call", "count"),
    [
        ("p.read_text()", 1),
        ("p.write_text(x)", 1),
        ("open(p)", 1),
        ("open(p, 'w')", 1),
        ("p.open('a', buffering=1)", 1),
        ("p.read_text(encoding='utf-8')", 0),
        ("open(p, 'rb')", 0),
        ("p.open('rb')", 0),
        ("Image.open(file)", 0),
    ],
)
def test_the_check_finds_calls(call: str, count: int) -> None:
    assert len(list(without_encoding(call))) == count


def test_the_folders_exist() -> None:
    assert all(Path(ROOT, folder).is_dir() for folder in FOLDERS)
