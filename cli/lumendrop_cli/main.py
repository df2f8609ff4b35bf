"""The command line `lumendrop`: its commands, and the options and exit codes that all of them share."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from typer.core import TyperGroup

from lumendrop_cli.backfill import backfill
from lumendrop_cli.destroy import destroy
from lumendrop_cli.doctor import doctor
from lumendrop_cli.fetch import fetch
from lumendrop_cli.pause import pause, resume
from lumendrop_cli.redrive import redrive
from lumendrop_cli.retry import retry
from lumendrop_cli.set_key import set_key
from lumendrop_cli.smoke import smoke
from lumendrop_cli.stack import Options
from lumendrop_cli.status import status
from lumendrop_cli.stop import stop
from lumendrop_cli.trouble import Trouble, explained

EXIT_CODES = (
    "Exit codes: 0 done, or nothing wrong; 1 something is wrong, or was not done; 2 wrong usage; "
    "3 AWS can't be reached, refuses, or has no such stack."
)
_WITH_VALUE = ("--stack", "--endpoint-url", "--profile", "--region")


class Commands(TyperGroup):
    """Takes the shared options on either side of the command's name, and turns foreseeable trouble into words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the shared options first, where the parser looks for them."""
        parsed: list[str] = super().parse_args(ctx, _shared_first(args))
        return parsed

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; exits with the code of what stood in its way."""
        try:
            return super().invoke(ctx)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            trouble = explained(error)
        except Trouble as error:
            trouble = error
        typer.echo(f"lumendrop: {trouble}", err=True)
        raise typer.Exit(trouble.code)


def _shared_first(args: list[str]) -> list[str]:
    shared, rest, left = list[str](), list[str](), iter(args)
    for one in left:
        if one == "--":
            rest += [one, *left]
        elif one in _WITH_VALUE:
            shared += [one, *islice(left, 1)]
        elif one == "--json" or one.partition("=")[0] in _WITH_VALUE:
            shared.append(one)
        else:
            rest.append(one)
    return shared + rest


# Tracebacks of bugs are Python's own: the pretty ones may show the values of variables, such as the key.
app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback(epilog=EXIT_CODES)
def main(
    context: typer.Context,
    stack: Annotated[str, typer.Option(help="The stack's name.", metavar="NAME")] = "lumendrop",
    endpoint_url: Annotated[
        str | None, typer.Option(help="Where AWS is; for the sandbox, http://127.0.0.1:4566.", metavar="URL")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the AWS CLI.", metavar="NAME")] = None,
    region: Annotated[str | None, typer.Option(help="The stack's region.", metavar="NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else, to stdout.")] = False,
) -> None:
    """Look after Lumendrop. Credentials and region are those of the AWS CLI."""
    context.obj = Options(stack, endpoint_url, profile, region, as_json)


# In the order of `lumendrop --help`.
for command in (doctor, set_key, smoke, status, backfill, redrive, retry, fetch, pause, resume, stop, destroy):
    app.command(epilog=EXIT_CODES)(command)
