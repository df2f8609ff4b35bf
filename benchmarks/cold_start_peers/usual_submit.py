"""submit, written the usual way: pydantic, Tracer, a client wherever one is needed."""

from __future__ import annotations

from typing import Any

import boto3
import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.parser import event_parser
from aws_lambda_powertools.utilities.parser.models import SqsModel
from pydantic import BaseModel

logger = Logger()
metrics = Metrics(namespace="Lumendrop")
tracer = Tracer()
s3 = boto3.Session().client("s3")
sqs = boto3.Session().client("sqs")
stepfunctions = boto3.Session().client("stepfunctions")
table = boto3.Session().resource("dynamodb").Table("ledger")
session = requests.Session()


class Submitted(BaseModel):
    """What the enhancer answers."""

    id: str
    status: str


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
@event_parser(model=SqsModel)
def handler(event: SqsModel, context: object) -> Any:
    """Sends one task; here only what it imports matters."""
    headers = {"Authorization": f"Bearer {parameters.get_secret('key')}"}
    return Submitted.model_validate(session.post("https://api.foxapi.cc", headers=headers, timeout=30).json())
