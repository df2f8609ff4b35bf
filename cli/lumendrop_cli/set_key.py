"""`lumendrop set-key`: stores the enhancer's API key."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lumendrop_cli import enhancer
from lumendrop_cli.stack import find, output


def set_key(
    context: typer.Context,
    no_check: Annotated[bool, typer.Option("--no-check", help="Store it without asking the enhancer first.")] = False,
) -> None:
    """Store the enhancer's API key, typed without being shown, or from stdin.

    Asks the enhancer first whether the key may use the model; exit code 1, and nothing stored, if not.
    """
    stack, out = find(context), output(context)
    secret, base_url = stack.output("KeySecretArn"), stack.parameter("ApiBaseUrl")
    # Never an argument: those show in the list of processes and in the shell's history.
    typed = typer.prompt("API key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    key = typed.strip()
    if no_check:
        enhancer.refuse_malformed(key)
    else:
        enhancer.check(base_url, key)
    stack.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=key)
    checked = "not checked" if no_check else f"may use {enhancer.MODEL} at {base_url}"
    out.result(
        {"stored": True, "checked": not no_check},
        [f"The key is stored ({checked}). Uploads that wait for it go on by themselves, within fifteen minutes."],
    )
