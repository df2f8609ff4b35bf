"""The AWS clients. They share one boto3 session: each further session costs a cold start tens of milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

_session = boto3.Session()
_config = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})


def s3() -> S3Client:
    """Signs with SigV4 and puts the bucket into the host name, which presigned URLs need to work in every region."""
    style = Config(signature_version="s3v4", s3={"addressing_style": "virtual"}, read_timeout=60)
    return _session.client("s3", config=_config.merge(style))


def dynamodb() -> DynamoDBClient:
    return _session.client("dynamodb", config=_config)


def secretsmanager() -> SecretsManagerClient:
    return _session.client("secretsmanager", config=_config)


def sqs() -> SQSClient:
    return _session.client("sqs", config=_config)


def stepfunctions() -> SFNClient:
    return _session.client("stepfunctions", config=_config)
