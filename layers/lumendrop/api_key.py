"""The enhancer's API key, which is stored only in Secrets Manager."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_CACHE_SECONDS = 300
_KEY = re.compile(r"[!-~]{1,4096}")  # valid in an HTTP header, so that no error quotes it


class KeyUnavailable(Exception):
    """There is no usable key. The message contains the reason and what to do, but never the key."""


class ApiKey:
    """Reads the key from the secret `secret_arn` and caches it for five minutes."""

    def __init__(self, client: SecretsManagerClient, secret_arn: str) -> None:
        self._provider = SecretsProvider(boto3_client=client)
        self._secret_arn = secret_arn

    def read(self, *, fresh: bool = False) -> str:
        """The key. With `fresh`, Secrets Manager is called even if the key is cached. Raises KeyUnavailable."""
        try:
            value = self._provider.get(self._secret_arn, max_age=_CACHE_SECONDS, force_fetch=fresh)
        except GetParameterError as error:
            raise KeyUnavailable(
                "The enhancer's API key could not be read; set it with the stack's SetKeyCommand. "
                f"Secrets Manager: {error.__cause__ or error}"
            ) from None
        key = value.strip() if isinstance(value, str) else ""
        if not _KEY.fullmatch(key):
            raise KeyUnavailable(
                "The secret is not an API key in plain text without spaces; set it with the stack's SetKeyCommand."
            )
        return key
