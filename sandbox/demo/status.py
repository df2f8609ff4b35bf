"""What the ledger of a running sandbox says of one photo."""

from datetime import UTC, datetime
from typing import Any

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape

from sandbox.aws.cloud import STACK


class StatusError(RuntimeError):
    """There is no sandbox to ask; the message is meant for people."""


def run(key: str, port: int, console: Console) -> int:
    """Print every version of the photo with this key, newest first. Returns 0, or 1 if the ledger knows none.

    Raises StatusError when no sandbox listens on the port.
    """
    rows = _rows(key, f"http://127.0.0.1:{port}")
    if not rows:
        console.print(
            f"The ledger has no upload with the key {escape(repr(key))}. It waits in the queue, was skipped "
            "(empty, or a folder marker), or was never dropped."
        )
        return 1
    for row in sorted(rows, key=lambda row: str(row["sequencer"]), reverse=True):
        _print(row, console)
    return 0


def _rows(key: str, endpoint: str) -> list[dict[str, Any]]:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")  # noqa: S106  # the sandbox takes any
    config = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1})
    try:
        stacks = session.client("cloudformation", endpoint_url=endpoint, config=config).describe_stacks(StackName=STACK)
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stacks["Stacks"][0]["Outputs"]}
        answer = session.client("dynamodb", endpoint_url=endpoint, config=config).query(
            TableName=outputs["LedgerTableName"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"upload#{key}"}},
            ConsistentRead=True,
        )
    except (BotoCoreError, ClientError) as error:
        raise StatusError(f"no sandbox answers at {endpoint}; start one with `make sandbox` ({error})") from error
    return [TypeDeserializer().deserialize({"M": item}) for item in answer["Items"]]


def _print(row: dict[str, Any], console: Console) -> None:
    console.print(f"[bold]{row['status']}[/bold]  version {escape(row['version_id'])}, {row['size']} bytes")
    lines = {
        "attempt": row["attempt"],
        "options": row.get("options"),
        "task": row.get("task_id"),
        "credits": row.get("credits"),
        "submitted": _time(row.get("submitted_at")),
        "ended": row.get("finished_at"),
        "output": row.get("output", {}).get("key"),
        "report": row.get("report_key"),
        "happened": row.get("outcome", {}).get("message"),
        "to do": row.get("outcome", {}).get("advice"),
    }
    for name, value in lines.items():
        if value is not None:
            console.print(f"  {name:<10} {escape(str(value))}", soft_wrap=True)


def _time(seconds: Any) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat()
