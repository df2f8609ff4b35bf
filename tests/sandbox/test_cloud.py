"""The deployed stack has the template's resources, events have AWS's format, and closing leaves nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.cloud import Cloud, FunctionFailed
from tests.sandbox import NAME

STACK = Path(__file__).with_name("stack") / "template.yaml"
REPO = STACK.parents[3]


@pytest.fixture
def uploaded(cloud: Cloud, eventually: Callable[..., Any]) -> Callable[[str], dict[str, Any]]:
    """The event that the worker got for a key, and what it read under it."""

    def find(key: str) -> dict[str, Any]:
        table = cloud.client("dynamodb")
        look = lambda: table.get_item(TableName=cloud.resources["Table"], Key={"id": {"S": key}}).get("Item")  # noqa: E731
        item = eventually(look)
        return {"content": item["content"]["B"], **json.loads(item["detail"]["S"])}

    return find


def test_resources_have_the_templates_properties(cloud: Cloud) -> None:
    bucket = cloud.outputs["BucketName"]
    s3 = cloud.client("s3")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicAcls"]
    assert "TlsOnly" in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=cloud.resources["Queue"], AttributeNames=["All"])
    assert attributes["Attributes"]["VisibilityTimeout"] == "60"
    assert "events.amazonaws.com" in attributes["Attributes"]["Policy"]
    alarms = cloud.client("cloudwatch").describe_alarms(AlarmNames=[cloud.resources["Alarm"]])
    alarm = alarms["MetricAlarms"][0]
    assert alarm["Dimensions"][0]["Value"] == cloud.resources["DeadLetters"].rpartition("/")[2]
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=cloud.resources["Secret"])
    assert secret["SecretString"] == "not-set"
    group = cloud.client("logs").describe_log_groups(logGroupNamePrefix=f"/small/{NAME}/")["logGroups"][0]
    assert group["retentionInDays"] == 7
    mapping = cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"][0]
    assert (mapping["BatchSize"], mapping["ScalingConfig"]) == (2, {"MaximumConcurrency": 3})


def test_unsupported_resources_are_listed(cloud: Cloud) -> None:
    assert cloud.skipped == [
        f"{name}: the sandbox can't make a resource of type AWS::{kind}."
        for name, kind in (
            ("Insight", "CloudWatch::InsightRule"),
            ("ServerlessDeploymentApplication", "CodeDeploy::Application"),
            ("CheckerDeploymentGroup", "CodeDeploy::DeploymentGroup"),
            ("NestedInsight", "CloudWatch::InsightRule"),
        )
    ]


def test_an_alias_invokes_its_function(cloud: Cloud) -> None:
    alias = cloud.resources["CheckerAliaslive"]
    assert alias.endswith(f":function:{cloud.resources['Checker']}:live")
    answer = cloud.client("lambda").invoke(FunctionName=alias)
    assert json.load(answer["Payload"])["word"]
    assert cloud.client("lambda").get_alias(FunctionName=cloud.resources["Checker"], Name="live")["AliasArn"] == alias


def test_functions_see_the_templates_variables_and_this_cloud(cloud: Cloud) -> None:
    environment = cloud.invoke("Checker", {"do": "environment"})
    assert environment["GREETING"] == "hello"
    assert environment["CONCURRENCY"] == "3"
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert environment["ONLY_HERE"] == "yes"
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"


def test_invoke_has_lambdas_headers(cloud: Cloud) -> None:
    function = {"FunctionName": cloud.resources["Checker"]}
    awslambda = cloud.client("lambda")
    failed = awslambda.invoke(**function, Payload=b'{"do": "refuse"}')
    assert (failed["StatusCode"], failed["FunctionError"]) == (200, "Unhandled")
    assert json.load(failed["Payload"])["errorType"] == "Refused"
    assert "FunctionError" not in awslambda.invoke(**function)
    assert awslambda.invoke(**function, InvocationType="DryRun")["StatusCode"] == 204
    with pytest.raises(FunctionFailed) as error:
        cloud.invoke("Checker", {"do": "refuse"})
    assert error.value.kind == "Refused"


def test_an_asynchronous_invocation_is_accepted_and_runs(cloud: Cloud, eventually: Callable[..., Any]) -> None:
    answer = cloud.client("lambda").invoke(
        FunctionName=cloud.resources["Checker"],
        InvocationType="Event",
        Payload=b'{"do": "print", "text": "later"}',
    )
    assert answer["StatusCode"] == 202
    eventually(lambda: "later" in cloud.logs("Checker"))


def test_logs_are_in_cloudwatch_under_the_templates_group(cloud: Cloud, eventually: Callable[..., Any]) -> None:
    send(cloud, {})
    logs = cloud.client("logs")
    find = lambda: logs.filter_log_events(logGroupName=cloud.resources["WorkerLogs"])["events"]  # noqa: E731
    eventually(lambda: any("REPORT RequestId" in event["message"] for event in find()))


def test_a_deleted_log_group_stays_deleted(cloud: Cloud) -> None:
    """Otherwise the stack could not be deployed again. AWS creates it only for a role that may."""
    logs, name = cloud.client("logs"), cloud.resources["WorkerLogs"]
    logs.delete_log_group(logGroupName=name)
    try:
        payload = b'{"do": "print", "text": "late"}'
        cloud.client("lambda").invoke(FunctionName=cloud.resources["Worker"], Payload=payload)
        assert logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"] == []
    finally:
        logs.create_log_group(logGroupName=name)


def send(cloud: Cloud, body: dict[str, Any]) -> None:
    cloud.client("sqs").send_message(QueueUrl=cloud.resources["Queue"], MessageBody=json.dumps(body))


def test_an_upload_arrives_as_aws_documents_it(cloud: Cloud, uploaded: Callable[[str], dict[str, Any]]) -> None:
    key = "in/a b+c%20ü/../📷.txt"
    put = cloud.client("s3").put_object(Bucket=cloud.outputs["BucketName"], Key=key, Body=b"photo")
    event = uploaded(key)
    assert event["content"] == b"photo"
    assert event["object"].pop("sequencer")
    assert event["object"] == {
        "key": key,
        "size": 5,
        "etag": put["ETag"].strip('"'),
        "version-id": put["VersionId"],
    }
    assert event["bucket"] == {"name": cloud.outputs["BucketName"]}
    assert (event["version"], event["reason"], event["requester"]) == ("0", "PutObject", "123456789012")
    assert event["source-ip-address"]
    assert event["request-id"]


def test_copies_and_multipart_uploads_have_their_own_reasons(
    cloud: Cloud, uploaded: Callable[[str], dict[str, Any]]
) -> None:
    s3, bucket = cloud.client("s3"), cloud.outputs["BucketName"]
    s3.put_object(Bucket=bucket, Key="elsewhere", Body=b"photo")
    s3.copy_object(Bucket=bucket, Key="in/copy", CopySource={"Bucket": bucket, "Key": "elsewhere"})
    assert uploaded("in/copy")["reason"] == "CopyObject"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="in/parts")["UploadId"]
    part = {"Bucket": bucket, "Key": "in/parts", "UploadId": upload}
    etag = s3.upload_part(**part, PartNumber=1, Body=b"photo")["ETag"]
    s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert uploaded("in/parts")["reason"] == "CompleteMultipartUpload"


def test_the_conditions_of_a_copy_hold(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), cloud.outputs["BucketName"]
    source = {"CopySource": {"Bucket": bucket, "Key": "out/ä source"}, "Bucket": bucket}
    etag = s3.put_object(Bucket=bucket, Key="out/ä source", Body=b"photo")["ETag"]
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.copy_object(**source, Key="out/copied", IfMatch=etag)
    s3.copy_object(**source, Key="out/copied", IfNoneMatch="*", CopySourceIfMatch=etag)
    for wrong in ({"IfNoneMatch": "*"}, {"IfMatch": '"0"'}, {"CopySourceIfMatch": '"0"'}):
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.copy_object(**source, Key="out/copied", **wrong)
    replacing = {"Metadata": {"number": "2"}, "MetadataDirective": "REPLACE"}
    copied = s3.copy_object(**source, Key="out/copied", IfMatch=etag, **replacing)
    head = s3.head_object(Bucket=bucket, Key="out/copied")
    assert (head["VersionId"], head["Metadata"]) == (copied["VersionId"], {"number": "2"})


def test_the_sequencer_grows(cloud: Cloud, uploaded: Callable[[str], dict[str, Any]]) -> None:
    sequencers = []
    for number in range(5):
        cloud.client("s3").put_object(Bucket=cloud.outputs["BucketName"], Key=f"in/{number}", Body=b"photo")
        sequencers.append(uploaded(f"in/{number}")["object"]["sequencer"])
    assert sequencers == sorted(set(sequencers))
    assert all(int(sequencer, 16) for sequencer in sequencers)


def test_keys_outside_the_rule_send_nothing(cloud: Cloud, uploaded: Callable[[str], dict[str, Any]]) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=cloud.outputs["BucketName"], Key="out/first", Body=b"photo")
    s3.put_object(Bucket=cloud.outputs["BucketName"], Key="in/second", Body=b"photo")
    uploaded("in/second")
    assert "out/first" not in cloud.logs("Worker")


def test_the_aws_cli_sees_the_stack_with_any_credentials(cloud: Cloud) -> None:
    arguments = ["--endpoint-url", cloud.endpoint, "cloudformation", "describe-stacks", "--stack-name", NAME]
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "anything",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
    }
    command = [sys.executable, "-m", "awscli", *arguments]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    outputs = json.loads(answer.stdout)["Stacks"][0]["Outputs"]
    assert {"BucketName", "WorkflowArn", "NestedAlarmArn", "NestedNames"} == {output["OutputKey"] for output in outputs}


def has_ended(process: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return not state.stdout or state.stdout.startswith("Z")


def test_one_cloud_is_open_at_a_time_and_ends_with_the_program(eventually: Callable[..., Any]) -> None:
    """In a program of its own: one cloud is open here already."""
    script = f"""
