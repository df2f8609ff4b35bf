"""Logs and metrics, set up once for all functions.

The template sets the service (POWERTOOLS_SERVICE_NAME) and the namespace (POWERTOOLS_METRICS_NAMESPACE).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger()
metrics = Metrics()


@contextmanager
def log_context(correlation_id: str, **keys: str) -> Iterator[None]:
    """Adds the upload to every log line inside, including metrics and the log line of an unhandled exception."""
    follow(correlation_id, **keys)
    try:
        yield
    except Exception:
        logger.exception("unhandled exception")
        raise


def follow(correlation_id: str, **keys: str) -> None:
    """Adds the upload's correlation ID and `keys` to every log line until the end of the invocation."""
    logger.set_correlation_id(correlation_id)
    logger.append_keys(**keys)
    metrics.add_metadata("correlation_id", correlation_id)


def count(name: str, value: float = 1) -> None:
    """Adds to a count metric of the current invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def measure(name: str, seconds: float) -> None:
    """Adds a duration to a metric of the current invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=seconds)
