"""deliver, written the usual way: pydantic, Tracer, a client wherever one is needed."""

from __future__ import annotations

from typing import Any

import boto3
import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.parser import event_parser
from pydantic import BaseModel

logger = Logger()
metrics = Metrics(namespace="Lumendrop")
tracer = Tracer()
s3 = boto3.Session().client("s3")
session = requests.Session()


class Delivery(BaseModel):
    """The result to bring."""

    url: str
    key: str


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
@event_parser(model=Delivery)
def handler(event: Delivery, context: object) -> Any:
    """Brings one photo; here only what it imports matters."""
    headers = {"Authorization": f"Bearer {parameters.get_secret('key')}"}
    body = session.get(event.url, headers=headers, timeout=60).content
    s3.put_object(Bucket="photos", Key=event.key, Body=body)
