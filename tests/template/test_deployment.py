"""How an update reaches the functions: every change publishes a version, and the alias is shifted to it."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from sandbox.aws.template import load
from tests.template.merged import written
from tests.template.reading import (
    FUNCTIONS,
    PARAMETERS,
    REGION,
    ROOT,
    TEXT,
    grants,
    properties,
    references,
    resources,
    translated,
    unresolved,
)

PREFIXES = {name: name.removesuffix("Function") for name in FUNCTIONS}
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-version.html
LONGEST_DESCRIPTION = 256
SHORTENED = {name: at for at, name in re.findall(r"!Select \[0, !Split \[(\S+), !Ref (\w+)\]\]", TEXT)}
LONGEST_BUCKET_NAME = 63
LONGEST_LEDGER_PART = 16
# Those of AWS's managed policies that concern the function, AWSCodeDeployRoleForLambda and …Limited.
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForLambdaLimited.html
ACTIONS = ("lambda:GetAlias", "lambda:UpdateAlias", "lambda:GetProvisionedConcurrencyConfig")


def versions(body: dict[str, Any]) -> dict[str, str]:
    """The logical ID of each function's version. A different ID publishes a new version."""
    found = {written(one["Properties"]["FunctionName"])[2:-1]: name for name, one in _of(body, "Version").items()}
    assert set(found) == set(FUNCTIONS)
    return found


def _of(body: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: one for name, one in body["Resources"].items() if one["Type"] == f"AWS::Lambda::{kind}"}


def packaged(text: str, directory: Path, layer: Path) -> dict[str, Any]:
    """The template that `sam deploy` sends, translated. The checksum of each package is part of its name."""
    checksum = hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(layer.rglob("*")) if path.is_file())
    ).hexdigest()
    file = directory / "template.yaml"
    file.write_text(
        text.replace("CodeUri: ", "CodeUri: s3://code/")
        .replace("ContentUri: layers/", f"ContentUri: s3://code/{checksum}")
        .replace("DefinitionUri: ", f"DefinitionUri: {ROOT}/")
        .replace("TemplateURL: ", f"TemplateURL: {ROOT}/")
    )
    return load(file, {}, REGION).body


@pytest.mark.parametrize("changed", ["lumendrop/ledger.py", "requirements.txt"])
def test_a_change_of_the_layer_alone_publishes_versions_of_all_functions(tmp_path: Path, changed: str) -> None:
    layer = shutil.copytree(ROOT / "layers", tmp_path / "layers", ignore=shutil.ignore_patterns("__pycache__"))
    without = TEXT.replace("      PublishLambdaVersion: true", "      PublishLambdaVersion: false")
    before, blind = (versions(packaged(text, tmp_path, layer)) for text in (TEXT, without))
    with (layer / changed).open("a") as file:
        file.write("# changed\n")
    after, still_blind = (versions(packaged(text, tmp_path, layer)) for text in (TEXT, without))
    assert not set(before.values()) & set(after.values())
    # Otherwise, the alias would continue to use the old layer.
    assert blind == still_blind


def test_no_change_publishes_nothing(tmp_path: Path) -> None:
    assert versions(packaged(TEXT, tmp_path, ROOT / "functions")) == versions(
        packaged(TEXT, tmp_path, ROOT / "functions")
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CodeUri: functions/submit/", "CodeUri: functions/submit-2/"),
        ("      Timeout: 60\n", "      Timeout: 50\n"),
        ("MAX_WAIT_MINUTES: !Ref MaxWaitMinutes", "MAX_WAIT_MINUTES: 5"),
    ],
)
def test_a_change_of_a_function_publishes_a_version_of_it(tmp_path: Path, before: str, after: str) -> None:
    assert TEXT.count(before) == 1
    old, new = (versions(packaged(text, tmp_path, ROOT / "events")) for text in (TEXT, TEXT.replace(before, after)))
    assert {name for name in FUNCTIONS if old[name] != new[name]} == {"SubmitFunction"}


def parameters(body: dict[str, Any], function: str) -> tuple[set[str], set[str]]:
    """The parameters that a function's properties refer to, and those that its version refers to."""
    one, version = body["Resources"][function], body["Resources"][versions(body)[function]]
    used, seen = (references(part) & set(PARAMETERS) for part in (one["Properties"], version["Properties"]))
    return used, seen


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_parameters_new_value_replaces_the_version(name: str) -> None:
    """No other parameter does, because Lambda does not publish an unchanged function."""
    used, seen = parameters(unresolved(), name)
    assert used == seen
    assert "ApiBaseUrl" in used


def test_a_parameter_that_would_not_reach_the_alias_is_found(tmp_path: Path) -> None:
    without = TEXT.replace(" ${DailyTaskLimit}", "")
    used, seen = parameters(packaged(without, tmp_path, ROOT / "events"), "SubmitFunction")
    assert used - seen == {"DailyTaskLimit"}


