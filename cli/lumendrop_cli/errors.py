"""Errors that commands report: what went wrong, what to do about it, and the exit code."""

from __future__ import annotations

from collections.abc import Mapping

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

FAILURE, AWS_ERROR = 1, 3

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
    """A command can't continue. The text describes the cause and what to do; `code` is the exit code."""

    def __init__(self, message: str, code: int = FAILURE) -> None:
        super().__init__(message)
        self.code = code


def from_aws_error(error: BotoCoreError | ClientError | ResponseParserError) -> CliError:
    """The CliError for an exception of the AWS SDK."""
    if isinstance(error, ResponseParserError):
        return CliError("The endpoint's response is not an AWS response. Check --endpoint-url.", AWS_ERROR)
    if isinstance(error, ClientError):
        return CliError(_describe(error), AWS_ERROR)
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    return CliError(f"{str(error).rstrip('.')}. {advice}".rstrip(), AWS_ERROR)


def error_code(error: ClientError) -> str:
    """AWS's error code, such as `ValidationError`."""
    return error.response.get("Error", {}).get("Code", "")


def is_denied(error: ClientError) -> bool:
    """Whether the credentials lack a permission."""
    return error_code(error) in _DENIED


def _describe(error: ClientError) -> str:
    code, message = error_code(error), error.response["Error"].get("Message", "")
    summary = f"AWS returned {code} for {error.operation_name}: {message.strip().rstrip('.')}."
    if is_denied(error):
        return (
            f"{summary} These credentials lack the permission. Ask the owner of the account, or choose another profile "
            "with --profile."
        )
    return f"{summary} {_CREDENTIALS_ADVICE}" if code in _INVALID_CREDENTIALS else summary
