"""`sandbox.aws` is independent of this project: it imports no other part of it and never mentions it."""

import ast
from collections.abc import Iterator
from inspect import Parameter, signature
from pathlib import Path

import pytest

from sandbox.aws.cloud import Cloud

AWS = Path(__file__).resolve().parents[2] / "sandbox" / "aws"
# What a file of this project may be imported as.
PROJECT = {"sandbox", "lumendrop", "lumendrop_cli", "tests", "benchmarks", "cli", "layers", "functions", "app"}


def imported(source: str) -> Iterator[str]:
    """The modules that a file imports, and the names that it imports from them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def violations(source: str) -> list[str]:
    """The imports of other parts of the project, relative imports, and the lines that mention the project."""
    foreign = [
        name
        for name in imported(source)
        if name.startswith(".") or (name.split(".")[0] in PROJECT and not f"{name}.".startswith("sandbox.aws."))
    ]
    return foreign + [line for line in source.splitlines() if "lumendrop" in line.lower()]


@pytest.mark.parametrize("path", sorted(AWS.rglob("*.py")), ids=lambda path: str(path.relative_to(AWS)))
def test_it_imports_no_other_part_of_the_project_and_does_not_mention_it(path: Path) -> None:
    assert violations(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from sandbox.enhancer import server",
        "from sandbox import demo",
        "import sandbox.demo.start",
        "def f():\n    from ..demo import start",
        "import lumendrop.ledger",
        'PREFIX = "LumenDrop-"',
    ],
)
def test_the_check_finds_violations(source: str) -> None:
    assert violations(source)


def test_the_check_allows_imports_within_the_package() -> None:
    assert violations("import sandbox.aws\nfrom sandbox.aws import cloud\nfrom sandbox.aws.cloud import Cloud") == []


def test_the_template_and_the_name_of_the_stack_have_no_defaults() -> None:
    parameters = signature(Cloud).parameters
    assert {name for name, one in parameters.items() if one.default is Parameter.empty} == {"template", "stack_name"}
