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
from lumendrop_cli.errors import CliError, from_aws_error
from lumendrop_cli.fetch import fetch
from lumendrop_cli.pause import pause
from lumendrop_cli.redrive import redrive
from lumendrop_cli.resume import resume
from lumendrop_cli.retry import retry
from lumendrop_cli.set_key import set_key
from lumendrop_cli.smoke import smoke
from lumendrop_cli.stack import Options
from lumendrop_cli.status import status
from lumendrop_cli.stop import stop

EXIT_CODES = (
    "Exit codes: 0 success; 1 a problem was found, or the command failed; 2 invalid usage; "
    "3 AWS is unreachable, denies the request, or has no such stack."
)
_OPTIONS_WITH_VALUE = ("--stack", "--endpoint-url", "--profile", "--region")


class Commands(TyperGroup):
    """Accepts the shared options before and after the command's name, and turns expected errors into messages."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Moves the shared options to the front, where the parser expects them."""
        parsed: list[str] = super().parse_args(ctx, _shared_first(args))
        return parsed

    def invoke(self, ctx: Any) -> Any:
        """Runs the command. For an expected error, prints its message and exits with its code."""
        try:
            return super().invoke(ctx)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            cli_error = from_aws_error(error)
        except CliError as error:
            cli_error = error
        typer.echo(f"lumendrop: {cli_error}", err=True)
        raise typer.Exit(cli_error.code)


def _shared_first(args: list[str]) -> list[str]:
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
    return shared + others


# Plain tracebacks, because typer's show the values of local variables, which can include the API key.
app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback(epilog=EXIT_CODES)
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
) -> None:
    """Operate Lumendrop. Credentials and region are those of the AWS CLI; the sandbox needs none."""
    context.obj = Options(stack, endpoint_url, profile, region, as_json)


# In the order of `lumendrop --help`.
for command in (doctor, set_key, smoke, status, backfill, redrive, retry, fetch, pause, resume, stop, destroy):
    app.command(epilog=EXIT_CODES)(command)
