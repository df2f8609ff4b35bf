"""The worker: the body of a message decides how it is handled; the log has every event."""

import json
import os
import time
from pathlib import Path
from typing import Any

import boto3

session = boto3.session.Session()
s3 = session.client("s3")
dynamodb = session.client("dynamodb")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    print(json.dumps(event))
    failed = []
    for record in event["Records"]:
        body = json.loads(record["body"])
        if body.get("do") == "raise":
            raise ValueError("no")
        if body.get("do") == "sleep":
            time.sleep(body["seconds"])
        while body.get("do") == "wait" and not Path(body["until"]).exists():
            time.sleep(0.01)
        if body.get("do") == "fail":
            failed.append({"itemIdentifier": record["messageId"]})
        if body.get("source") == "aws.s3":
            keep(body["detail"])
    return {"batchItemFailures": failed}


def keep(detail: dict[str, Any]) -> None:
    uploaded = detail["object"]
    content = s3.get_object(Bucket=os.environ["BUCKET"], Key=uploaded["key"], VersionId=uploaded["version-id"])[
        "Body"
    ].read()
    dynamodb.put_item(
        TableName=os.environ["TABLE"],
        Item={"id": {"S": uploaded["key"]}, "content": {"B": content}, "detail": {"S": json.dumps(detail)}},
    )
