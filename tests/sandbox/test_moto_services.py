"""moto's services are imported when a template or a client needs them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, sys
from pathlib import Path
from sandbox.aws.cloud import Cloud

with Cloud(Path(sys.argv[1]), "demanding") as cloud:
    first = "moto.ec2" in sys.modules
    tags = cloud.client("ec2").describe_tags()["Tags"]
    print(json.dumps([first, cloud.skipped, sorted(cloud.resources), [tag["Value"] for tag in tags]]))
"""


def deploy(tmp_path: Path, resources: str) -> Any:
    """Whether EC2 is imported to deploy these resources; what is skipped; what is created; EC2's tags."""
    template = tmp_path / "template.yaml"
    template.write_text(f"Resources: {resources}")
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", SCRIPT, str(template)]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_a_service_that_the_template_does_not_use_is_not_imported(tmp_path: Path) -> None:
    assert deploy(tmp_path, "{Queue: {Type: 'AWS::SQS::Queue'}}") == [False, [], ["Queue"], []]


def test_a_service_that_the_template_uses_is_imported(tmp_path: Path) -> None:
    resources = (
        "{Vpc: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: 10.0.0.0/16}},"
        " Value: {Type: 'AWS::SSM::Parameter', Properties: {Name: n, Type: String, Value: x}}}"
    )
    imported, skipped, created, tags = deploy(tmp_path, resources)
    assert (imported, skipped, created) == (True, [], ["Value", "Vpc"])
    assert "Vpc" in tags
