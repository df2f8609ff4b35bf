"""A role can do what the template's policies allow, and nothing else."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.s3.models import s3_backends

from sandbox.aws.cloud import Cloud, CloudError
from sandbox.aws.permissions import Call
from sandbox.aws.role_checks import require_permissions, require_trust


@pytest.fixture
def as_worker(cloud: Cloud) -> Callable[[str], Any]:
    """Clients with the credentials that the worker's process has."""
    role = cloud.client("lambda").get_function(FunctionName=cloud.resources["Worker"])["Configuration"]["Role"]
    keys = cloud._permissions.credentials(role)

    def client(service: str) -> Any:
        session: Any = boto3.session.Session(
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=keys["AWS_SESSION_TOKEN"],
            region_name="us-east-1",
        )
        config = Config(signature_version="s3v4") if service == "s3" else Config(retries={"total_max_attempts": 1})
        return session.client(service, endpoint_url=cloud.endpoint, config=config)

    return client


@contextmanager
def refused(code: str, action: str = "") -> Iterator[None]:
    with pytest.raises(ClientError) as error:
        yield
    assert error.value.response["Error"]["Code"] == code
    assert action in error.value.response["Error"]["Message"]


def test_each_service_reports_a_denial_in_its_own_format(cloud: Cloud, as_worker: Callable[[str], Any]) -> None:
    bucket, table, row = cloud.outputs["BucketName"], cloud.resources["Table"], {"id": {"S": "x"}}
    with refused("AccessDenied", "s3:PutObject"):
        as_worker("s3").put_object(Bucket=bucket, Key="in/x", Body=b"x" * 1_000_000)
    with refused("AccessDenied", "s3:GetObject"):
        as_worker("s3").get_object(Bucket=bucket, Key="out/x")
    with refused("403"):
        as_worker("s3").head_object(Bucket=bucket, Key="out/x")
    with refused("AccessDeniedException", "dynamodb:DeleteItem"):
        as_worker("dynamodb").delete_item(TableName=table, Key=row)
    with refused("AccessDeniedException", "dynamodb:UpdateItem"):
        update = {"TableName": table, "Key": row, "UpdateExpression": "REMOVE a"}
        as_worker("dynamodb").transact_write_items(
            TransactItems=[{"Put": {"TableName": table, "Item": row}}, {"Update": update}]
        )
    with refused("AccessDeniedException", "sqs:SendMessage"):
        as_worker("sqs").send_message(QueueUrl=cloud.resources["Queue"], MessageBody="{}")
    with refused("AccessDeniedException", "secretsmanager:PutSecretValue"):
        as_worker("secretsmanager").put_secret_value(SecretId=cloud.resources["Secret"], SecretString="x")
    with refused("AccessDeniedException", "states:StopExecution"):
        arn = cloud.outputs["WorkflowArn"].replace(":stateMachine:", ":execution:") + ":x"
        as_worker("stepfunctions").stop_execution(executionArn=arn)
    with refused("AccessDeniedException", "events:PutEvents"):
        as_worker("events").put_events(Entries=[{"Source": "x", "DetailType": "x", "Detail": "{}"}])
    with refused("AccessDeniedException", "lambda:InvokeFunction"):
        as_worker("lambda").invoke(FunctionName=cloud.resources["Checker"])


def test_what_is_granted_works(cloud: Cloud, as_worker: Callable[[str], Any]) -> None:
    put = cloud.client("s3").put_object(Bucket=cloud.outputs["BucketName"], Key="in/granted", Body=b"photo")
    reader = as_worker("s3")
    version = {"Bucket": cloud.outputs["BucketName"], "Key": "in/granted", "VersionId": put["VersionId"]}
    assert reader.get_object(**version)["Body"].read() == b"photo"
    assert as_worker("secretsmanager").get_secret_value(SecretId=cloud.resources["Secret"])["SecretString"]
    as_worker("stepfunctions").start_execution(stateMachineArn=cloud.outputs["WorkflowArn"], input='{"enough": 1}')


def test_a_missing_object_is_forbidden_without_the_right_to_list(cloud: Cloud, as_worker: Callable[[str], Any]) -> None:
    with refused("AccessDenied"):
        as_worker("s3").get_object(Bucket=cloud.outputs["BucketName"], Key="in/missing")
    with refused("NoSuchKey"):
        cloud.client("s3").get_object(Bucket=cloud.outputs["BucketName"], Key="in/missing")


