"""Metrics that functions embed in their logs, extracted as CloudWatch extracts them.

Format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any


def embedded(line: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The namespaces and metrics of a log line, in the shape of PutMetricData; nothing for a line without metrics."""
    if not line.startswith('{"_aws"'):
        return
    record = json.loads(line)
    # moto's times are UTC, without a time zone.
    moment = datetime.fromtimestamp(record["_aws"]["Timestamp"] / 1000, UTC).replace(tzinfo=None)
    for directive in record["_aws"]["CloudWatchMetrics"]:
        yield (
            directive["Namespace"],
            [
                {
                    "MetricName": metric["Name"],
                    "Dimensions": [{"Name": name, "Value": record[name]} for name in dimensions],
                    "Unit": metric.get("Unit", "None"),
                    "Timestamp": moment,
                    "Value": value,
                }
                for metric in directive["Metrics"]
                for dimensions in directive["Dimensions"]
                for value in _values(record[metric["Name"]])
            ],
        )


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
