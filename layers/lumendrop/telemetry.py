"""Logs and metrics, set up once for all functions.

The template names the service (POWERTOOLS_SERVICE_NAME) and the namespace (POWERTOOLS_METRICS_NAMESPACE).
"""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()
metrics = Metrics()


def count(name: str, value: float = 1) -> None:
    """Adds to a count metric of the current invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
