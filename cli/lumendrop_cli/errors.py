"""Errors that commands report: what went wrong, what to do about it, and the exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from lumendrop_cli.text import sentence

FAILURE, USAGE_ERROR, AWS_ERROR, INTERRUPTED = 1, 2, 3, 130

BUG = "This is a bug of lumendrop; please report it."

_SANDBOX_ADVICE = "For the sandbox, add --endpoint-url http://127.0.0.1:4566."
_CREDENTIALS_ADVICE = (
    "Log in as for the AWS CLI (`aws configure`, `aws sso login`), or choose a profile with --profile. "
    f"{_SANDBOX_ADVICE}"
)
_NETWORK_ADVICE = (
    "Check the network, --region, and --endpoint-url. If you use the sandbox, start it with `make sandbox`."
)
_ADVICE: Mapping[type[BotoCoreError], str] = {
    NoRegionError: f"Set --region or AWS_DEFAULT_REGION. {_SANDBOX_ADVICE}",
    ProfileNotFound: "`aws configure list-profiles` lists the available profiles.",
    NoCredentialsError: _CREDENTIALS_ADVICE,
    PartialCredentialsError: _CREDENTIALS_ADVICE,
    CredentialRetrievalError: _CREDENTIALS_ADVICE,
    SSOError: _CREDENTIALS_ADVICE,
    TokenRetrievalError: _CREDENTIALS_ADVICE,
    BotoConnectionError: _NETWORK_ADVICE,
    HTTPClientError: _NETWORK_ADVICE,
}
_WRONG_CLOCK = re.compile(r"signature expired|signature not yet current", re.IGNORECASE)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "403"})
_INVALID_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class CliError(Exception):
    """A command can't continue. The text describes the cause and what to do; `code` is the exit code.

    `data` has the details for programs, such as the execution that continues.
    """

    def __init__(self, message: str, code: int = FAILURE, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = dict(data or {})


class NotConfirmed(CliError):
    """A question was not answered with yes."""


@contextmanager
def on_interrupt(message: str, data: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Turns Ctrl-C inside the block into an error that describes what continues without the command."""
    try:
        yield
    except KeyboardInterrupt:
        raise CliError(f"Interrupted. {message}".rstrip(), INTERRUPTED, data) from None


def describe(error: Exception) -> CliError:
    """The CliError for any exception."""
    if isinstance(error, CliError):
        return error
    if isinstance(error, typer.TyperException):
        message = sentence(error.format_message().replace(": Value error, ", ": ", 1))
        return CliError(f"{message} See `lumendrop COMMAND --help`.", error.exit_code)
    if isinstance(error, typer.Abort):
        return CliError("The input ended, so nothing was done.")
    if isinstance(error, BotoCoreError | ClientError | ResponseParserError):
        return from_aws_error(error)
    if isinstance(error, OSError):
        return CliError(f"The command can't continue: {error}")
    place = extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}"
    return CliError(f"{BUG} {type(error).__name__} in {where}: {error}")


def from_aws_error(error: BotoCoreError | ClientError | ResponseParserError) -> CliError:
    """The CliError for an exception of the AWS SDK."""
    if isinstance(error, ResponseParserError):
        return not_aws()
    if isinstance(error, ClientError):
        return CliError(_describe(error), AWS_ERROR)
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    return CliError(f"{sentence(str(error))} {advice}".rstrip(), AWS_ERROR)


def not_aws() -> CliError:
    """The endpoint is something else than AWS, such as a web server or a proxy."""
    return CliError("The endpoint's response is not an AWS response. Check --endpoint-url.", AWS_ERROR)


def bad_credentials(error: Exception) -> CliError:
    """The credentials can't be read, for example because `credential_process` is broken."""
    cause = "it returns no valid JSON" if isinstance(error, json.JSONDecodeError) else f"{error}"
    return CliError(
        f"The credentials can't be read: {cause}. Check credential_process and the files of the AWS CLI. "
        f"{_CREDENTIALS_ADVICE}",
        AWS_ERROR,
    )


def error_code(error: ClientError) -> str:
    """AWS's error code, such as `ValidationError`."""
    return error.response.get("Error", {}).get("Code", "")


def is_denied(error: ClientError) -> bool:
    """Whether the credentials lack a permission."""
    return error_code(error) in _DENIED


def _describe(error: ClientError) -> str:
    code, message = error_code(error), error.response.get("Error", {}).get("Message", "")
    summary = f"AWS returned {code} for {error.operation_name}: {sentence(message)}"
    if is_denied(error):
        return (
            f"{summary} These credentials lack the permission. Ask the owner of the account, or choose another profile "
            "with --profile."
        )
    if code == "RequestTimeTooSkewed" or _WRONG_CLOCK.search(message):
        return f"{summary} Set the clock of this machine."
    return f"{summary} {_CREDENTIALS_ADVICE}" if code in _INVALID_CREDENTIALS else summary
