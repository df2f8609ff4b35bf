"""Writes docs/commands.md from the commands themselves: `python docs/commands.py`. A test compares the two."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("commands.md")
_NOT_SHARED = frozenset({"help", "install_completion", "show_completion", "show_version"})


def page() -> str:
    """The page, as Markdown."""
    sys.path.insert(0, str(ROOT / "cli"))
    from typer.main import get_command

    from lumendrop_cli.main import EXIT_CODES, app

    group: Any = get_command(app)
    return "\n".join([*_head(group, EXIT_CODES), *(line for one in group.commands.values() for line in _command(one))])


def _head(group: Any, exit_codes: str) -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "<!-- python docs/commands.py writes this page from the commands. -->"
    yield ""
    yield f"{group.help} `pipx install` with the wheel of a release installs the command."
    yield "[Operations](operations.md#commands) explains when to use which."
    yield ""
    yield "These options come before or after the name of any command:"
    yield ""
    yield from _options(group)
    yield exit_codes
    yield ""
    yield "`lumendrop --version` prints the version of the command. The version of a stack is its output `Version`."
    yield "`lumendrop --install-completion` installs the completion of commands, options, and statuses for bash, zsh,"
    yield "fish, and PowerShell."
    yield ""


def _command(command: Any) -> Iterator[str]:
    from lumendrop_cli.examples import EXAMPLES

    arguments = [one for one in command.params if one.param_type_name == "argument"]
    names = [(one.metavar or one.name.upper(), one.required) for one in arguments]
    usage = "".join(f" {name}" if required else f" [{name}]" for name, required in names)
    yield f"## lumendrop {command.name}"
    yield ""
    yield f"`lumendrop {command.name}{usage}`"
    yield ""
    yield from (" ".join(part.split()) + "\n" for part in inspect.cleandoc(command.help).split("\n\n"))
    yield from _options(command)
    yield "```sh"
    yield from EXAMPLES[command.name]
    yield "```"
    yield ""


def _options(command: Any) -> Iterator[str]:
    options = [one for one in command.params if one.name not in _NOT_SHARED and one.help]
    if not options:
        return
    yield "| | |"
    yield "|---|---|"
    for one in options:
        is_option = one.param_type_name == "option"
        value = "" if not is_option or one.is_flag else f" {one.metavar or 'N'}"
        names = ", ".join(sorted(one.opts, key=len, reverse=True)) if is_option else one.metavar or one.name.upper()
        default = "" if one.required or one.default in (None, False, ()) else f" Default: `{one.default}`."
        yield f"| `{(names + value).replace('|', chr(92) + '|')}` | {one.help}{default} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
