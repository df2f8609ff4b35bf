"""Downloads a result. The vendor chooses the link, so it could lead anywhere, even to this function's own host."""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec
import requests
from requests_hardened import Config, HTTPSession
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3.exceptions import HTTPError

from lumendrop import checksums
from lumendrop.tls import VerifiedTLSAdapter

_CONNECT_SECONDS = 5
_READ_SECONDS = 20
_MOST_REDIRECTS = 5
_CHUNK_BYTES = 1 << 18
_REDIRECTS = (301, 302, 303, 307, 308)
# IANA assigns public addresses from 2000::/3 only. The two blocks in it contain addresses with an embedded IPv4 address
# (Teredo, 6to4) and other special ones. Source: https://www.iana.org/assignments/iana-ipv6-special-registry
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
_SPECIAL_IPV6 = (ipaddress.ip_network("2001::/23"), ipaddress.ip_network("2002::/16"))


class DownloadRefused(Exception):
    """The link or its content can't be trusted, and a retry would not help. The text contains no query string."""


class DownloadFailed(Exception):
    """The download failed this time: the link expired, the server failed, or the body was truncated."""


class Download(msgspec.Struct, frozen=True):
    """A file on disk. It is not hashed, because usually other bytes are delivered."""

    path: Path
    bytes: int

    def sha256(self) -> str:
        """In base64, as in S3's checksums."""
        with self.path.open("rb") as file:
            return checksums.sha256(file)


class _Filtered(VerifiedTLSAdapter, IPFilterAdapter):  # type: ignore[misc]  # requests_hardened ships no types
    """Connects only to public addresses whose certificate matches the host name in the link."""

    def build_connection_pool_key_attributes(self, *arguments: Any, **more: Any) -> Any:
        """Leaves the check of the host name, which stays in `server_hostname`, to the TLS context.

        With `assert_hostname`, urllib3 would turn off the check of the context, which all calls share.
        """
        found: Any = super().build_connection_pool_key_attributes(*arguments, **more)
        found[1].pop("assert_hostname", None)
        self._check_address(ipaddress.ip_address(found[0]["host"].strip("[]")))
        return found

    def _check_address(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        """Refuses IPv6 addresses that the filter lets through although they are not public, such as fec0::1."""
        if address.version == 4 or (self._allow_loopback and address.is_loopback):
            return
        if address not in _PUBLIC_IPV6 or any(address in special for special in _SPECIAL_IPV6):
            raise InvalidIPAddress(address)


def fetch(url: str, path: Path, *, most_bytes: int, seconds: float, allow_loopback: bool = False) -> Download:
    """Streams `url` into the file `path`: at most `most_bytes`, in at most about `seconds`.

    Only https on port 443 of a public address is allowed. The connection uses the address that was checked, and each
    redirect is checked too. `allow_loopback` adds http and 127.0.0.1, on any port. Raises DownloadRefused,
    DownloadFailed.
    """
    deadline = time.monotonic() + seconds
    with _session(allow_loopback) as session:
        try:
            response = _get(session, url, allow_loopback)
            return _save(response, path, most_bytes, deadline)
        except InvalidIPAddress:
            raise DownloadRefused("The result's link leads to an address that is not public.") from None
        except ValueError:  # requests parses a redirect's Location before it can be checked here
            raise DownloadRefused("The result's link, or one that it redirects to, is not a URL.") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise DownloadFailed(f"The result could not be downloaded ({type(error).__name__}).") from None


def _session(allow_loopback: bool) -> HTTPSession:
    session = HTTPSession(
        Config(
            ip_filter_enable=True,
            ip_filter_allow_loopback_ips=allow_loopback,
            never_redirect=True,
            default_timeout=(_CONNECT_SECONDS, _READ_SECONDS),
        )
    )
    adapter = _Filtered(is_https_proto=True, allow_loopback=allow_loopback)  # type: ignore[call-arg]  # as above
    session.mount("https://", adapter)
    session.trust_env = False  # a proxy would connect to an address that was not checked
    return session


def _get(session: HTTPSession, url: str, allow_loopback: bool) -> requests.Response:
    for _ in range(_MOST_REDIRECTS + 1):
        _check(url, allow_loopback)
        response: requests.Response = session.get(url, headers={"Accept-Encoding": "identity"}, stream=True)
        if response.status_code not in _REDIRECTS:
            return response
        url = urljoin(url, response.headers.get("Location", ""))
        response.close()
    raise DownloadRefused("The result's link redirects without end.")


def _check(url: str, allow_loopback: bool) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise DownloadRefused("The result's link is not a URL.") from None
    if parts.scheme != "https" and not (allow_loopback and parts.scheme == "http"):
        raise DownloadRefused("The result's link is not https.")
    if not parts.hostname or "@" in parts.netloc:
        raise DownloadRefused("The result's link names no host, or credentials.")
    if port not in (None, 443) and not allow_loopback:
        raise DownloadRefused("The result's link names an unusual port.")


def _save(response: requests.Response, path: Path, most_bytes: int, deadline: float) -> Download:
    if response.status_code != 200:
        raise DownloadFailed(f"The result's link answered {response.status_code}.")
    encoded = "Content-Encoding" in response.headers  # without an encoding, urllib3 would copy each chunk needlessly
    total = 0
    with path.open("wb", _CHUNK_BYTES) as file:  # TLS gives 16 KiB at a time
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=encoded):
            total += len(chunk)
            if total > most_bytes:
                raise DownloadRefused(f"The result is larger than {most_bytes} bytes.")
            if time.monotonic() > deadline:
                raise DownloadFailed("The download of the result took too long.")
            file.write(chunk)
    return Download(path, total)