def test_cloudformation_replaces_a_version_for_another_description() -> None:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, "AWS::Lambda::Version").schema
    assert "/properties/Description" in schema["createOnlyProperties"]
    assert schema["properties"]["Description"]["maxLength"] == LONGEST_DESCRIPTION


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_longest_values_fit_into_a_versions_description(name: str) -> None:
    body = translated(ExistingLedgerTable="lumendrop-LedgerTable-1A2B3C4D5E6F7")
    description = body["Resources"][versions(body)[name]]["Properties"]["Description"]
    names = references(description) - {"Ledger"}
    assert sum(map(_longest, names)) + len(names) - 1 <= LONGEST_DESCRIPTION


def _longest(name: str) -> int:
    """Characters of a parameter's, or a bucket name's, longest value."""
    if name in ("OutputBucket", "ExistingOutputBucket"):
        return LONGEST_BUCKET_NAME
    parameter = PARAMETERS[name]
    if name == "ExistingLedgerTable":
        # Only the part after -LedgerTable-, which CloudFormation generates.
        assert parameter["AllowedPattern"].endswith(f"-LedgerTable-[A-Z0-9]{{1,{LONGEST_LEDGER_PART}}})$")
        return LONGEST_LEDGER_PART
    values = parameter.get("AllowedValues") or [parameter["MaxValue"]] if "MaxLength" not in parameter else []
    shown = [str(value).split(SHORTENED[name])[0] if name in SHORTENED else str(value) for value in values]
    assert len(set(shown)) == len(values)
    return int(parameter["MaxLength"]) if not values else max(map(len, shown))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_replaced_version_is_retained(name: str) -> None:
    """It can still be in use, and is needed for a manual rollback."""
    version = translated()["Resources"][versions(translated())[name]]
    assert (version["DeletionPolicy"], version["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert "DeletionPolicy" not in translated()["Resources"][name]


@pytest.mark.parametrize("deployment", ["canary", "all-at-once"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_alias_of_its_newest_version(deployment: str, name: str) -> None:
    body = translated(Deployment=deployment)
    alias = body["Resources"][f"{name}Aliaslive"]["Properties"]
    assert alias["Name"] == "live"
    assert written(alias["FunctionName"]) == f"${{{name}}}"
    assert written(alias["FunctionVersion"]) == f"${{{versions(body)[name]}.Version}}"


def test_functions_are_invoked_only_by_their_alias() -> None:
    called = {
        resource
        for role in resources("AWS::IAM::Role")
        for action, resource in grants(role)
        if action.startswith("lambda:Invoke")
    }
    assert called == {"${CheckStatusFunctionAliaslive}", "${DeliverFunctionAliaslive}"}
    substitutions = properties("Workflow")["DefinitionSubstitutions"]
    assert {written(substitutions[name]) for name in ("CheckStatusFunction", "DeliverFunction")} == called


@pytest.mark.parametrize(("name", "prefix"), PREFIXES.items())
def test_a_canary_is_rolled_back_by_the_errors_alarm_of_its_function(name: str, prefix: str) -> None:
    group = properties(f"{name}DeploymentGroup")
    assert group["AlarmConfiguration"] == {"Enabled": True, "Alarms": [{"Name": {"Ref": f"{prefix}ErrorsAlarm"}}]}
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    assert group["DeploymentConfigName"]["Fn::Sub"][1] == {"ConfigName": "Canary10Percent5Minutes"}
    assert written(group["ServiceRoleArn"]) == f"${{{prefix}DeploymentRole.Arn}}"
    update = translated()["Resources"][f"{name}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert written(update["DeploymentGroupName"]) == f"${{{name}DeploymentGroup}}"
    # Without the dimensions of a version or an alias, the metric includes all of them.
    alarm = properties(f"{prefix}ErrorsAlarm")
    assert [dimension["Name"] for dimension in alarm["Dimensions"]] == ["FunctionName"]
    assert alarm["Period"] < 300


@pytest.mark.parametrize(("name", "prefix"), PREFIXES.items())
def test_a_deployment_can_shift_only_its_own_alias(name: str, prefix: str) -> None:
    own = {f"${{{name}.Arn}}", f"${{{name}.Arn}}:live"}
    assert grants(f"{prefix}DeploymentRole") == {
        ("cloudwatch:DescribeAlarms", "*"),
        *((action, arn) for action in ACTIONS for arn in own),
    }


def test_all_at_once_uses_neither_alarms_nor_codedeploy() -> None:
    body = translated(Deployment="all-at-once")
    assert not [name for name, one in body["Resources"].items() if one["Type"].startswith("AWS::CodeDeploy")]
    assert not [name for name, one in _of(body, "Alias").items() if "UpdatePolicy" in one]
    assert PARAMETERS["Deployment"]["Default"] == "canary"
    assert len([one for one in translated()["Resources"].values() if one["Type"].startswith("AWS::CodeDeploy")]) == 4
