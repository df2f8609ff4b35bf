"""TLS to servers outside of AWS."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any

import certifi
from requests.adapters import HTTPAdapter


@cache
def context() -> ssl.SSLContext:
    """Trusts certifi's certificate authorities and checks host names."""
    return ssl.create_default_context(cafile=certifi.where())


class VerifiedTLSAdapter(HTTPAdapter):
    """Verifies servers with one TLS context for all calls.

    Requests loads the certificates of all authorities for each connection. That takes 15 ms of a full CPU, and 0.2 s in
    a function with 128 MB.
    """

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=context(), **more)

    def cert_verify(self, conn: Any, *_: Any) -> None:
        """Leaves the authorities to the context. Verification can't be turned off."""
        conn.cert_reqs = "CERT_REQUIRED"
