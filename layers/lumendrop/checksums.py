"""Checksums as S3 has them."""

from __future__ import annotations

import base64
import hashlib
from io import BufferedReader


def sha256(file: BufferedReader) -> str:
    """The SHA-256 of what a file still has, in base64. Reads it in pieces."""
    return base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()
