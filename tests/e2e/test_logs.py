"""What an owner who wonders finds in CloudWatch."""

import json

from tests.e2e.pipeline import Pipeline


def test_the_functions_lines_are_in_their_log_group(pipeline: Pipeline) -> None:
    upload = pipeline.drop("logs/no photo.jpg", b"Dear diary")
    pipeline.wait([upload])
    lines = pipeline.aws(
        "logs", "filter-log-events", "--log-group-name", "/lumendrop/lumendrop/submit", "--query", "events[].message"
    )
    records = [json.loads(line) for line in lines if line.startswith('{"level"')]
    settled = next(one for one in records if one.get("version_id") == upload.version_id)
    assert (settled["level"], settled["service"], settled["message"]) == ("INFO", "submit", "settled")
    assert settled["upload"] == f"s3://{pipeline.outputs['InputBucketName']}/logs/no photo.jpg"
    assert settled["status"] == "rejected"
