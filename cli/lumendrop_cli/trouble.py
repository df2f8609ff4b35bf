"""What may stand in a command's way, in words that say what to do, and the exit code for each."""

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
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError

NOT_DONE, USAGE, NO_AWS = 1, 2, 3

_NO_CREDENTIALS = "Log in as for the AWS CLI (`aws configure`, `aws sso login`), or name a --profile."
_NO_NETWORK = "Check the network, the --region and the --endpoint-url; does the sandbox run?"
_ADVICE: Mapping[type[BotoCoreError], str] = {
    NoRegionError: "Name a --region, or set AWS_DEFAULT_REGION.",
    ProfileNotFound: "`aws configure list-profiles` shows those there are.",
    NoCredentialsError: _NO_CREDENTIALS,
    PartialCredentialsError: _NO_CREDENTIALS,
    CredentialRetrievalError: _NO_CREDENTIALS,
    SSOError: _NO_CREDENTIALS,
    TokenRetrievalError: _NO_CREDENTIALS,
    NoConnection: _NO_NETWORK,
    HTTPClientError: _NO_NETWORK,
}
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "403"})
_BAD_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class Trouble(Exception):
    """Something foreseeable is in the way; the text says what it is and what to do."""

    def __init__(self, message: str, code: int = NOT_DONE) -> None:
        super().__init__(message)
        self.code = code


def explained(error: BotoCoreError | ClientError | ResponseParserError) -> Trouble:
    """What the AWS SDK raised, as Trouble."""
    if isinstance(error, ResponseParserError):
        return Trouble("What answers there is not AWS. Check the --endpoint-url.", NO_AWS)
    if isinstance(error, ClientError):
        return Trouble(_answer(error), NO_AWS)
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), "")
    return Trouble(f"{str(error).rstrip('.')}. {advice}".rstrip(), NO_AWS)


def is_denied(error: ClientError) -> bool:
    """Whether AWS refused for want of a permission."""
    return error.response.get("Error", {}).get("Code", "") in _DENIED


def _answer(error: ClientError) -> str:
    code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    what = f"AWS answered {code} to {error.operation_name}: {said.strip().rstrip('.')}."
    if is_denied(error):
        return f"{what} These credentials may not do that; ask whoever owns the account, or name another --profile."
    return f"{what} {_NO_CREDENTIALS}" if code in _BAD_CREDENTIALS else what
