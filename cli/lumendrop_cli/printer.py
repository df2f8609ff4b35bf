"""What commands print: text for people, or one JSON document for programs. Progress and prompts go to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

Progress = Callable[[str], None]


class Printer:
    """Prints a command's result. With `as_json`, stdout gets exactly one JSON document."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._stdout = Console(highlight=False, soft_wrap=True)
        self._stderr = Console(stderr=True, highlight=False, soft_wrap=True)

    def result(self, data: Any, lines: Iterable[str]) -> None:
        """Prints `data` as JSON, or `lines` as text. Lines are rich markup; escape values that come from outside."""
        if self._as_json:
            print(json.dumps(data, indent=2, ensure_ascii=False, default=str))
            return
        for line in lines:
            self._stdout.print(line)

    def note(self, line: str) -> None:
        """Prints a line to stderr. The line is rich markup."""
        self._stderr.print(line)

    def confirm(self, question: str) -> None:
        """Asks for confirmation. Any answer but yes ends the command with exit code 1."""
        typer.confirm(question, abort=True, err=True)

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """Shows that a step is running. Yields a function that updates the text."""
        if self._stderr.is_terminal:
            with self._stderr.status(escape(text)) as status:
                yield lambda update: status.update(escape(update))
            return
        last = ""

        def print_change(update: str) -> None:
            nonlocal last
            if update != last:
                self._stderr.print(escape(update))
            last = update

        print_change(text)
        yield print_change


def printer(context: typer.Context) -> Printer:
    """The printer of the running command."""
    return Printer(context.obj.as_json)
