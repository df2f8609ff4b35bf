"""Downloads over real sockets: complete and incomplete results."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from lumendrop import downloads, images
from lumendrop import tls as verification
from lumendrop.containers import Broken, FileReader, Image, examine
from lumendrop.downloads import Download, DownloadFailed, DownloadRefused
from lumendrop.enhancer import Enhancer
from lumendrop.options import Options
from tests.client import wire
from tests.client.conftest import short_timeouts
from tests.enhancer.running import Enhancer as Server

MANY = 50_000_000


def fetch(url: str, folder: Path, *, most_bytes: int = MANY, seconds: float = 20, loopback: bool = True) -> Download:
    return downloads.fetch(url, folder / "result", most_bytes=most_bytes, seconds=seconds, allow_loopback=loopback)


def examined(download: Download) -> Image:
    with download.path.open("rb") as file:
        return examine(FileReader(file, download.bytes))


@pytest.fixture
def result(server: Server, client: Enhancer, photo: str) -> str:
    """The link of a completed task."""
    server.plan(task={"sequence": [{"at_submit": True}]})
    task = client.submit(photo, Options("1K"))
    url = client.status(task.id).result_url
    assert url
    return url


@pytest.fixture
def original(result: str) -> bytes:
    return requests.get(result, timeout=20).content


def plan(server: Server, **fault: Any) -> None:
    assert server.plan(result={"sequence": [fault]}).status_code == 200


def test_a_result_is_saved_completely(result: str, original: bytes, tmp_path: Path) -> None:
    download = fetch(result, tmp_path)

    assert download.path.read_bytes() == original
    assert download.bytes == len(original)
    assert download.sha256() == base64.b64encode(hashlib.sha256(original).digest()).decode()
    assert examined(download).format == images.JPEG


def test_a_compressed_body_is_unpacked(server: Server, result: str, original: bytes, tmp_path: Path) -> None:
    plan(server, kind="gzip")

    assert fetch(result, tmp_path).path.read_bytes() == original


FAULTS: list[dict[str, Any]] = [
    {"kind": "missing"},
    {"kind": "expired"},
    {"kind": "error"},
    {"kind": "truncated"},
    {"kind": "hang"},
    {"kind": "reset"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault["kind"]))
def test_an_incomplete_body_is_a_failed_download(
    server: Server, result: str, original: bytes, tmp_path: Path, fault: dict[str, Any]
) -> None:
    plan(server, **fault)
    with short_timeouts(), pytest.raises(DownloadFailed) as caught:
        fetch(result, tmp_path)

    assert result.rpartition("/")[2] not in str(caught.value)
    assert fetch(result, tmp_path).path.read_bytes() == original


def test_a_truncated_body_with_a_matching_length_is_detected_by_its_end(
    server: Server, result: str, original: bytes, tmp_path: Path
) -> None:
    plan(server, kind="wrong_length")
    try:
        download = fetch(result, tmp_path)
    except DownloadFailed:
        return
    assert download.bytes < len(original)
    with pytest.raises(Broken) as caught:
        examined(download)
    assert caught.value.code == "truncated"


def test_an_endless_body_is_refused_at_the_limit(server: Server, result: str, tmp_path: Path) -> None:
    plan(server, kind="endless")
    with pytest.raises(DownloadRefused):
        fetch(result, tmp_path, most_bytes=3_000_000)

    assert (tmp_path / "result").stat().st_size <= 3_000_000


def test_a_slow_body_is_a_failed_download(server: Server, result: str, tmp_path: Path) -> None:
    plan(server, kind="drip", bytes_per_second=20)
    begun = time.monotonic()
    with pytest.raises(DownloadFailed):
        fetch(result, tmp_path, seconds=1)

    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://[",
    ],
)
def test_a_redirect_out_of_loopback_is_refused(server: Server, result: str, tmp_path: Path, location: str) -> None:
    plan(server, kind="redirect", to=location)
    with pytest.raises(DownloadRefused):
        fetch(result, tmp_path)


def test_a_redirect_within_is_followed(server: Server, result: str, original: bytes, tmp_path: Path) -> None:
    plan(server, kind="redirect", to=result)

    assert fetch(result, tmp_path).path.read_bytes() == original


def test_endless_redirects_are_refused(server: Server, result: str, tmp_path: Path) -> None:
    server.plan(result={"rates": [{"rate": 1, "fault": {"kind": "redirect", "to": result}}]})
    with pytest.raises(DownloadRefused):
        fetch(result, tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_not_connected_to_outside_of_the_sandbox(tmp_path: Path, host: str) -> None:
    with wire.listening(wire.hang) as listener:
        for scheme in ("http", "https"):
            with pytest.raises(DownloadRefused):
                fetch(f"{scheme}://{host}:{listener.port}/", tmp_path, loopback=False)

        assert listener.connections == 0


def test_a_refused_connection_is_a_failed_download(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed):
        fetch(f"http://127.0.0.1:{wire.refused_port()}/", tmp_path)


def test_a_certificate_of_an_unknown_authority_is_not_trusted(tls: ssl.SSLContext, tmp_path: Path) -> None:
    asked: list[bytes] = []
    with wire.listening(partial(answer_secured, tls, asked)) as listener, pytest.raises(DownloadFailed):
        fetch(f"https://127.0.0.1:{listener.port}/", tmp_path)

    assert asked in ([], [b""])


def test_a_certificate_of_an_authority_is_trusted_for_its_own_name(trusted: ssl.SSLContext, tmp_path: Path) -> None:
    asked: list[bytes] = []
    with wire.listening(partial(answer_secured, trusted, asked)) as listener:
        assert fetch(f"https://127.0.0.1:{listener.port}/", tmp_path).bytes == 5
        asked.clear()
        with pytest.raises(DownloadFailed):
            fetch(f"https://localhost:{listener.port}/", tmp_path)

    assert asked in ([], [b""])


def test_a_download_does_not_turn_off_the_check_of_host_names(trusted: ssl.SSLContext, tmp_path: Path) -> None:
    with wire.listening(partial(answer_secured, trusted, [])) as listener:
        fetch(f"https://127.0.0.1:{listener.port}/", tmp_path)

    assert verification.context().check_hostname


def answer_secured(tls: ssl.SSLContext, asked: list[bytes], connection: socket.socket) -> None:
    with contextlib.suppress(OSError), tls.wrap_socket(connection, server_side=True) as secured:
        asked.append(secured.recv(65536))
        secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nphoto")


def test_credentials_of_the_environment_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    asked: list[bytes] = []

    def behave(connection: Any) -> None:
        asked.append(wire.read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    with wire.listening(behave) as listener:
        fetch(f"http://127.0.0.1:{listener.port}/", tmp_path)

    assert b"authorization" not in asked[0].lower()
    assert b"accept-encoding: identity" in asked[0].lower()