import json, os, signal, socket
from pathlib import Path
from sandbox.aws.cloud import Cloud, CloudError

STACK = Path({str(STACK)!r})
os.environ["AWS_PROFILE"] = "a profile that does not exist"
buckets = lambda cloud: [b["Name"] for b in cloud.client("s3").list_buckets()["Buckets"]]
with Cloud(STACK, "first") as cloud:
    before = buckets(cloud)
try:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        Cloud(STACK, "refused", port=taken.getsockname()[1])
except CloudError as error:
    refused = str(error)
profile = os.environ["AWS_PROFILE"]
cloud = Cloud(STACK, "second", log=Path(os.devnull))
try:
    Cloud(STACK, "third")
except CloudError as error:
    second = str(error)
function = cloud.invoke("Checker", {{}})["pid"]
print(json.dumps([before, buckets(cloud), refused, second, profile, function]), flush=True)
signal.pause()
"""
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        before, after, refused, second, profile, function = json.loads(program.stdout.readline())
        program.kill()
    assert len(before) == len(after) == 1
    assert before != after
    assert "cannot listen on 127.0.0.1:" in refused
    assert "choose another port" in refused
    assert "close it first" in second
    assert profile == "a profile that does not exist"
    eventually(lambda: has_ended(function))


def test_versions_are_listed_whatever_their_keys_contain(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), cloud.outputs["BucketName"]
    keys = [f"odd/{one}" for one in ("a b+%41", "esc\x1b[31m", "line\nbreak", "no\ufffecharacter", "ä")]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"photo")
    s3.delete_object(Bucket=bucket, Key=keys[0])
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix="odd/", PaginationConfig={"PageSize": 2}
    )
    versions, markers = [], []
    for page in pages:
        versions += [one["Key"] for one in page.get("Versions", [])]
        markers += [one["Key"] for one in page.get("DeleteMarkers", [])]

    assert (sorted(versions), markers) == (sorted(keys), keys[:1])
