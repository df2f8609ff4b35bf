"""The sandbox's enhancer in a separate process, and the functions' client for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from lumendrop import downloads
from lumendrop import enhancer as module
from lumendrop import tls as verification
from lumendrop.api_key import ApiKey
from lumendrop.enhancer import Enhancer
from tests.enhancer.running import KEY, Photos, gradient
from tests.enhancer.running import Enhancer as Server

SHORT_SECONDS = 0.6


class Keys(ApiKey):
    """A key without Secrets Manager. `now` is the current secret, `held` the cached one."""

    def __init__(self, now: str = KEY) -> None:
        self.now = self.held = now

    def read(self, *, fresh: bool = False) -> str:
        if fresh:
            self.held = self.now
        return self.held


@contextmanager
def short_timeouts() -> Iterator[None]:
    """Short timeouts for calls without an answer. Other calls keep theirs, because the machine may be busy."""
    with pytest.MonkeyPatch.context() as patch:
        for where in (module, downloads):
            patch.setattr(where, "_CONNECT_SECONDS", 2)
        patch.setattr(module, "_SUBMIT_SECONDS", SHORT_SECONDS)
        patch.setattr(module, "_STATUS_SECONDS", SHORT_SECONDS)
        patch.setattr(downloads, "_READ_SECONDS", SHORT_SECONDS)
        yield


@pytest.fixture(scope="session")
def server_process() -> Iterator[Server]:
    process = Server("--task-seconds", "0.1")
    yield process
    process.close()


@pytest.fixture
def server(server_process: Server) -> Server:
    """The running enhancer without faults."""
    server_process.plan()
    server_process.account(credits=100_000, key_valid=True)
    return server_process


@pytest.fixture(scope="session")
def photo() -> Iterator[str]:
    """A URL that the enhancer can fetch a photo from."""
    photos = Photos()
    jpeg: bytes = gradient(96, 64).jpegsave_buffer(Q=90)
    yield photos.put("/bucket/photo.jpg", jpeg)
    photos.close()


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def client(server: Server, keys: Keys) -> Enhancer:
    return Enhancer(server.url, keys)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """The TLS context of a server with a certificate for 127.0.0.1 from an unknown authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(
    tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ssl.SSLContext]:
    """The same, and its authority is trusted."""
    bundle = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setattr(verification.certifi, "where", lambda: str(bundle))
    verification.context.cache_clear()
    yield tls
    verification.context.cache_clear()
