"""The vendor chooses the link of a result: hostile links are refused before a connection is made."""

from __future__ import annotations

import io
import ipaddress
import socket
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3.util.connection
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from lumendrop import downloads
from lumendrop.downloads import Download, DownloadFailed, DownloadRefused

PUBLIC = "93.184.215.14"


class Network:
    """A resolver with fixed answers, and a network without servers."""

    def __init__(self) -> None:
        self.names: dict[str, deque[str]] = {}
        self.resolved: list[str] = []
        self.connections: list[tuple[str, int]] = []

    def getaddrinfo(self, host: str, port: Any, *_: object, **__: object) -> list[Any]:
        host.encode("idna")  # like the real one, which fails for invalid labels
        self.resolved.append(host)
        if host in self.names:
            addresses = self.names[host]
            address = addresses.popleft() if len(addresses) > 1 else addresses[0]
        else:
            address = _as_address(host)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        where = (address, port, 0, 0) if ":" in address else (address, port)
        return [(family, socket.SOCK_STREAM, 6, "", where)]

    def create_connection(self, address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        self.connections.append(address)
        raise ConnectionRefusedError("nothing answers here")


def _as_address(host: str) -> str:
    """Addresses in all forms that the C library accepts: 127.1, 0x7f.1, 2130706433."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise socket.gaierror("no such name") from None


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    made = Network()
    monkeypatch.setattr(socket, "getaddrinfo", _in_this_thread(made.getaddrinfo, socket.getaddrinfo))
    create_connection = urllib3.util.connection.create_connection
    monkeypatch.setattr(
        urllib3.util.connection, "create_connection", _in_this_thread(made.create_connection, create_connection)
    )
    return made


def _in_this_thread(function: Callable[..., Any], others: Callable[..., Any]) -> Callable[..., Any]:
    """The sandbox of an earlier test may still be running in this process. Its threads keep the real network."""
    this = threading.get_ident()

    def chosen(*arguments: Any, **more: Any) -> Any:
        return (function if threading.get_ident() == this else others)(*arguments, **more)

    return chosen


def fetch(url: str, folder: Path, **more: Any) -> Download:
    return downloads.fetch(url, folder / "result", most_bytes=1000, seconds=5, **more)


HOSTILE = [
    "http://photos.test/a.jpg",
    "HTTP://photos.test/a.jpg",
    "ftp://photos.test/a.jpg",
    "file:///etc/passwd",
    "file://photos.test/etc/passwd",
    "gopher://photos.test/",
    "data:image/jpeg;base64,AAAA",
    "javascript:alert(1)",
    "//photos.test/a.jpg",
    "/etc/passwd",
    "photos.test/a.jpg",
    "",
    " ",
    "https://",
    "https:///a.jpg",
    "https://?a",
    "https://[",
    "https://[::1",
    "https://[zz]/",
    "https://user@photos.test/",
    "https://user:password@photos.test/",
    "https://photos.test@127.0.0.1/",
    "https://@127.0.0.1/",
    "https://photos.test:80/",
    "https://photos.test:8443/",
    "https://photos.test:0/",
    "https://photos.test:99999/",
    "https://photos.test:x/",
    "https://127.0.0.1/",
    "https://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
    "https://127.1/",
    "https://127.0.0.1./",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.170.2/v2/credentials",
    "https://198.18.0.1/",
    "https://192.0.2.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[ff02::1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[64:ff9b::10.0.0.1]/",
    "https://[64:ff9b::93.184.215.14]/",
    "https://[64:ff9b:1::10.0.0.1]/",
    "https://[fec0::1]/",
    "https://[feff:ffff::1]/",
    "https://[::10.0.0.1]/",
    "https://[::169.254.169.254]/",
    "https://[::93.184.215.14]/",
    "https://[::2]/",
    "https://[::ffff:0:10.0.0.1]/",
    "https://[::ffff:0:169.254.169.254]/",
    "https://[::ffff:0:93.184.215.14]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[::fffe:10.0.0.1]/",
    "https://[2001::a9fe:a9fe]/",
    "https://[2001:0:4136:e378:8000:63bf:5601:5601]/",
    "https://[2001:10::1]/",
    "https://[2001:20::1]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[400::1]/",
    "https://[5f00::1]/",
    "https://[fe80::1%25eth0]/",
    "https://site-local.test/",
    "https://translated.test/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://metadata.internal/",
    "https://both.test/",
    "https://localhost。/",
    "https://①②⑦.0.0.1/",
]


def hostile_names(network: Network) -> None:
    for name in ("localhost", "LOCALHOST", "localhost."):
        network.names[name] = deque(["127.0.0.1"])
    network.names["metadata.internal"] = deque(["169.254.169.254"])
    network.names["both.test"] = deque(["10.0.0.1", PUBLIC])
    network.names["site-local.test"] = deque(["fec0::1"])
    network.names["translated.test"] = deque(["::ffff:0:a9fe:a9fe"])
    network.names["photos.test"] = deque([PUBLIC])


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_link_is_refused_before_a_connection_is_made(network: Network, tmp_path: Path, url: str) -> None:
    hostile_names(network)
    with pytest.raises((DownloadRefused, DownloadFailed)):
        fetch(url, tmp_path)

    assert network.connections == []


@pytest.mark.parametrize("url", HOSTILE)
def test_a_redirect_to_a_hostile_link_is_refused(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    hostile_names(network)
    location = url.encode().decode("latin-1")  # as http.client reads it from the wire
    answer_with(monkeypatch, "https://results.test/first", 302, Location=location)
    with pytest.raises((DownloadRefused, DownloadFailed)):
        fetch("https://results.test/first", tmp_path)

    assert {host for host, _ in network.connections} <= {PUBLIC}


def test_a_redirect_with_an_invalid_encoding_is_refused(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, "https://results.test/first", 302, Location="https://results.test/\xff")
    with pytest.raises(DownloadRefused):
        fetch("https://results.test/first", tmp_path)


def answer_with(monkeypatch: pytest.MonkeyPatch, url: str, status: int, body: bytes = b"", **headers: str) -> None:
    """Answers this URL without the network. All other URLs use it."""
    send = HTTPAdapter.send

    def answered(self: HTTPAdapter, request: PreparedRequest, **more: Any) -> Response:
        if request.url != url:
            return send(self, request, **more)
        return self.build_response(request, HTTPResponse(io.BytesIO(body), headers, status, preload_content=False))

    monkeypatch.setattr(HTTPAdapter, "send", answered)


@pytest.mark.parametrize(
    "address", ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2a00:1450:4001:830::200e", "2001:200::1"]
)
def test_a_public_ipv6_address_is_connected_to(network: Network, tmp_path: Path, address: str) -> None:
    network.names["photos.test"] = deque([address])
    with pytest.raises(DownloadFailed):
        fetch("https://photos.test/a.jpg", tmp_path)

    assert network.connections == [(address, 443)]


def test_a_public_address_is_connected_to(network: Network, tmp_path: Path) -> None:
    """Otherwise, the tests above would prove nothing."""
    network.names["photos.test"] = deque([PUBLIC])
    with pytest.raises(DownloadFailed):
        fetch("https://photos.test/a.jpg", tmp_path)

    assert network.connections == [(PUBLIC, 443)]


def test_the_connection_uses_the_checked_address(network: Network, tmp_path: Path) -> None:
    """The name resolves to a public address first and to a private one a moment later."""
    network.names["rebinding.test"] = deque([PUBLIC, "127.0.0.1"])
    with pytest.raises(DownloadFailed):
        fetch("https://rebinding.test/a.jpg", tmp_path)

    assert network.connections == [(PUBLIC, 443)]
    assert network.resolved.count("rebinding.test") == 1


def test_a_proxy_of_the_environment_is_not_used(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://10.0.0.1:3128")
    network.names["photos.test"] = deque([PUBLIC])
    with pytest.raises(DownloadFailed):
        fetch("https://photos.test/a.jpg", tmp_path)

    assert network.connections == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "url", ["https://nowhere.test/", f"https://{'x' * 64}.test/", "https://a..b/", "https://.test/"]
)
def test_a_name_that_does_not_resolve_is_a_failed_download(network: Network, tmp_path: Path, url: str) -> None:
    with pytest.raises((DownloadRefused, DownloadFailed)):
        fetch(url, tmp_path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/a", "https://127.0.0.1/a", "http://localhost:8000/a"])
def test_the_sandbox_may_use_loopback(network: Network, tmp_path: Path, url: str) -> None:
    hostile_names(network)
    with pytest.raises(DownloadFailed):
        fetch(url, tmp_path, allow_loopback=True)

    assert len(network.connections) == 1


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/a", "http://169.254.169.254/", "http://u:p@127.0.0.1/", "ftp://127.0.0.1/"]
)
def test_the_sandbox_may_use_only_loopback_in_addition(network: Network, tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadRefused):
        fetch(url, tmp_path, allow_loopback=True)

    assert network.connections == []


def test_errors_do_not_contain_the_link(network: Network, tmp_path: Path) -> None:
    network.names["photos.test"] = deque([PUBLIC])
    for url in [*HOSTILE, "https://photos.test/a.jpg", "https://nowhere.test/"]:
        with pytest.raises((DownloadRefused, DownloadFailed)) as caught:
            fetch(url + "?token=secret", tmp_path)
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_digest_is_of_what_was_saved(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, "https://results.test/a", 200, b"abc")
    download = fetch("https://results.test/a", tmp_path)

    assert download.path.read_bytes() == b"abc"
    assert download.bytes == 3
    assert download.sha256() == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="


@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False), (100_000, False)])
def test_the_cap_is_exact(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, fits: bool
) -> None:
    answer_with(monkeypatch, "https://results.test/a", 200, b"x" * size)
    if fits:
        assert fetch("https://results.test/a", tmp_path).bytes == size
    else:
        with pytest.raises(DownloadRefused, match="1000 bytes"):
            fetch("https://results.test/a", tmp_path)
