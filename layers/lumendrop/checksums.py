"""Checksums as S3 has them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from io import BufferedReader


def sha256(file: BufferedReader) -> str:
    """The SHA-256 of what a file still has, in base64. Reads it in pieces."""
    return base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()


def sha256_of(chunks: Iterable[bytes]) -> str:
    """The SHA-256 of chunks, in base64."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return base64.b64encode(digest.digest()).decode()
