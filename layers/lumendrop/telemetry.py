"""Logs and metrics, set up once for all functions.

The template names the service (POWERTOOLS_SERVICE_NAME) and the namespace (POWERTOOLS_METRICS_NAMESPACE).
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
    """Lets every line that is logged inside, metrics and a crash included, say which upload it is about."""
    follow(correlation_id, **keys)
    try:
        yield
    except Exception:
        logger.exception("crashed")
        raise


def follow(correlation_id: str, **keys: str) -> None:
    """Names the upload in every line from here to the end of the invocation; `keys` say more about it."""
    logger.set_correlation_id(correlation_id)
    logger.append_keys(**keys)
    metrics.add_metadata("correlation_id", correlation_id)


def count(name: str, value: float = 1) -> None:
    """Adds to a count metric of the current invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def measure(name: str, seconds: float) -> None:
    """Adds a time to a metric of the current invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=seconds)
