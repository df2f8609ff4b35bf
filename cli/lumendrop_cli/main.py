"""The command line `lumendrop`: its commands, and the options and exit codes that all of them share."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Sequence
from copy import copy
from itertools import islice, takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from lumendrop_cli.backfill import backfill
from lumendrop_cli.board.command import board
from lumendrop_cli.deploy import deploy
from lumendrop_cli.destroy import destroy
from lumendrop_cli.doctor import doctor
from lumendrop_cli.enhance import enhance
from lumendrop_cli.errors import CliError, describe, on_interrupt
from lumendrop_cli.examples import epilog
from lumendrop_cli.fetch import fetch
from lumendrop_cli.list import list_
from lumendrop_cli.pause import pause
from lumendrop_cli.photo_files import expand_patterns
from lumendrop_cli.printer import Printer
from lumendrop_cli.redrive import redrive
from lumendrop_cli.resume import resume
from lumendrop_cli.retry import retry
from lumendrop_cli.set_key import set_key
from lumendrop_cli.smoke import smoke
from lumendrop_cli.spend import spend
from lumendrop_cli.stack import Options
from lumendrop_cli.status import status
from lumendrop_cli.stop import stop
from lumendrop_cli.text import decode_argument
from lumendrop_cli.upgrade import upgrade
from lumendrop_cli.verify import verify

EXIT_CODES = (
    "Exit codes: 0 success; 1 a problem was found, or the command failed; 2 invalid usage; "
    "3 AWS is unreachable, denies the request, or has no such stack; 130 interrupted with Ctrl-C."
)
_NOT_SHARED = ("show_version", "install_completion", "show_completion")
_OPTIONS_WITH_VALUE = ("--stack", "--endpoint-url", "--profile", "--region")


class Command(TyperCommand):
    """A command whose arguments are checked."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments and checks their values."""
        ctx.allow_extra_args = True
        remaining = super().parse_args(ctx, args)
        if remaining:  # not the parser's message, which would repeat a key that is given to set-key
            raise typer.BadParameter(f"{ctx.info_name} got too many arguments")
        return _checked(ctx, remaining)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Adds the options that all commands share. `Commands` parses them, wherever they are."""
        shown = copy(self)
        shared = [one for one in ctx.parent.command.params if one.name not in _NOT_SHARED]
        shown.params = [*self.params, *map(_as_shared, shared)]
        TyperCommand.format_help(shown, ctx, formatter)

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, with flags as they are written: Typer would show a value, as in `--yes <bool>`."""
        return _with_plain_flags(super().get_params(ctx))


class PathCommand(Command):
    """A command whose arguments are files and folders of this machine."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Expands patterns first, where the shell does not."""
        return super().parse_args(ctx, expand_patterns(args))


