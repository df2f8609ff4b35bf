"""Which operations of AWS the board may call. Everything else fails before it is sent.

The board never reads the API key: Secrets Manager is not in the list.
"""

from __future__ import annotations

from typing import Any

from lumendrop_cli.errors import CliError
from lumendrop_cli.stack import Stack

_READS = frozenset(
    {
        "cloudformation:DescribeStacks",
        "cloudformation:ListStackResources",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "dynamodb:DescribeTable",
        "dynamodb:GetItem",
        "dynamodb:Query",
        "lambda:GetEventSourceMapping",
        "s3:GetObject",
        "s3:HeadObject",
        "s3:ListObjectVersions",
        "sfn:DescribeExecution",
        "sfn:GetExecutionHistory",
        "sfn:ListExecutions",
        "sqs:GetQueueAttributes",
    }
)
_WRITES = frozenset(
    {
        "dynamodb:BatchGetItem",  # a read, for what a drop costs
        "dynamodb:Scan",  # a read, for `retry --code`
        "lambda:UpdateEventSourceMapping",
        "s3:PutObject",
        "sfn:StartExecution",
        "sfn:StopExecution",
        "sqs:SendMessage",
        "sqs:SendMessageBatch",
    }
)
_SERVICES = ("cloudformation", "cloudwatch", "dynamodb", "lambda", "s3", "sqs", "stepfunctions")


def restrict(stack: Stack, *, read_only: bool) -> None:
    """Limits all clients of the stack to what the board needs, and creates them: that is not thread-safe."""
    allowed = _READS if read_only else _READS | _WRITES

    def check(model: Any, **_: Any) -> None:
        operation = f"{model.service_model.service_id.lower().replace(' ', '')}:{model.name}"
        if operation not in allowed:
            raise CliError(f"The board does not call {operation}{' with --read-only' if read_only else ''}.")

    stack.on_call(check)
    for service in _SERVICES:
        stack.client(service)
