"""The templates as a whole: references, comments, outputs, and the files next to them."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from sandbox.aws.template import load, parse_yaml
from tests.template.reading import (
    EVERYTHING,
    MONITORING,
    PARAMETERS,
    REGION,
    ROOT,
    SAM,
    TEMPLATE,
    TEXT,
    references,
    translated,
    unresolved,
)

PSEUDO = {"AWS::Region", "AWS::AccountId", "AWS::Partition", "AWS::StackName", "AWS::URLSuffix", "AWS::NoValue"}
OPTIONAL = {"HeartbeatAlarm", "CompletionRuleAlarm", "SweepRuleAlarm"}
MOST_LINES = 1400
SAMCONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())


FILES = [TEMPLATE, MONITORING]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_reference_resolves(path: Path) -> None:
    body = unresolved(path)
    known = set(body["Resources"]) | set(body["Parameters"]) | PSEUDO
    assert references([body.get(name, {}) for name in ("Conditions", "Rules", "Resources", "Outputs")]) <= known


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_nested_stack_resolves_in_the_place_of_its_parent(parameters: dict[str, str]) -> None:
    body = translated(**parameters)
    known = set(body["Resources"]) | set(body["Parameters"]) | PSEUDO
    assert references([body["Resources"], body["Outputs"]]) <= known
    assert set(unresolved(MONITORING)["Resources"]) - set(body["Resources"]) == OPTIONAL - set(parameters and OPTIONAL)


def test_the_nested_stack_is_plain_cloudformation_named_after_its_parent() -> None:
    """CloudFormation resolves no YAML aliases, and AWS::StackName is the nested stack's own name."""
    text = MONITORING.read_text()
    assert not {type(token) for token in yaml.scan(text)} & {yaml.AnchorToken, yaml.AliasToken}
    assert "Transform" not in unresolved(MONITORING)
    assert "AWS::StackName" not in text
    passed = unresolved()["Resources"]["Monitoring"]["Properties"]["Parameters"]
    assert passed["StackName"] == {"Ref": "AWS::StackName"}
    assert set(passed) == set(unresolved(MONITORING)["Parameters"])


def test_the_parent_is_at_most_1400_lines_and_keeps_what_rolls_a_deployment_back() -> None:
    assert len(TEXT.splitlines()) <= MOST_LINES
    parents = {name for name, one in unresolved()["Resources"].items() if one["Type"].startswith("AWS::CloudWatch")}
    assert parents == {"SubmitErrorsAlarm", "CheckStatusErrorsAlarm", "DeliverErrorsAlarm"}


