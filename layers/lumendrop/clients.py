"""The AWS clients. They share one boto3 session: each further one adds tens of milliseconds to a cold start."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import msgspec
from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth
from botocore.config import Config
from botocore.loaders import JSONFileLoader, Loader

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

_SERVICES = ["dynamodb", "s3", "secretsmanager", "sqs", "stepfunctions"]


class _FastFiles(JSONFileLoader):
    """Reads the service models with msgspec, which takes half the time of json with ordered dictionaries."""

    def load_file(self, file_path: str) -> Any:
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return msgspec.json.decode(plain.read_bytes())
        return msgspec.json.decode(gzip.decompress(packed.read_bytes())) if packed.is_file() else None


class _FastLoader(Loader):
    """Skips the listing of 400 service folders at each cold start. It would only show that a service is known."""

    FILE_LOADER_CLASS = _FastFiles

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002  # botocore passes it
        return _SERVICES


class _HashedOnce(S3SigV4Auth):
    """Signs a body with the SHA-256 that is sent as its checksum. Botocore would read the file again to hash it."""

    def payload(self, request: Any) -> str:
        known = request.headers.get("x-amz-checksum-sha256")
        return base64.b64decode(known).hex() if known else super().payload(request)


def _boto3_session() -> boto3.Session:
    core = botocore.session.get_session()
    core.register_component("data_loader", _FastLoader(include_default_search_paths=True))
    AUTH_TYPE_MAPS["s3v4"] = _HashedOnce
    return boto3.Session(botocore_session=core)


_session = _boto3_session()
_config = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})


def s3(bucket_owner: str, read_seconds: int = 60, tries: int = 5) -> S3Client:
    """Uses SigV4 and virtual-hosted addresses, which presigned URLs need in some regions.

    Each call fails if its bucket does not belong to the account `bucket_owner`. Presigned URLs are excepted, because
    whoever uses them would have to send the header.
    """
    style = Config(
        signature_version="s3v4",
        s3={"addressing_style": "virtual"},
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": tries},
    )
    client = _session.client("s3", config=_config.merge(style))

    def expect_owner(model: Any, params: dict[str, Any], **_: object) -> None:
        params["headers"]["x-amz-expected-bucket-owner"] = bucket_owner
        if model.name == "CopyObject":
            params["headers"]["x-amz-source-expected-bucket-owner"] = bucket_owner

    client.meta.events.register("before-call.s3", expect_owner)
    return client


def dynamodb() -> DynamoDBClient:
    """Gives up early, because the ledger repeats what is safe to repeat, and a paid task must still reach the queue."""
    quick = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
    return _session.client("dynamodb", config=_config.merge(quick))


def secretsmanager() -> SecretsManagerClient:
    return _session.client("secretsmanager", config=_config)


def sqs() -> SQSClient:
    """Tries twice, because each try of a send can leave a copy of the message in the queue."""
    quick = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
    return _session.client("sqs", config=_config.merge(quick))


def stepfunctions() -> SFNClient:
    return _session.client("stepfunctions", config=_config)
