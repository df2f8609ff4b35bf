"""The codes of AWS's errors."""

from __future__ import annotations

from botocore.exceptions import ClientError

GONE = ("404", "NoSuchKey", "NoSuchVersion")
"""S3 has no such object. HEAD has no body, so its code is the status."""


def error_code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
