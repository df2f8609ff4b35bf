"""What commands print: words for people, or one JSON document for programs; progress and questions go to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape


class Output:
    """Where one command prints. With `as_json`, stdout gets the one document of `result` and nothing else."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        self._aside = Console(stderr=True, highlight=False, soft_wrap=True)

    def result(self, data: Any, lines: Iterable[str]) -> None:
        """The command's outcome: `data` for programs, `lines` (rich markup; escape what isn't yours) for people."""
        if self._as_json:
            print(json.dumps(data, indent=2, ensure_ascii=False, default=str))
            return
        for line in lines:
            self._console.print(line)

    def confirm(self, question: str) -> None:
        """Ends the command, exit code 1, unless a person says yes."""
        typer.confirm(question, abort=True, err=True)

    @contextmanager
    def working(self, text: str) -> Iterator[Callable[[str], None]]:
        """Shows that something is going on; the function it gives says how far it is."""
        if self._aside.is_terminal:
            with self._aside.status(escape(text)) as status:
                yield lambda said: status.update(escape(said))
            return
        last = ""

        def say(said: str) -> None:
            nonlocal last
            if said != last:
                self._aside.print(escape(said))
            last = said

        say(text)
        yield say
