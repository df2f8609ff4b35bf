"""What the enhancer says of a key: which models it may use, and the account's balance.

No text from its answers is repeated: vendors quote what was sent to them, and the key must never be shown.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import requests
from requests.auth import AuthBase

from lumendrop_cli.trouble import Trouble

MODEL = "phota-image-enhance"

_CONNECT_SECONDS = 5
_SECONDS = 15
_MOST_BYTES = 1 << 20
_KEY = re.compile(r"[!-~]{1,4096}")  # what an HTTP header can carry


class WrongKey(Trouble):
    """The key is none, or the enhancer does not take it, or not for the model."""


class Unreachable(Trouble):
    """The enhancer gave no usable answer."""


def refuse_malformed(key: str) -> None:
    """Raises WrongKey for what can't be an API key."""
    if not _KEY.fullmatch(key):
        raise WrongKey("That is no API key: it must be text without spaces. Copy it anew from the vendor's page.")


def check(base_url: str, key: str) -> None:
    """Asks whether the key may use the model. Raises WrongKey or Unreachable."""
    refuse_malformed(key)
    models = _get(base_url, "/v1/models", key)
    listed = models.get("data") if isinstance(models, dict) else None
    if not isinstance(listed, list):
        raise Unreachable("The enhancer's list of models is not one. Is ApiBaseUrl right?")
    if not any(isinstance(one, dict) and one.get("id") == MODEL for one in listed):
        raise WrongKey(f"The key may not use the model {MODEL}. Give its group that right at the vendor's.")


def credits_left(base_url: str, key: str) -> float | None:
    """The account's balance in credits; None if the answer has none. Raises WrongKey or Unreachable."""
    body = _get(base_url, "/v1/account/credits", key)
    data = body.get("data") if isinstance(body, dict) else None
    for holder in (data, body):
        value = holder.get("remaining_credits") if isinstance(holder, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None


class _Bearer(AuthBase):
    """As an `auth`, so that no .netrc takes its place."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _get(base_url: str, path: str, key: str) -> Any:
    """The answer's JSON. Never redirected: the key would travel along."""
    deadline = time.monotonic() + _SECONDS
    with requests.Session() as session:
        # A proxy only passes https through; plain http, which is the sandbox's, it would read.
        session.trust_env = base_url.startswith("https://")
        try:
            answer = session.get(
                f"{base_url}{path}",
                auth=_Bearer(key),
                timeout=(_CONNECT_SECONDS, _SECONDS),
                allow_redirects=False,
                stream=True,
            )
            content = _read(answer, deadline)
        except requests.RequestException as error:
            what = type(error).__name__
            raise Unreachable(f"The enhancer does not answer at {base_url} ({what}). Try again later.") from None
    if answer.status_code in (401, 403):
        raise WrongKey(f"The enhancer does not take the key ({answer.status_code}). Set another: `lumendrop set-key`.")
    if answer.status_code != 200:
        raise Unreachable(
            f"The enhancer answered {answer.status_code} to {path}. Try again later; is ApiBaseUrl right?"
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Unreachable(f"The enhancer's answer to {path} is not JSON. Is ApiBaseUrl right?") from None


def _read(answer: requests.Response, deadline: float) -> bytes:
    """The whole body, if it comes in time and is not too long."""
    content = b""
    for chunk in answer.iter_content(65536):
        content += chunk
        if len(content) > _MOST_BYTES or time.monotonic() > deadline:
            raise requests.ConnectionError("the answer is too long or too slow")
    return content
