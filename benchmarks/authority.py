"""A certificate authority for one run, so that benchmarks over loopback include the cost of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import trustme


def make(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Creates an authority; returns a bundle of it and certifi's, and a TLS context for servers on 127.0.0.1.

    The bundle includes certifi's authorities because reading them is part of the cost of a connection.
    """
    authority, bundle = trustme.CA(), folder / "authorities.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return bundle, context
