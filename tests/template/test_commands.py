"""The page of commands is what the commands say, their examples use their options, and the shell completes them."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lumendrop_cli.examples import EXAMPLES
from lumendrop_cli.main import app

ROOT = Path(__file__).parents[2]
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
SHARED = {"--stack", "--profile"}


def _page() -> str:
    spec = importlib.util.spec_from_file_location("docs_commands", ROOT / "docs/commands.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.page()
    return text


def test_the_page_is_what_the_commands_say() -> None:
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == _page(), "run: python docs/commands.py"


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_use_options_that_exist(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts} | SHARED
    for example in EXAMPLES[name]:
        assert f" {name}" in example
        assert set(re.findall(r"(?<=\s)--?[a-z-]+", example)) <= options


@pytest.mark.parametrize(
    ("words", "expected"),
    [("lumendrop enh", "enhance"), ("lumendrop list --status f", "failed"), ("lumendrop enhance --wa", "--watch")],
)
def test_the_shell_completes(words: str, expected: str) -> None:
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "PYTHONPATH": str(ROOT / "cli")}
    completed = subprocess.run(
        [sys.executable, "-c", "from lumendrop_cli.main import app; app(prog_name='lumendrop')"],
        env={**environment, "_LUMENDROP_COMPLETE": "complete_bash", "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.split() == [expected]
