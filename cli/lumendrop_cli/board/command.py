"""`lumendrop board`: starts the board's server."""

from __future__ import annotations

import secrets
import socket
from typing import Annotated

import typer

from lumendrop_cli.errors import CliError
from lumendrop_cli.printer import printer
from lumendrop_cli.stack import load_stack

HOST = "127.0.0.1"
DEFAULT_PORT = 4580


def board(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes any free one.")] = DEFAULT_PORT,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, change nothing.")] = False,
) -> None:
    """Show the stack as a live web page on this machine, until Ctrl-C.

    Open the address that the command prints: it contains a token, and nobody without it can use the page. The page
    drops photos, follows each one, compares the results, and retries failures. It states what costs money and asks
    first. With --read-only, it can't upload, retry, fetch, stop, pause, or resume.
    """
    from lumendrop_cli.board.server import create_server  # its packages would slow down all other commands

    stack, out = load_stack(context), printer(context)
    with _listener(port) as listener:
        bound: int = listener.getsockname()[1]
        token = secrets.token_urlsafe(32)
        address = f"http://{HOST}:{bound}/?token={token}"
        server = create_server(stack, context.obj, bound, token, read_only=read_only)
        out.result({"board": address, "read_only": read_only}, [f"Board: {address}"])
        out.note(f"It shows the stack {stack.name}{', read-only' if read_only else ''}. Press Ctrl-C to stop it.")
        server.run(sockets=[listener])


def _listener(port: int) -> socket.socket:
    """A socket on the loopback interface only. Raises CliError if the port is in use."""
    try:
        return socket.create_server((HOST, port), backlog=128)
    except OSError as error:
        raise CliError(f"The port {port} can't be used: {error.strerror}. Choose another one with --port.") from None
