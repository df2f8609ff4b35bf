"""Runs the commands of the CLI for the page. Each one asks exactly what it asks in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import typer

from lumendrop_cli.errors import CliError
from lumendrop_cli.fetch import fetch
from lumendrop_cli.pause import pause
from lumendrop_cli.printer import Line, Printer, Progress
from lumendrop_cli.resume import resume
from lumendrop_cli.retry import retry
from lumendrop_cli.stack import Options, Stack
from lumendrop_cli.stop import stop
from lumendrop_cli.text import clean

_FETCH_SECONDS = 20
_MAX_TEXT = 1024


class NotConfirmed(Exception):
    """The command asks a question first. `text` is what the owner has to agree to, word for word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True)
class Action:
    """A command. `question` is asked first if the command itself asks nothing."""

    run: Callable[[Any, dict[str, str]], None]
    needs: tuple[str, ...] = ()
    question: str = ""


ACTIONS: Mapping[str, Action] = {
    "retry": Action(
        lambda context, given: retry(context, key=given["key"], version_id=given["version"]), ("key", "version")
    ),
    "retry-code": Action(lambda context, given: retry(context, code=given["code"]), ("code",)),
    "stop": Action(lambda context, given: stop(context, key=given["key"]), ("key",)),
    "fetch": Action(
        lambda context, given: fetch(context, key=given["key"], version_id=given["version"], timeout=_FETCH_SECONDS),
        ("key", "version"),
        "Fetch the result of this task again? It costs nothing. The enhancer keeps a result for 24 hours.",
    ),
    "pause": Action(
        lambda context, _: pause(context),
        question="Keep new uploads in the queue? It costs nothing. They wait for up to 14 days. Tasks that are already "
        "paid for are still delivered.",
    ),
    "resume": Action(
        lambda context, _: resume(context),
        question="Submit the uploads that wait in the queue? Each new photo pays for a task.",
    ),
}


@dataclass
class _Dialog(Printer):
    """A printer whose reader is the page: it collects lines, and compares each question with what was confirmed."""

    confirmed: str | None
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def result(self, data: Any, lines: Iterable[Line]) -> None:  # noqa: ARG002  # the page shows the lines
        self.lines += [_plain(line) for line in lines]

    def note(self, line: Line) -> None:
        self.notes.append(_plain(line))

    def confirm(self, question: str, data: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        text = "\n".join([*self.notes, clean(question)])
        if text != self.confirmed:
            raise NotConfirmed(text)

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:  # noqa: ARG002  # the cards show it
        yield lambda _: None


def run(stack: Stack, options: Options, name: str, given: dict[str, str], confirmed: str | None) -> list[str]:
    """Runs an action and returns what the command prints.

    Raises NotConfirmed unless `confirmed` is the question that the command asks now, and CliError.
    """
    action = ACTIONS.get(name)
    if action is None or not all(0 < len(given.get(one, "").encode()) <= _MAX_TEXT for one in action.needs):
        raise CliError("The board has no such action.")
    dialog = _Dialog(confirmed)
    if action.question:
        dialog.confirm(action.question)
    context = SimpleNamespace(obj=replace(options, loaded=stack, out=dialog))
    try:
        action.run(cast(typer.Context, context), given)
    except typer.Exit:
        pass
    except CliError as error:
        if name != "fetch" or "execution" not in error.data:
            raise
        return [f"Started: {clean(str(error.data['execution']))}"]
    return dialog.lines


def _plain(line: Line) -> str:
    return clean(line if isinstance(line, str) else "".join(part for part, _ in line))
