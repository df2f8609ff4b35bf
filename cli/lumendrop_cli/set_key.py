"""`lumendrop set-key`: stores the enhancer's API key."""

from __future__ import annotations

from typing import Annotated

import typer

from lumendrop_cli import enhancer
from lumendrop_cli.errors import CliError
from lumendrop_cli.printer import Printer, printer
from lumendrop_cli.selection import DryRunOption
from lumendrop_cli.stack import Stack, load_stack


def stored_key(stack: Stack) -> str:
    """The key that the stack has, empty if none."""
    secrets = stack.client("secretsmanager")
    try:
        found = secrets.get_secret_value(SecretId=stack.output("KeySecretArn"))
    except secrets.exceptions.ResourceNotFoundException:
        return ""
    return str(found.get("SecretString", "")).strip()


def offer(stack: Stack, out: Printer) -> bool:
    """Asks for the key, again after a wrong one. Returns whether it is stored: an empty answer postpones that."""
    out.note("Type the API key of the enhancer, which is not shown. Press Enter to store it later.")
    while key := out.ask_secret("API key").strip():
        try:
            enhancer.check_key(stack.parameter("ApiBaseUrl"), key)
        except CliError as error:
            out.note(str(error))
        else:
            _put(stack, key)
            out.note("The key is stored.")
            return True
    return False


def _put(stack: Stack, key: str) -> None:
    stack.client("secretsmanager").put_secret_value(SecretId=stack.output("KeySecretArn"), SecretString=key)


def set_key(
    context: typer.Context,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Store the key without checking it with the enhancer.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Store the enhancer's API key, read from a hidden prompt or from stdin. It is never an argument.

    The command first checks with the enhancer that the key can use the model. If it can't, nothing is stored and the
    exit code is 1.
    """
    stack, out = load_stack(context), printer(context)
    base_url = stack.parameter("ApiBaseUrl")
    # The key is never an argument. Arguments appear in the process list and in the shell's history.
    key = out.ask_secret("API key").strip()
    if no_check:
        enhancer.check_format(key)
    else:
        enhancer.check_key(base_url, key)
    if dry_run:
        text = "has the format of a key" if no_check else f"can use {enhancer.MODEL} at {base_url}"
        out.result({"stored": False, "checked": not no_check}, [f"The key {text}. This would store it."])
        return
    _put(stack, key)
    checked = "not checked" if no_check else f"can use {enhancer.MODEL} at {base_url}"
    out.result(
        {"stored": True, "checked": not no_check},
        [f"The key is stored ({checked}). Uploads that wait for the key resume automatically within 15 minutes."],
    )