class Commands(TyperGroup):
    """Accepts the shared options before and after the command's name. The one place that exits."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Moves the shared options to the front, where the parser expects them."""
        shared, others = _split(args)
        return _checked(ctx, super().parse_args(ctx, shared + others))

    def main(self, args: Sequence[str] | None = None, *options: Any, **extra: Any) -> Any:
        """Runs a command and exits with its code. An error becomes a message, and with --json a document."""
        _open_missing_streams()
        if not os.environ.get("COLUMNS", "1").strip("0"):  # rich would print nothing in no columns
            del os.environ["COLUMNS"]
        arguments = list(sys.argv[1:] if args is None else args)
        out = Printer("--json" in takewhile(lambda one: one != "--", arguments))
        extra["standalone_mode"] = False
        try:
            code = super().main(arguments or ["--help"], *options, **extra)
            sys.stdout.flush()
        except Exception as error:  # noqa: BLE001  # a traceback would print keys as they are, and help nobody
            code = _fail(out, describe(error), is_event=_prints_events(arguments))
        sys.exit(code)

    def get_params(self, ctx: Any) -> list[Any]:
        """As those of a command."""
        return _with_plain_flags(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Runs the command. Ctrl-C becomes an error that is reported like any other."""
        with on_interrupt(""):
            super().invoke(ctx)


def _open_missing_streams() -> None:
    """Python has None for a standard stream that the caller has closed, such as with `>&-`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  # until the process ends


def _with_plain_flags(params: list[Any]) -> list[Any]:
    for one in params:
        if getattr(one, "is_flag", False):
            one.metavar = ""
    return params


def _as_shared(option: Any) -> Any:
    shown = copy(option)
    shown.rich_help_panel = "Options of all commands, before or after the command"
    return shown


def _checked(ctx: Any, remaining: list[str]) -> list[str]:
    """Refuses values that no AWS service accepts: empty text, and bytes that are not UTF-8."""
    for name, value in ctx.params.items():
        if isinstance(value, str):
            decoded = decode_argument(value)
            if not decoded:
                reason = "is empty" if decoded == "" else "is not valid UTF-8"
                raise typer.BadParameter(f"the value of {name.replace('_', '-')} {reason}")
            ctx.params[name] = decoded
    return remaining


def _fail(out: Printer, error: CliError, *, is_event: bool) -> int:
    """Prints an error and returns the exit code."""
    try:
        out.fail(error, is_event=is_event)
        sys.stdout.flush()
    except OSError:  # a full disk, or a closed pipe: nothing more can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return error.code


def _prints_events(args: list[str]) -> bool:
    """Whether the command that these arguments name prints a JSON document per line."""
    command, *given = _split(args)[1] or [""]
    follows = not {"--follow", "-f"}.isdisjoint(takewhile(lambda one: one != "--", given))
    return command == "enhance" or (command == "list" and follows)


def _split(args: list[str]) -> tuple[list[str], list[str]]:
    """The shared options, and the command with its own arguments."""
    shared, others, remaining = list[str](), list[str](), iter(args)
    for one in remaining:
        if one == "--":
            others += [one, *remaining]
        elif one in _OPTIONS_WITH_VALUE:
            shared += [one, *islice(remaining, 1)]
        elif one == "--json" or one.partition("=")[0] in _OPTIONS_WITH_VALUE:
            shared.append(one)
        else:
            others.append(one)
    return shared, others


# Plain tracebacks, because typer's show the values of local variables, which can include the API key.
app = typer.Typer(cls=Commands, pretty_exceptions_enable=False)


@app.callback(epilog=EXIT_CODES, invoke_without_command=True)
def main(
    context: typer.Context,
    stack: Annotated[str, typer.Option(help="The name of the stack.", metavar="NAME")] = "lumendrop",
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            help="The AWS endpoint, for the sandbox http://127.0.0.1:4566. AWS_ENDPOINT_URL also sets it.",
            metavar="URL",
        ),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the AWS CLI.", metavar="NAME")] = None,
    region: Annotated[str | None, typer.Option(help="The region of the stack.", metavar="NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to stdout.")] = False,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version of this command and exit.")] = False,
) -> None:
    """Deploy and operate Lumendrop. Credentials and region are those of the AWS CLI; the sandbox needs none."""
    context.obj = Options(stack, endpoint_url, profile, region, as_json)
    if show_version:
        version = importlib.metadata.version("lumendrop")
        Printer(as_json).result({"version": version}, [f"lumendrop {version}"])
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


# In the order of `lumendrop --help`.
_PHOTOS = (enhance, list_, status, spend, retry, fetch, stop)
for command in (
    deploy,
    upgrade,
    doctor,
    set_key,
    smoke,
    verify,
    board,
    *_PHOTOS,
    backfill,
    redrive,
    pause,
    resume,
    destroy,
):
    name = command.__name__.strip("_").replace("_", "-")
    app.command(name, cls=PathCommand if command is enhance else Command, epilog=epilog(name, EXIT_CODES))(command)
