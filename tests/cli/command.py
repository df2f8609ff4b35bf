"""Runs `lumendrop` with its own endpoint and credentials. This machine's AWS settings have no influence."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from lumendrop_cli.errors import BUG
from lumendrop_cli.main import app
from lumendrop_cli.stack import Options

ENVIRONMENT: dict[str, str | None] = {
    "AWS_ACCESS_KEY_ID": "owner",
    "AWS_SECRET_ACCESS_KEY": "owner",
    "AWS_SESSION_TOKEN": None,
    "AWS_PROFILE": None,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": None,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "COLUMNS": "200",
    "TERM": "dumb",
}


@contextmanager
def owner_options(endpoint: str) -> Iterator[Options]:
    """The options of a command with the owner's credentials, for code that is called without the command line."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
        yield Options("lumendrop", endpoint, None, None, False)


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output, which must be one JSON document."""
        return json.loads(self.out)


@cache
def _parser(commands: Any) -> Any:
    """All commands. A process needs them once, but these tests run hundreds of commands in one."""
    return get_command(commands)


class Lumendrop:
    """Runs `lumendrop` in this process against `endpoint`. An unhandled exception fails the test."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __call__(
        self, *arguments: str, stdin: str = "", typed: str | None = None, env: Mapping[str, str | None] = {}
    ) -> CommandResult:
        """`stdin` comes from a pipe, `typed` from a terminal. `env` changes environment variables; None removes one."""
        environment = {"AWS_ENDPOINT_URL": self._endpoint, **ENVIRONMENT, **env}
        with (
            patch("typer.testing._get_command", _parser),
            patch("lumendrop_cli.printer._is_terminal", lambda _: typed is not None),
        ):
            result = CliRunner().invoke(app, arguments, input=stdin if typed is None else typed, env=environment)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert BUG not in result.stderr
        return CommandResult(result.exit_code, result.stdout, result.stderr)

    def ok(self, *arguments: str, stdin: str = "") -> Any:
        """Runs a command with --json that must succeed, and returns its output."""
        result = self(*arguments, "--json", stdin=stdin)
        assert result.code == 0, f"{arguments}: {result.out}{result.err}"
        return result.json
