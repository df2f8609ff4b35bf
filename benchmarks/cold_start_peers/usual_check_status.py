"""check_status, written the usual way: pydantic, Tracer."""

from __future__ import annotations

from typing import Any

import requests
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.parser import event_parser
from pydantic import BaseModel

logger = Logger()
metrics = Metrics(namespace="Lumendrop")
tracer = Tracer()
session = requests.Session()


class Task(BaseModel):
    """The task to ask for."""

    id: str


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
@event_parser(model=Task)
def handler(event: Task, context: object) -> Any:
    """Asks once; here only what it imports matters."""
    headers = {"Authorization": f"Bearer {parameters.get_secret('key')}"}
    return session.get(f"https://api.foxapi.cc/v1/tasks/{event.id}", headers=headers, timeout=10).json()
