"""Logs and metrics in CloudWatch."""

import json

import pytest

from sandbox.demo.start import STACK
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import FUNCTIONS, Pipeline, Upload
from tests.template.metrics import OURS, emitted
from tests.template.reading import SAM


def test_log_lines_are_in_the_log_group_of_the_function(pipeline: Pipeline) -> None:
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


def test_the_correlation_id_is_in_the_logs_of_all_functions(pipeline: Pipeline) -> None:
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


@pytest.fixture(scope="module")
def enhanced(pipeline: Pipeline) -> Upload:
    """An upload after its end."""
    upload = pipeline.drop("logs/metrics.jpg", jpeg())
    pipeline.wait([upload])
    return upload


@pytest.mark.parametrize("function", FUNCTIONS)
def test_metrics_have_the_names_and_dimensions_that_alarms_use(
    pipeline: Pipeline, enhanced: Upload, function: str
) -> None:
    """An end-to-end test, because each function has its own process here, as in AWS."""
    lines = [json.loads(line) for line in pipeline.cloud.logs(function).splitlines() if '"_aws"' in line]
    (service,) = {line["service"] for line in lines}
    directives = [directive for line in lines for directive in line["_aws"]["CloudWatchMetrics"]]
    assert {one["Namespace"] for one in directives} == {OURS.replace("${AWS::StackName}", STACK)}
    assert [one["Dimensions"] for one in directives if one["Dimensions"] != [["service"]]] == []
    assert {metric["Name"] for one in directives for metric in one["Metrics"]} <= emitted()[service]
    variables = SAM["Resources"][function]["Properties"]["Environment"]["Variables"]
    assert service == variables["POWERTOOLS_SERVICE_NAME"]


def test_metrics_can_be_listed(pipeline: Pipeline, enhanced: Upload) -> None:
    listed = pipeline.aws("cloudwatch", "list-metrics", "--namespace", f"Lumendrop/{STACK}")["Metrics"]
    known = {(one["MetricName"], dimension["Value"]) for one in listed for dimension in one["Dimensions"]}
    expected = {("TasksCreated", "submit"), ("StatusChecks", "check_status"), ("PhotosEnhanced", "deliver")}
    assert expected <= known <= {(name, service) for service, names in emitted().items() for name in names}
