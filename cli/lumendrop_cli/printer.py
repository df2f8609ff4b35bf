"""The one place that prints and asks. It cleans everything that it prints.

The result goes to stdout, as text or as one JSON document. Errors, progress, and questions go to stderr.
"""

from __future__ import annotations

import getpass
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any, TextIO

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from lumendrop_cli.bars import ShowBars, progress_bars
from lumendrop_cli.errors import FAILURE, CliError, NotConfirmed
from lumendrop_cli.text import clean, to_json

Progress = Callable[[str], None]
# A line of output: plain text, or parts of it with the name of a style (empty for none).
Line = str | tuple[tuple[str, str], ...]
Show = Callable[[Sequence[Line], Sequence[tuple[Any, Line]]], None]

_LISTED = 20
_COMMAND = re.compile(r"`(lumendrop|aws) (?=[a-z])(?!configure|sso)")
_MAX_LINE = 8192


class Printer:
    """Prints a command's result. With `as_json`, stdout gets exactly one JSON document, also after an error.

    Commands in backticks get the options that were `given` to this one, so that they act on the same stack.
    """

    def __init__(self, as_json: bool, given: Mapping[str, str] = MappingProxyType({})) -> None:
        self.as_json = as_json
        self._given = given
        for stream in (sys.stdout, sys.stderr):
            # A terminal without UTF-8 shows `\u2026` instead of ending the command.
            if reconfigure := getattr(stream, "reconfigure", None):
                reconfigure(errors="backslashreplace")
        self._stdout = Console(highlight=False, soft_wrap=True, emoji=False)
        self._stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

    def result(self, data: Any, lines: Iterable[Line]) -> None:
        """Prints `data` as JSON, or `lines` as text."""
        if self.as_json:
            print(self._json(data))
        else:
            for line in lines:
                self._stdout.print(self._text(line, sys.stdout))
        sys.stdout.flush()

    def _text(self, line: Line, stream: TextIO) -> Text:
        """Text without markup. Nothing in it is an instruction to rich or to a terminal."""
        parts = ((line, ""),) if isinstance(line, str) else line
        texts = ((_with_options(part, self._given), style) for part, style in parts)
        return Text.assemble(*((_readable(clean(text), stream), style) for text, style in texts))

    def _json(self, data: Any, indent: int | None = 2) -> str:
        escaped = {name: to_json(value)[1:-1] for name, value in self._given.items()}
        return _with_options(to_json(data, indent), escaped)

    def command(self, name: str) -> str:
        """A command of lumendrop for the same stack."""
        return _with_options(f"`lumendrop {name}", self._given)[1:]

    def event(self, data: Any, line: Line | None = None) -> None:
        """Prints one of several results: with --json a document in one line, otherwise `line`, if there is one."""
        if self.as_json:
            print(self._json(data, indent=None))
        elif line is not None:
            self._stdout.print(self._text(line, sys.stdout))
        sys.stdout.flush()

    def stream(self, lines: Iterable[str]) -> None:
        """Prints lines that are clean already, such as those of a CSV file, as they are."""
        for line in lines:
            print(line)
        sys.stdout.flush()

    def progress_bars(self) -> AbstractContextManager[ShowBars]:
        """Shows bars on stderr, if it is a terminal."""
        return progress_bars(self._stderr)

    @contextmanager
    def live(self) -> Iterator[Show]:
        """Shows a table that changes. Yields a function that takes all its lines, and what changed: data and a line.

        Without a terminal, or with --json, only the changes are printed.
        """
        if self.as_json or not self._stdout.is_terminal:

            def print_changes(_: Sequence[Line], changes: Sequence[tuple[Any, Line]]) -> None:
                for data, line in changes:
                    self.event(data, line)

            yield print_changes
            return
        with Live(console=self._stdout, auto_refresh=False, screen=False) as table:

            def show(lines: Sequence[Line], _: Sequence[tuple[Any, Line]]) -> None:
                fitting = lines[: max(1, self._stdout.height - 1)]
                table.update(Group(*(_one_row(self._text(line, sys.stdout)) for line in fitting)), refresh=True)

            yield show

    def fail(self, error: CliError, *, is_event: bool = False) -> None:
        """Prints an error to stderr; with --json, also as the document on stdout, or as the last of several lines."""
        self._stderr.print(self._text(f"lumendrop: {error}", sys.stderr))
        if self.as_json:
            document = {"error": str(error), "exit_code": error.code, **error.data}
            if is_event:
                self.event({"event": "error", **document})
            else:
                print(self._json(document), flush=True)

    def note(self, line: Line) -> None:
        """Prints a line to stderr."""
        self._stderr.print(self._text(line, sys.stderr))

    def confirm(self, question: str, data: Mapping[str, Any] | None = None) -> None:
        """Asks for confirmation. Raises CliError with `data` for any answer but yes, and without a terminal."""
        if not _is_terminal(sys.stdin):
            self.note(question)
            raise NotConfirmed("The question needs a terminal, so nothing was done. --yes skips it.", FAILURE, data)
        self._stderr.print(self._text(f"{question} [y/N]: ", sys.stderr), end="")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            self.note("")  # nobody pressed Enter, so the cursor is still behind the question
        if answer.strip().lower() not in ("y", "yes"):
            raise NotConfirmed("Not confirmed, so nothing was done. --yes skips the question.", FAILURE, data)

    @property
    def is_interactive(self) -> bool:
        """Whether somebody can answer questions, and read several results."""
        return not self.as_json and _is_terminal(sys.stdin)

    def ask_secret(self, question: str) -> str:
        """Asks for a text that is not shown, or reads the first line of stdin if it is not a terminal."""
        if _is_terminal(sys.stdin):
            try:
                return getpass.getpass(f"{question}: ", stream=sys.stderr)
            except EOFError:  # Ctrl-D
                return ""
        return sys.stdin.readline(_MAX_LINE)

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """Shows that a step is running. Yields a function that updates the text."""
        if self._stderr.is_terminal:
            spinner = "dots" if _is_unicode(sys.stderr) else "line"
            with self._stderr.status(self._text(text, sys.stderr), spinner=spinner) as status:
                yield lambda update: status.update(self._text(update, sys.stderr))
            return
        last = ""

        def print_change(update: str) -> None:
            nonlocal last
            if update != last:
                self.note(update)
            last = update

        print_change(text)
        yield print_change


def printer(context: typer.Context) -> Printer:
    """The printer of the running command."""
    return context.obj.out or Printer(context.obj.as_json, context.obj.given)


def some_of(names: list[str]) -> list[str]:
    """The first names as indented lines, and the number of further ones."""
    more = [f"  … and {len(names) - _LISTED:,} more"] if len(names) > _LISTED else []
    return [*(f"  {name}" for name in names[:_LISTED]), *more]


def _with_options(text: str, given: Mapping[str, str]) -> str:
    """The text with these options in its commands, as in `lumendrop --stack prod doctor`."""
    if not given:
        return text

    def insert(found: re.Match[str]) -> str:
        known = (one for one in given.items() if found[1] == "lumendrop" or one[0] != "stack")
        return f"`{found[1]} " + "".join(f"--{name} {shlex.quote(value)} " for name, value in known)

    return _COMMAND.sub(insert, text)


def _one_row(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _readable(text: str, stream: TextIO) -> str:
    return text if _is_unicode(stream) else text.replace("…", "...")


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def _is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().startswith("utf")
