"""The environment of the functions in these tests: moto's AWS, and a fake enhancer at the HTTP interface."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import requests
from boto3.dynamodb.types import TypeDeserializer
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from samtranslator.yaml_helper import yaml_parse
from urllib3 import HTTPResponse

from lumendrop.ledger import FINAL
from tests.unit import photos

ROOT = Path(__file__).parents[2]
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())

API = "https://enhancer.test"
KEY = "sk-secret-4711"
INPUT, OUTPUT = "input-bucket", "output-bucket"
ACCOUNT = "123456789012"
_TABLE_PROPERTIES = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")

JPEG = photos.jpeg(photos.frame(), data=b"\x12" * 500)
PNG = photos.png()
WEBP = photos.webp()
HEIC = photos.heic()

RESULT_URL = "https://results.test/a/result.jpg?token=result-token"


def sample(name: str) -> Any:
    """A new copy of a sample event in events/."""
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


class Context:
    """The part of Lambda's context that the functions and Powertools use."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def __init__(self, seconds: float = 60) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@dataclass
class Answer:
    """An answer of the enhancer. `body` is sent as JSON unless it is bytes."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Broken:
    """A request that ends in `error`, before (`sent` is False) or after its body was sent."""

    error: Exception
    sent: bool


Reply = Answer | Broken


def created(task_id: str, **more: Any) -> Answer:
    """The contract's answer to a submit."""
    task = {
        "created": 1757165031,
        "id": task_id,
        "model": "phota-image-enhance",
        "object": "image.generation.task",
        "progress": 0,
        "status": "pending",
        "task_info": {"can_cancel": True, "estimated_time": 45},
        "type": "image",
    }
    return Answer(200, task | more)


def refusal(status: int, kind: str, message: str = "no", code: str | None = None, **headers: str) -> Answer:
    """The contract's error body."""
    error = {"message": message, "type": kind} | ({"code": code} if code else {})
    return Answer(status, {"error": error}, {name.replace("_", "-"): value for name, value in headers.items()})


def completed(url: str = RESULT_URL) -> Answer:
    return Answer(200, {"id": "task-1", "status": "completed", "progress": 100, "results": [{"url": url}]})


class FakeEnhancer:
    """Answers from `on_submit`, `on_status`, and `on_result`; then with a new task, a running task, and a JPEG."""

    def __init__(self) -> None:
        self.on_submit: deque[Reply] = deque()
        self.on_status: deque[Reply] = deque()
        self.on_result: deque[Reply] = deque()
        self.on_probe: deque[Reply] = deque()
        self.probes = 0
        self.submits: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.asked: list[str] = []
        self.downloads: list[PreparedRequest] = []

    def send(self, adapter: HTTPAdapter, request: PreparedRequest, **_: object) -> requests.Response:
        """Replaces HTTPAdapter.send."""
        reply = self._reply(request)
        if isinstance(reply, Broken):
            raise reply.error
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        raw = HTTPResponse(io.BytesIO(body), reply.headers, reply.status, preload_content=False)
        return adapter.build_response(request, raw)

    def _reply(self, request: PreparedRequest) -> Reply:
        url = str(request.url)
        if url.startswith("https://results.test/"):
            self.downloads.append(request)
            return self.on_result.popleft() if self.on_result else Answer(200, JPEG)
        self.keys.append(request.headers["Authorization"])
        if url == f"{API}/v1/images/generations":
            return self._submit(request)
        if url == f"{API}/v1/models":
            self.probes += 1
            return self.on_probe.popleft() if self.on_probe else Answer(200, {"object": "list", "data": []})
        self.asked.append(url)
        return self.on_status.popleft() if self.on_status else Answer(200, {"status": "processing"})

    def _submit(self, request: PreparedRequest) -> Reply:
        reply = self.on_submit.popleft() if self.on_submit else created(f"task-{len(self.submits) + 1}")
        if not isinstance(reply, Broken) or reply.sent:
            body: Any = request.body
            self.submits.append(json.loads(body.read()))
        return reply


@cache
def _client(service: str) -> Any:
    """Created once, because a client takes longer than most tests."""
    return boto3.client(service)  # type: ignore[call-overload]  # any of the services above


def _with_bucket(name: str) -> Any:
    client = _client("s3")
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return client


@dataclass(frozen=True)
class Call:
    """A call that a function made to AWS; `request` is botocore's, with `url_path`, `headers` and `body`."""

    operation: str
    request: dict[str, Any]