def test_every_parameter_is_used_and_is_in_a_group() -> None:
    used = references({name: SAM[name] for name in ("Conditions", "Globals", "Resources", "Outputs")})
    assert set(PARAMETERS) <= used
    groups = SAM["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)


@pytest.fixture
def deep_recursion() -> Iterator[None]:
    """cfn-lint follows the translated template deeper than Python allows by default."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("deep_recursion")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_cloudformation_gets_passes_its_linter(path: Path) -> None:
    """`make check` lints the files; the linter sees more of the workflow in the translated template."""
    # `sam deploy` uploads the nested template.
    text = json.dumps(unresolved(path)).replace('"monitoring.yaml"', f'"https://s3.{REGION}.amazonaws.com/code/stack"')
    assert [str(match) for match in lint(text, config=ManualArgs(regions=[REGION]))] == []


def test_make_check_covers_both_templates() -> None:
    names = [path.name for path in FILES]
    assert parse_yaml((ROOT / ".checkov.yaml").read_text())["file"] == names
    assert f"cfn-lint {' '.join(names)}\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path in FILES for name in parse_yaml(path.read_text())["Resources"]]
)
def test_every_resource_has_a_comment_that_explains_why_it_exists(path: Path, name: str) -> None:
    lines = path.read_text().splitlines()
    above = lines[lines.index(f"  {name}:") - 1]
    assert re.match(r"  # \w", above), f"no comment above {name}"


@pytest.mark.parametrize("name", SAM["Outputs"])
def test_every_output_is_described(name: str) -> None:
    assert SAM["Outputs"][name]["Description"].endswith(".")


def test_outputs_include_the_buckets_and_the_command_that_sets_the_key() -> None:
    outputs = translated()["Outputs"]
    for output, resource in {"InputBucketName": "InputBucket", "OutputBucketName": "OutputBucket"}.items():
        assert references(outputs[output]["Value"]) == {resource}
    command = outputs["SetKeyCommand"]["Value"]["Fn::Sub"]
    assert command == "lumendrop --stack ${AWS::StackName} --region ${AWS::Region} set-key"


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    released = re.findall(r"^## \[([0-9.]+)\] - [0-9-]{10}$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert SAM["Outputs"]["Version"]["Value"] == version == released[0]
    assert released == sorted(released, reverse=True)


@pytest.mark.parametrize("stage", sorted(SAMCONFIG.keys() - {"version", "default"}))
def test_stages_set_parameters_to_accepted_values(stage: str) -> None:
    deploy = SAMCONFIG[stage]["deploy"]["parameters"]
    overrides = dict(one.split("=", 1) for one in deploy.get("parameter_overrides", "").split())
    load(TEMPLATE, overrides, REGION)
    # CloudFormation can require the second one for a stack with a transform and a nested stack.
    assert deploy["capabilities"] == "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"


def test_continuous_integration_runs_the_required_checks() -> None:
    workflow = parse_yaml((ROOT / ".github/workflows/ci.yml").read_text())
    jobs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow["jobs"].items()}
    assert workflow["permissions"] == {"contents": "read"}
    assert max(job["timeout-minutes"] for job in workflow["jobs"].values()) <= 60
    assert ".ci/run" in jobs["check"]
    assert {"make check-asl", "make check-cdk", "make test-elsewhere"} <= set(jobs["elsewhere"])
    assert [name for name, job in workflow["jobs"].items() if job.get("continue-on-error")] == ["elsewhere"]
    assert "make test-board" in jobs["board"]
    assert workflow["jobs"]["command"]["strategy"]["matrix"]["system"] == ["windows-latest", "macos-latest"]
    assert "install -qy chromium" in jobs["board"][-2]


def _pins(path: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each requirement."""
    text = (ROOT / path).read_text().replace("\\\n", " ")
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)(.*)$", text, re.MULTILINE)
    return {name: (version, re.findall(r"--hash=sha256:[0-9a-f]{64}", rest)) for name, version, rest in found}


def test_the_sandbox_uses_the_deployed_versions_of_packages() -> None:
    layer, sandbox = _pins("layers/requirements.txt"), _pins("requirements/sandbox.txt")
    wanted = set(re.findall(r"^[\w-]+", (ROOT / "layers/requirements.in").read_text(), re.MULTILINE))
    assert wanted <= set(layer)
    assert {name: version for name, (version, _) in layer.items()} == {name: sandbox[name][0] for name in layer}


@pytest.mark.parametrize(
    "path",
    [
        "layers/requirements.txt",
        "requirements/sandbox.txt",
        "requirements/tests.txt",
        "requirements/benchmarks.txt",
        "requirements/sam.txt",
        "requirements/checkov.txt",
        "requirements/parliament.txt",
        "requirements/elsewhere.txt",
    ],
)
def test_every_requirement_is_hashed(path: str) -> None:
    pins = _pins(path)
    assert pins
    assert [name for name, (_, hashes) in pins.items() if not hashes] == []


@pytest.mark.parametrize("name", ["cdk", "jsonata"])
def test_node_packages_are_hashed_and_name_no_registry(name: str) -> None:
    lock = json.loads((ROOT / f"requirements/{name}/package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name and not one.get("inBundle")}
    assert packages
    assert {name for name, one in packages.items() if "integrity" not in one or "resolved" in one} == set()
