"""A certificate authority for one run, so that benchmarks over loopback pay for TLS as they would in the cloud."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import trustme


def make(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A bundle of certifi's authorities and a new one, and a server's side of TLS for 127.0.0.1, signed by the new one.

    The bundle holds the usual authorities too, since reading them is part of what a connection costs.
    """
    authority, bundle = trustme.CA(), folder / "authorities.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return bundle, context
