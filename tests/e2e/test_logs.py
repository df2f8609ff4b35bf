"""What an owner who wonders finds in CloudWatch."""

import json

import pytest

from sandbox.aws.cloud import STACK
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import FUNCTIONS, Pipeline
from tests.template.metrics import OURS, emitted
from tests.template.reading import SAM


def test_the_functions_lines_are_in_their_log_group(pipeline: Pipeline) -> None:
    upload = pipeline.drop("logs/no photo.jpg", b"Dear diary")
    pipeline.wait([upload])
    lines = pipeline.aws(
        "logs", "filter-log-events", "--log-group-name", "/lumendrop/lumendrop/submit", "--query", "events[].message"
    )
    records = [json.loads(line) for line in lines if line.startswith('{"level"')]
    processed = next(one for one in records if one.get("version_id") == upload.version_id)
    assert (processed["level"], processed["service"], processed["message"]) == ("INFO", "submit", "upload processed")
    assert processed["upload"] == f"s3://{pipeline.outputs['InputBucketName']}/logs/no photo.jpg"
    assert processed["status"] == "rejected"


def test_one_upload_is_followed_by_its_id_through_all_functions(pipeline: Pipeline) -> None:
    upload, other = pipeline.drop("logs/photo.jpg", jpeg()), pipeline.drop("logs/other.jpg", jpeg(2))
    pipeline.wait([upload, other])
    id_ = pipeline.result(upload.key).metadata["correlation-id"]
    lines = [json.loads(line) for one in FUNCTIONS for line in pipeline.cloud.logs(one).splitlines() if line[0] == "{"]
    found = [line for line in lines if line.get("correlation_id") == id_]
    assert [line["service"] for line in found if "message" in line][-1] == "deliver"
    assert {line["service"] for line in found if "message" in line} == {"submit", "check_status", "deliver"}
    assert {line["service"] for line in found if "_aws" in line} == {"submit", "check_status", "deliver"}
    assert {"upload processed", "delivered"} <= {line.get("message") for line in found}
    about = [line for line in lines if upload.key in str(line) or pipeline.tasks(upload)[0]["id"] in str(line)]
    assert {line.get("correlation_id") for line in about} == {id_}
    (execution,) = pipeline.executions()[upload]
    assert id_ in execution["name"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_metrics_come_with_the_names_and_dimensions_that_alarms_expect(pipeline: Pipeline, function: str) -> None:
    """Here, since each function has a process of its own, as in AWS."""
    upload = pipeline.drop(f"logs/metrics of {function}.jpg", jpeg())
    pipeline.wait([upload])
    lines = [json.loads(line) for line in pipeline.cloud.logs(function).splitlines() if '"_aws"' in line]
    (service,) = {line["service"] for line in lines}
    directives = [directive for line in lines for directive in line["_aws"]["CloudWatchMetrics"]]
    assert {one["Namespace"] for one in directives} == {OURS.replace("${AWS::StackName}", STACK)}
    assert [one["Dimensions"] for one in directives if one["Dimensions"] != [["service"]]] == []
    assert {metric["Name"] for one in directives for metric in one["Metrics"]} <= emitted()[service]
    variables = SAM["Resources"][function]["Properties"]["Environment"]["Variables"]
    assert service == variables["POWERTOOLS_SERVICE_NAME"]


def test_metrics_can_be_looked_up(pipeline: Pipeline) -> None:
    pipeline.wait([pipeline.drop("logs/counted.jpg", jpeg())])
    found = pipeline.aws("cloudwatch", "list-metrics", "--namespace", f"Lumendrop/{STACK}")["Metrics"]
    known = {(one["MetricName"], dimension["Value"]) for one in found for dimension in one["Dimensions"]}
    wanted = {("TasksCreated", "submit"), ("StatusChecks", "check_status"), ("PhotosEnhanced", "deliver")}
    assert wanted <= known <= {(name, service) for service, names in emitted().items() for name in names}
