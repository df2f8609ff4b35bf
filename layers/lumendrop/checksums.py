"""Checksums as S3 has them."""

from __future__ import annotations

import base64
import hashlib
from io import BufferedReader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.response import StreamingBody


def sha256(file: BufferedReader | StreamingBody) -> str:
    """The SHA-256 of what a file, or the body of a response, still has, in base64. Reads it in pieces."""
    digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]  # the stubs of readinto expect no buffer
    return base64.b64encode(digest.digest()).decode()
