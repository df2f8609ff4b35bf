"""The template as a whole: references, comments, outputs, and what lies around it."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from samtranslator.yaml_helper import yaml_parse

from sandbox.aws.template import load
from tests.template.reading import PARAMETERS, REGION, ROOT, SAM, TEMPLATE, TEXT, references, translated, unresolved

PSEUDO = {"AWS::Region", "AWS::AccountId", "AWS::Partition", "AWS::StackName", "AWS::URLSuffix", "AWS::NoValue"}
SAMCONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())


def test_every_reference_resolves() -> None:
    body = unresolved()
    known = set(body["Resources"]) | set(body["Parameters"]) | PSEUDO
    assert references({name: body[name] for name in ("Conditions", "Rules", "Resources", "Outputs")}) <= known


def test_every_parameter_is_used_and_is_in_a_group() -> None:
    used = references({name: SAM[name] for name in ("Conditions", "Globals", "Resources")})
    assert set(PARAMETERS) <= used
    groups = SAM["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)


def test_what_cloudformation_gets_passes_its_linter() -> None:
    """`make check` lints the SAM template; the linter sees more of the workflow in the translated one."""
    found = lint(json.dumps(unresolved()), config=ManualArgs(regions=[REGION]))
    assert [str(match) for match in found] == []


@pytest.mark.parametrize("name", SAM["Resources"])
def test_every_resource_says_why_it_is_there(name: str) -> None:
    lines = TEXT.splitlines()
    above = lines[lines.index(f"  {name}:") - 1]
    assert re.match(r"  # \w", above), f"no comment above {name}"


@pytest.mark.parametrize("name", SAM["Outputs"])
def test_every_output_is_described(name: str) -> None:
    assert SAM["Outputs"][name]["Description"].endswith(".")


def test_outputs_say_where_to_drop_photos_where_they_come_out_and_how_to_set_the_key() -> None:
    wanted = {"InputBucketName": "InputBucket", "OutputBucketName": "OutputBucket", "SetKeyCommand": "KeySecret"}
    for output, resource in wanted.items():
        assert references(translated()["Outputs"][output]["Value"]) == {resource}


@pytest.mark.parametrize("stage", sorted(SAMCONFIG.keys() - {"version", "default"}))
def test_stages_set_parameters_to_values_they_can_have(stage: str) -> None:
    deploy = SAMCONFIG[stage]["deploy"]["parameters"]
    overrides = dict(one.split("=", 1) for one in deploy.get("parameter_overrides", "").split())
    load(TEMPLATE, overrides, REGION)
    assert deploy["capabilities"] == "CAPABILITY_IAM"


def test_the_application_repositorys_metadata_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    application = SAM["Metadata"]["AWS::ServerlessRepo::Application"]
    assert application["SemanticVersion"] == project["version"]
    assert (application["Name"], application["Description"]) == (project["name"], project["description"])
    assert application["SpdxLicenseId"] == project["license"]
    for name in ("LicenseUrl", "ReadmeUrl"):
        assert (ROOT / application[name]).is_file()


def test_continuous_integration_runs_what_a_change_has_to_pass() -> None:
    workflow = yaml_parse((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {"contents": "read"}
    assert job["timeout-minutes"] <= 60
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def _pins(path: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each requirement."""
    text = (ROOT / path).read_text().replace("\\\n", " ")
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)(.*)$", text, re.MULTILINE)
    return {name: (version, re.findall(r"--hash=sha256:[0-9a-f]{64}", rest)) for name, version, rest in found}


def test_the_sandbox_runs_the_very_packages_that_are_deployed() -> None:
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
    ],
)
def test_every_requirement_is_hashed(path: str) -> None:
    pins = _pins(path)
    assert pins
    assert [name for name, (_, hashes) in pins.items() if not hashes] == []
