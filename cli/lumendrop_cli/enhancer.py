"""Requests to the enhancer that cost nothing: whether a key can use the model, and the account's balance.

Messages never repeat text from the enhancer's responses. A response can quote the request, and the key must not appear.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import requests
from requests.auth import AuthBase

from lumendrop_cli.errors import CliError

MODEL = "phota-image-enhance"

_CONNECT_SECONDS = 5
_TIMEOUT_SECONDS = 15
_MAX_BYTES = 1 << 20
_MAX_CREDITS = 1e15
_KEY_FORMAT = re.compile(r"[!-~]{1,4096}")  # what an HTTP header can carry


class InvalidKey(CliError):
    """The key has the wrong format, is rejected by the enhancer, or can't use the model."""


class EnhancerUnavailable(CliError):
    """The enhancer gave no usable response."""


def check_format(key: str) -> None:
    """Raises InvalidKey for text that can't be an API key."""
    if not _KEY_FORMAT.fullmatch(key):
        raise InvalidKey("This is not an API key: a key is text without spaces. Copy it again from the vendor's page.")


def check_key(base_url: str, key: str) -> None:
    """Checks that the key can use the model. Raises InvalidKey or EnhancerUnavailable."""
    check_format(key)
    models = _get(base_url, "/v1/models", key)
    listed = models.get("data") if isinstance(models, dict) else None
    if not isinstance(listed, list):
        raise EnhancerUnavailable("The enhancer did not return a list of models. Check the parameter ApiBaseUrl.")
    if not any(isinstance(one, dict) and one.get("id") == MODEL for one in listed):
        raise InvalidKey(f"The key can't use the model {MODEL}. Grant its group that permission at the vendor.")


def remaining_credits(base_url: str, key: str) -> float | None:
    """The account's balance in credits; None if the response has none. Raises InvalidKey or EnhancerUnavailable."""
    body = _get(base_url, "/v1/account/credits", key)
    data = body.get("data") if isinstance(body, dict) else None
    for holder in (data, body):
        value = holder.get("remaining_credits") if isinstance(holder, dict) else None
        # NaN, infinity, and numbers of hundreds of digits are JSON for Python.
        if isinstance(value, int | float) and not isinstance(value, bool) and -_MAX_CREDITS < value < _MAX_CREDITS:
            return value
    return None


class _BearerAuth(AuthBase):
    """Sets the key through `auth`, because requests otherwise replaces the header with an entry of .netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _get(base_url: str, path: str, key: str) -> Any:
    """The response's JSON. Redirects are not followed, because they would carry the key along."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    with requests.Session() as session:
        # A proxy tunnels https, but could read the key in plain http. Only the sandbox uses plain http.
        session.trust_env = base_url.startswith("https://")
        try:
            response = session.get(
                f"{base_url}{path}",
                auth=_BearerAuth(key),
                timeout=(_CONNECT_SECONDS, _TIMEOUT_SECONDS),
                allow_redirects=False,
                stream=True,
            )
            content = _read(response, deadline)
        except requests.RequestException as error:
            kind = type(error).__name__
            raise EnhancerUnavailable(
                f"The enhancer does not respond at {base_url} ({kind}). Try again later."
            ) from None
    if response.status_code in (401, 403):
        raise InvalidKey(
            f"The enhancer rejected the key ({response.status_code}). Set another key with `lumendrop set-key`."
        )
    if response.status_code != 200:
        raise EnhancerUnavailable(
            f"The enhancer returned {response.status_code} for {path}. Try again later, and check the parameter "
            "ApiBaseUrl."
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise EnhancerUnavailable(
            f"The enhancer's response to {path} is not JSON. Check the parameter ApiBaseUrl."
        ) from None


def _read(response: requests.Response, deadline: float) -> bytes:
    """The whole body. Raises ConnectionError if it is too long or too slow."""
    content = b""
    for chunk in response.iter_content(65536):
        content += chunk
        if len(content) > _MAX_BYTES or time.monotonic() > deadline:
            raise requests.ConnectionError("the response is too long or too slow")
    return content
