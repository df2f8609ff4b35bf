"""The command line as its owner has it, with an endpoint and credentials of its own and nothing of this machine's."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from lumendrop_cli.main import app

SETTINGS: dict[str, str | None] = {
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


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, which must be one JSON document."""
        return json.loads(self.out)


class Lumendrop:
    """Runs `lumendrop` in this process, against `endpoint`. An exception that it lets through is a test's failure."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def __call__(self, *arguments: str, stdin: str = "", settings: Mapping[str, str | None] = {}) -> Done:
        """`settings` changes environment variables; None takes one away."""
        done = CliRunner().invoke(
            app, arguments, input=stdin, env={"AWS_ENDPOINT_URL": self._endpoint, **SETTINGS, **settings}
        )
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    def ok(self, *arguments: str, stdin: str = "") -> Any:
        """Runs a command with --json that must end well; gives what it says."""
        done = self(*arguments, "--json", stdin=stdin)
        assert done.code == 0, f"{arguments}: {done.out}{done.err}"
        return done.json
