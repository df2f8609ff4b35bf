"""Downloads the photo of a task, from this machine only, within limits."""

import http.client
import ipaddress
import time
import zlib
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

MAX_BYTES = 64 * 1024 * 1024
READ_SECONDS = 10.0
DEADLINE_SECONDS = 30.0
CHUNK = 256 * 1024
MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
# zlib's, by the name of an encoding.
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class DownloadError(Exception):
    """The photo could not be downloaded. The message has the cause, and never the URL, which is a secret."""


def fetch(url: str) -> bytes:
    """Download a presigned `http` URL of this machine, at most MAX_BYTES, decoded as its Content-Encoding says.

    Follows redirects on this machine. Raises DownloadError.

    This uses the standard library, because other clients normalize a path (`%2E%2E`, `+`, `//`), which invalidates
    its signature.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    for _ in range(MAX_REDIRECTS + 1):
        found = _get(url, deadline)
        if isinstance(found, bytes):
            return found
        url = urljoin(url, found.to)
    raise DownloadError(f"image_url redirects more than {MAX_REDIRECTS} times")


@dataclass(frozen=True)
class _Redirect:
    to: str


def _get(url: str, deadline: float) -> bytes | _Redirect:
    host, port, authority, target = _address(url)
    connection = http.client.HTTPConnection(host, port, timeout=READ_SECONDS)
    try:
        connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", authority)
        connection.putheader("Accept-Encoding", "gzip, deflate")
        connection.endheaders()
        response = connection.getresponse()
        if response.status in REDIRECTS and (location := response.getheader("Location")):
            return _Redirect(location)
        if response.status != 200:
            raise DownloadError(f"image_url answered with HTTP status {response.status}")
        return _decoded(_read(response, deadline), response.getheader("Content-Encoding", ""))
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"image_url could not be fetched: {type(error).__name__}") from error
    finally:
        connection.close()


def _decoded(data: bytes, encodings: str) -> bytes:
    """The body without its encodings, the last of which is undone first. Unknown encodings are ignored."""
    for encoding in reversed(encodings.lower().split(",")):
        if bits := WINDOW_BITS.get(encoding.strip()):
            data = _inflated(data, bits)
    return data


def _inflated(data: bytes, bits: int) -> bytes:
    inflate = zlib.decompressobj(bits)
    try:
        content = inflate.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise DownloadError("the image is not encoded as its Content-Encoding says") from error
    if len(content) > MAX_BYTES:
        raise DownloadError(f"the image is larger than {MAX_BYTES // 1024 // 1024} MiB")
    if not inflate.eof:
        raise DownloadError("the image is incomplete")
    return content


def _address(url: str) -> tuple[str, int, str, str]:
    """The host, the port, the Host header, and the request target exactly as in the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise DownloadError("image_url is not a URL") from error
    if parts.scheme != "http":
        raise DownloadError("image_url must start with http://, because the sandbox has no https")
    name = parts.hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        name = "127.0.0.1"
    try:
        local = ipaddress.ip_address(name).is_loopback
    except ValueError:
        local = False
    if not local:
        raise DownloadError("image_url is not on this machine; the sandbox downloads only from it")
    authority = parts.netloc.rpartition("@")[2]
    target = url.split("://", 1)[1][len(parts.netloc) :].partition("#")[0]
    return name, port, authority, target if target.startswith("/") else f"/{target}"


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    data = bytearray()
    while chunk := response.read1(CHUNK):
        data += chunk
        if len(data) > MAX_BYTES:
            raise DownloadError(f"the image is larger than {MAX_BYTES // 1024 // 1024} MiB")
        if time.monotonic() > deadline:
            raise DownloadError(f"the image took longer than {DEADLINE_SECONDS:.0f} seconds to fetch")
    if response.length:
        raise DownloadError("the image is incomplete")
    return bytes(data)