def unindexed(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the time of its last change."""
    return {name: value for name, value in row.items() if not name.startswith("changed_")}


class World:
    """The stack's resources in moto. Each is created when it is used first, because creating all takes 50 ms a test."""

    def __init__(self) -> None:
        self.enhancer = FakeEnhancer()
        self.calls: list[Call] = []
        self.secrets = _client("secretsmanager")
        self.stepfunctions = _client("stepfunctions")

    @cached_property
    def s3(self) -> Any:
        """A client; the input bucket exists."""
        return _with_bucket(INPUT)

    @cached_property
    def output_bucket(self) -> str:
        assert _with_bucket(OUTPUT)
        return OUTPUT

    @cached_property
    def dynamodb(self) -> Any:
        """A client; the table `ledger` exists."""
        client, table = _client("dynamodb"), TEMPLATE["Resources"]["LedgerTable"]["Properties"]
        client.create_table(
            TableName="ledger",
            **{name: table[name] for name in _TABLE_PROPERTIES},
        )
        return client

    @cached_property
    def secret_arn(self) -> str:
        return str(self.secrets.create_secret(Name="key", SecretString=KEY)["ARN"])

    @cached_property
    def queue_url(self) -> str:
        return str(_client("sqs").create_queue(QueueName="uploads")["QueueUrl"])

    @cached_property
    def workflow_arn(self) -> str:
        machine = self.stepfunctions.create_state_machine(
            name="workflow",
            definition=json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}),
            roleArn="arn:aws:iam::123456789012:role/workflow",
        )
        return str(machine["stateMachineArn"])

    def create(self, logical_id: str) -> str:
        """Creates the resource, unless it exists. Returns what a reference to it resolves to."""
        match logical_id:
            case "KeySecret":
                return self.secret_arn
            case "LedgerTable":
                assert self.dynamodb
                return "ledger"
            case "UploadQueue":
                assert self.s3  # its messages are about objects
                return self.queue_url
            case "Workflow":
                return self.workflow_arn
            case "OutputBucket":
                assert self.s3
                return self.output_bucket
        raise KeyError(logical_id)

    def environment(self, function: str, **overrides: str) -> dict[str, str]:
        """The environment that the template gives a function, with the parameters' defaults."""
        values = {name: str(one.get("Default", "")) for name, one in TEMPLATE["Parameters"].items()}
        values |= {"ApiBaseUrl": API, "AWS::StackName": "lumendrop", "AWS::AccountId": ACCOUNT}
        resource = next(
            one["Properties"]
            for one in TEMPLATE["Resources"].values()
            if one["Type"] == "AWS::Serverless::Function" and one["Properties"]["CodeUri"] == f"functions/{function}/"
        )
        variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"] | resource["Environment"]["Variables"]
        return {name: self._resolved(one, values) for name, one in variables.items()} | overrides

    def _resolved(self, value: Any, values: Mapping[str, str]) -> str:
        """A variable's value with its Ref, If or Sub resolved."""
        if isinstance(value, dict) and "Ref" in value:
            name = value["Ref"]
            return values[name] if name in values else self.create(name)
        if isinstance(value, dict) and "Fn::If" in value:
            # Both buckets are new, so the first branch of each condition applies.
            return self._resolved(value["Fn::If"][1], values)
        if isinstance(value, dict):
            return re.sub(r"\$\{([^}]+)\}", lambda match: values[match[1]], value["Fn::Sub"])
        return str(value)

    def put(self, key: str, body: bytes = JPEG, metadata: Mapping[str, str] | None = None) -> str:
        """Uploads an object with its SHA-256, and returns its version ID."""
        stored = self.s3.put_object(
            Bucket=INPUT, Key=key, Body=body, Metadata=metadata or {}, ChecksumAlgorithm="SHA256"
        )
        version: str = stored["VersionId"]
        return version

    def upload(
        self, key: str = "a/photo.jpg", body: bytes | None = None, metadata: Mapping[str, str] | None = None
    ) -> Any:
        """Uploads an object and returns the event that submit gets for it, made from the sample event.

        By default, it is a photo that no other key has.
        """
        event = sample("submit")
        body = JPEG + key.encode() if body is None else body
        found = {"key": key, "version-id": self.put(key, body, metadata), "size": len(body)}
        return for_object(event, **found)

    def rows(self) -> list[dict[str, Any]]:
        """The ledger's rows of uploads."""
        return [row for row in self._scan() if row["pk"].startswith(("object#", "upload#"))]

    def row(self) -> dict[str, Any]:
        """The only row."""
        (row,) = self.rows()
        return row

    def set_status(self, status: str) -> None:
        """Sets the status of the only upload, like the workflow."""
        row = self.row()
        values = {":status": {"S": status}}
        if final := status in FINAL:
            values[":now"] = {"S": "2026-01-31T12:00:00Z"}
        self.dynamodb.update_item(
            TableName="ledger",
            Key={"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}},
            UpdateExpression="SET #status = :status" + (", finished_at = :now" if final else ""),
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues=values,
        )

    def tasks_today(self) -> int:
        """The daily counter."""
        return sum(int(row["tasks"]) for row in self._scan() if row["pk"].startswith("day#"))

    def _scan(self) -> list[dict[str, Any]]:
        read = TypeDeserializer().deserialize
        items = self.dynamodb.scan(TableName="ledger")["Items"]
        return [{name: read(value) for name, value in item.items()} for item in items]

    def messages(self) -> list[dict[str, Any]]:
        """The messages that the functions sent: the parameters of SendMessage."""
        return [json.loads(call.request["body"]) for call in self.calls if call.operation == "SendMessage"]

    def executions(self) -> list[dict[str, Any]]:
        """The inputs of the workflow's executions, with their names under `name`."""
        found = self.stepfunctions.list_executions(stateMachineArn=self.workflow_arn)["executions"]
        return [
            json.loads(self.stepfunctions.describe_execution(executionArn=one["executionArn"])["input"])
            | {"name": one["name"]}
            for one in found
        ]


def for_object(event: Any, **object_fields: Any) -> Any:
    """An SQS event whose message is about another object."""
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["bucket"]["name"] = INPUT
    body["detail"]["object"] |= object_fields
    event["Records"][0]["body"] = json.dumps(body, ensure_ascii=False)
    return event


def load(function: str) -> ModuleType:
    """Runs functions/<function>/app.py in the current environment, like a cold start."""
    name = f"lumendrop_function_{function}"
    spec = importlib.util.spec_from_file_location(name, ROOT / "functions" / function / "app.py")
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def redelivered(message: Mapping[str, Any]) -> Any:
    """The event in which submit receives a message that a function sent."""
    event = sample("submit")
    event["Records"][0]["body"] = message["MessageBody"]
    event["Records"][0]["messageAttributes"] = {
        name: {"stringValue": one["StringValue"], "dataType": one["DataType"]}
        for name, one in message["MessageAttributes"].items()
    }
    return event
