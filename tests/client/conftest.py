"""The sandbox's enhancer as a process of its own, and the functions' client for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lumendrop import downloads
from lumendrop import enhancer as module
from lumendrop import tls as verification
from lumendrop.api_key import ApiKey
from lumendrop.enhancer import Enhancer
from tests.enhancer.running import KEY, Photos, gradient
from tests.enhancer.running import Enhancer as Server

LITTLE_SECONDS = 0.6


class Keys(ApiKey):
    """A secret without Secrets Manager: `now` is what it holds, `held` what was read last."""

    def __init__(self, now: str = KEY) -> None:
        self.now = self.held = now

    def read(self, *, fresh: bool = False) -> str:
        if fresh:
            self.held = self.now
        return self.held


@pytest.fixture(autouse=True)
def sockets(socket_enabled: None) -> None:
    """These tests are about the wire."""


@contextmanager
def little_patience() -> Iterator[None]:
    """For calls that nobody answers; whatever is to be answered keeps its patience, or a busy machine fails it."""
    with pytest.MonkeyPatch.context() as patch:
        for where in (module, downloads):
            patch.setattr(where, "_CONNECT_SECONDS", 2)
        patch.setattr(module, "_SUBMIT_SECONDS", LITTLE_SECONDS)
        patch.setattr(module, "_STATUS_SECONDS", LITTLE_SECONDS)
        patch.setattr(downloads, "_READ_SECONDS", LITTLE_SECONDS)
        yield


@pytest.fixture(scope="session")
def server_process() -> Iterator[Server]:
    process = Server("--task-seconds", "0.1")
    yield process
    process.close()


@pytest.fixture
def server(server_process: Server) -> Server:
    """The running enhancer in fair weather."""
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


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for 127.0.0.1 that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    file = tmp_path / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.fixture
def trusted(tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """The same, and everybody trusts who signed it."""
    monkeypatch.setattr(verification.certifi, "where", lambda: str(tmp_path / "server.pem"))
    verification.context.cache_clear()
    yield tls
    verification.context.cache_clear()
