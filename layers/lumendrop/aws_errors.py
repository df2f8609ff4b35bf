"""The codes of AWS's errors."""

from __future__ import annotations

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError  # noqa: A004

GONE = ("404", "NoSuchKey", "NoSuchVersion")
"""S3 has no such object. HEAD has no body, so its code is the status."""

_TRANSIENT = frozenset(
    {
        "InternalServerError",
        "KMS.ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_SERVER_ERROR = 500


def error_code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def is_transient(error: Exception) -> bool:
    """Whether a service throttled the call, failed, or did not answer, so that a repetition may succeed."""
    if not isinstance(error, ClientError):
        return isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return error_code(error) in _TRANSIENT or status >= _SERVER_ERROR
