"""The least that any such function imports: boto3 with one client, and requests."""

from __future__ import annotations

from typing import Any

import boto3
import requests

S3 = boto3.client("s3")
SESSION = requests.Session()


def handler(event: dict[str, Any], context: object) -> None:
    """Does nothing."""