def test_a_presigned_url_has_its_signers_permissions_until_it_expires(
    cloud: Cloud, as_worker: Callable[[str], Any]
) -> None:
    bucket = cloud.outputs["BucketName"]
    for key in ("in/signed", "out/signed"):
        cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=b"photo")

    def fetch(key: str, seconds: int) -> bytes:
        url = as_worker("s3").generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds
        )
        with urllib.request.urlopen(url, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    assert fetch("in/signed", 60) == b"photo"
    for key, seconds in (("out/signed", 60), ("in/signed", -1)):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            fetch(key, seconds)


def test_a_workflow_has_the_permissions_of_its_role(cloud: Cloud, execute: Callable[..., dict[str, Any]]) -> None:
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": cloud.resources["Worker"]},
        "End": True,
    }
    ended = execute({}, {"StartAt": "Task", "States": {"Task": task}})
    assert ended["status"] == "FAILED"
    assert ended["error"] == "Lambda.AccessDeniedException"
    assert "lambda:InvokeFunction" in ended["cause"]


def test_a_queue_takes_events_only_from_the_rule_that_its_policy_names(
    cloud: Cloud, eventually: Callable[..., Any]
) -> None:
    events, queue = cloud.client("events"), cloud.resources["DeadLetters"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{queue.rpartition('/')[2]}"
    events.put_rule(Name="stranger", EventPattern='{"source": ["test"]}')
    events.put_targets(Rule="stranger", Targets=[{"Id": "queue", "Arn": arn}])
    events.put_events(Entries=[{"Source": "test", "DetailType": "x", "Detail": "{}"}])
    call = Call("events.amazonaws.com", "sqs:SendMessage", arn, allowed=False)
    eventually(lambda: call in cloud.calls)


def test_calls_are_recorded_with_the_roles_logical_id(cloud: Cloud, execute: Callable[..., dict[str, Any]]) -> None:
    execute({"enough": 1, "wait": 0})
    used = {(call.principal, call.action) for call in cloud.calls if call.allowed}
    assert ("WorkerRole", "sqs:ReceiveMessage") in used
    assert {action for principal, action in used if principal == "WorkflowRole"} >= {
        "lambda:InvokeFunction",
        "dynamodb:UpdateItem",
        "s3:PutObject",
        "events:PutEvents",
    }


def test_a_conditional_overwrite_needs_the_right_to_read(cloud: Cloud, as_worker: Callable[[str], Any]) -> None:
    name, bucket = cloud.resources["WorkerRole"], cloud.outputs["BucketName"]
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/kept/*"}
    cloud.client("iam").put_role_policy(
        RoleName=name,
        PolicyName="write",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    writer, object_ = as_worker("s3"), {"Bucket": bucket, "Key": "kept/x", "Body": b"photo"}
    etag = writer.put_object(**object_, IfNoneMatch="*")["ETag"]
    with refused("AccessDenied", "s3:GetObject"):
        writer.put_object(**object_, IfMatch=etag)
    cloud.client("iam").delete_role_policy(RoleName=name, PolicyName="write")
    with refused("AccessDenied", "s3:PutObject"):
        writer.put_object(**object_)


def test_a_role_without_required_permissions_is_an_error(cloud: Cloud) -> None:
    role = cloud.client("iam").get_role(RoleName=cloud.resources["CheckerRole"])["Role"]["Arn"]
    with pytest.raises(CloudError, match=r"cannot be assumed by states\.amazonaws\.com"):
        require_trust(cloud._permissions, role, "states.amazonaws.com")
    with pytest.raises(CloudError, match="lacks sqs:ReceiveMessage on arn:aws:sqs:queue"):
        require_permissions(cloud._permissions, role, ("sqs:ReceiveMessage",), "arn:aws:sqs:queue:::")


def test_a_condition_on_the_account_of_the_resource_excludes_buckets_of_other_accounts(cloud: Cloud) -> None:
    role = cloud.client("iam").get_role(RoleName=cloud.resources["WorkerRole"])["Role"]
    s3_backends["999999999999"]["aws"].create_bucket("elsewhere", "us-east-1")
    own = {"StringEquals": {"aws:ResourceAccount": "123456789012"}}
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::*/kept/*", "Condition": own}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    name = {"RoleName": role["RoleName"], "PolicyName": "own"}
    cloud.client("iam").put_role_policy(**name, PolicyDocument=document)
    may = cloud._permissions.may
    answers = [
        may(role["Arn"], "s3:PutObject", f"arn:aws:s3:::{bucket}/kept/x")
        for bucket in (cloud.outputs["BucketName"], "elsewhere")
    ]
    cloud.client("iam").delete_role_policy(**name)
    assert answers == [True, False]
