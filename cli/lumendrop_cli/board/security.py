"""Decides which requests the board answers: only those of its own page, in a browser that got the printed address.

Other pages in the same browser, other machines (DNS rebinding), and programs without the token get a refusal.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_JSON_BYTES = 4_194_304  # the names of 2,000 photos

_HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # No text can become markup: innerHTML and its like throw.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_METHODS = frozenset({"GET", "POST"})
# The headers that decide. A second one of them could be read differently by another program.
_SINGLE = (b"host", b"origin", b"cookie", b"content-length", b"content-type", b"sec-fetch-site")
_OPENING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Lumendrop</title><p>Opening the board …</p></html>
"""


@dataclass(frozen=True)
class Refusal(Exception):
    """A request that is not answered: the HTTP status, and the reason for the person who sees it."""

    status: int
    reason: str


class Gate:
    """ASGI middleware around the whole board. `port` is the port that it listens on."""

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self._app = app
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self._token = token
        # Cookies don't distinguish ports, so each board's has a name of its own. Its value opens nothing else.
        self._cookie = f"lumendrop-board-{port}"
        self._session = hmac.new(token.encode(), b"session", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            answer = self._check(scope)
        except Refusal as refusal:
            answer = PlainTextResponse(f"{refusal.reason}\n", refusal.status)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (answer or self._app)(scope, receive, send_with_headers)

    def _check(self, scope: Scope) -> Response | None:
        """Raises Refusal. Returns the answer to a request with the token; otherwise, the board answers."""
        _check_shape(scope)
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts:
            raise Refusal(421, "This address is not the board's. Open the address that `lumendrop board` printed.")
        given = _token(scope)
        has_token = given is not None and hmac.compare_digest(given, self._token.encode())
        _check_origin(scope["method"], headers, host, has_token=has_token and scope["path"] == "/")
        if given is not None:
            return self._open(scope, has_token=has_token)
        if not self._has_session(headers):
            raise Refusal(401, "Open the address that `lumendrop board` printed; it contains the token.")
        _check_body(scope["method"], scope["path"], headers)
        return None

    def _open(self, scope: Scope, *, has_token: bool) -> Response:
        """Sets the cookie. The page loads again without the token, from its own origin: SameSite=Strict requires it."""
        if not has_token or scope["path"] != "/" or scope["method"] != "GET":
            raise Refusal(401, "This token is not valid. Open the address that the running `lumendrop board` printed.")
        response = Response(_OPENING, media_type="text/html", headers={"Refresh": "0; url=/"})
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
        return response

    def _has_session(self, headers: Mapping[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._session.encode())


def _check_shape(scope: Scope) -> None:
    if scope["method"] not in _METHODS:
        raise Refusal(405, "The board accepts GET and POST.")
    names = [name for name, _ in scope["headers"]]
    if any(names.count(name) > 1 for name in _SINGLE):
        raise Refusal(400, "The request repeats a header.")
    if b"transfer-encoding" in names and b"content-length" in names:
        raise Refusal(400, "The request has two lengths.")


def _check_origin(method: str, headers: Headers, host: str, *, has_token: bool) -> None:
    """Refuses what other pages send or load, including pages on other ports of this machine."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin != f"http://{host}":
        raise Refusal(403, "Another page sent this request, so it was refused.")
    if method == "POST" and origin is None:
        raise Refusal(403, "The request names no origin, so it was refused.")
    # A terminal in a browser opens the printed address from another site.
    follows_link = has_token and headers.get("sec-fetch-mode") == "navigate"
    if site not in (None, "same-origin", "none") and not follows_link:
        raise Refusal(403, "Another site sent this request, so it was refused. Open the board in a tab of its own.")


def _check_body(method: str, path: str, headers: Headers) -> None:
    """A body has a length, and a type that other pages can't send without asking first."""
    if method != "POST":
        return
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdecimal() and len(length) < 16):
        raise Refusal(411, "The request has no Content-Length.")
    is_upload = path == "/api/uploads"
    if headers.get("content-type") != ("application/octet-stream" if is_upload else "application/json"):
        raise Refusal(415, "The request has the wrong content type.")
    if not is_upload and int(length) > MAX_JSON_BYTES:
        raise Refusal(413, "The request is too large.")


def _token(scope: Scope) -> bytes | None:
    """The token in the query, if there is one. Several are none that is valid."""
    try:
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Refusal(400, "The query has too many fields.") from None
    given = query.get("token")
    return None if given is None else given[0].encode("utf-8", "replace") if len(given) == 1 else b""
