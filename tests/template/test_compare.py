"""The comparison of two templates finds every kind of difference, and none in equal templates."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sandbox.aws.template import evaluate, load
from tests.template import compare
from tests.template.compare import CASES, RENAMES, Difference, described, differences, main, reason, renamed
from tests.template.reading import MONITORING, REGION, ROOT, TEMPLATE, unresolved

WORKFLOW = "statemachines/enhance.asl.yaml"
# What changes in a file, and the place where that has to be found.
CHANGES = [
    ("template.yaml", "      Timeout: 60\n", "      Timeout: 50\n", "SubmitFunction.Properties.Timeout"),
    ("template.yaml", "    Default: 1000\n", "    Default: 999\n", "Parameters.DailyTaskLimit.Default"),
    (
        "template.yaml",
        "  SweepRule:\n    Type: AWS::Events::Rule\n    Condition: HasSweep\n",
        "  SweepRule:\n    Type: AWS::Events::Rule\n",
        "SweepRule.Type",
    ),
    (
        "template.yaml",
        "Value: !Ref BackfillWorkflow }\n",
        "Value: !Ref Workflow }\n",
        "BackfillWorkflowArn.Value.Ref",
    ),
    ("template.yaml", "BackfillLogs", "BackfillLogGroup", "Resources.BackfillLogGroup.Type"),
    (
        "template.yaml",
        "        LedgerTable: *LedgerName\n        Sub",
        "        LedgerTable: !Ref KeySecret\n        Sub",
        "ResourcesDashboard",
    ),
    ("monitoring.yaml", "      Threshold: 3600\n", "      Threshold: 1800\n", "OldestUploadAlarm.Properties.Threshold"),
    ("monitoring.yaml", '"start": "-PT24H"', '"start": "-PT12H"', "PhotosDashboard.Properties.DashboardBody.start"),
    ("monitoring.yaml", "[!Ref DeliverLogs]", "[!Ref SubmitLogs]", "SlowestQuery.Properties.LogGroupNames.0.Ref"),
    (WORKFLOW, "TimeoutSeconds: 150", "TimeoutSeconds: 151", "Definition.States.CheckStatus.TimeoutSeconds"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the templates next to the same code."""
    for path in (TEMPLATE, MONITORING):
        shutil.copy(path, tmp_path)
    shutil.copytree(ROOT / "statemachines", tmp_path / "statemachines")
    for name in ("functions", "layers"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path / "template.yaml"


def test_equal_templates_have_no_differences(copy: Path) -> None:
    assert differences(copy, TEMPLATE) == []


def test_every_kind_of_change_is_found_and_has_no_reason(copy: Path) -> None:
    for name, before, after, _ in CHANGES:
        file = copy.parent / name
        assert before in file.read_text(), before
        file.write_text(file.read_text().replace(before, after))
    found = {one.path: one for one in differences(copy, TEMPLATE)}
    for *_, place in CHANGES:
        assert [path for path in found if place in path], place
    assert [path for path, one in found.items() if reason(one)] == []
    timeout = found["Resources.SubmitFunction.Properties.Timeout"]
    assert (timeout.before, timeout.after) == (50, 60)
    assert "reason: NONE" in described(timeout)


def test_every_condition_is_decided_both_ways() -> None:
    """Else a difference behind a condition would not be found."""
    conditions = unresolved()["Conditions"]
    templates = [load(TEMPLATE, case, REGION) for case in CASES]
    for name, one in conditions.items():
        assert {evaluate(one, template.parameters, conditions) for template in templates} == {True, False}, name


def test_a_name_is_renamed_as_a_whole_word() -> None:
    body = {"Resources": {"EndedRule": {"RoleArn": {"Fn::GetAtt": ["EndedRuleRole", "Arn"]}}, "EndedRuleAlarm": {}}}
    assert renamed(body)["Resources"] == {
        "ExecutionFailureRule": {"RoleArn": {"Fn::GetAtt": ["ExecutionFailureRuleRole", "Arn"]}},
        "EndedRuleAlarm": {},
    }
    assert all(one.reason.endswith(".") for one in RENAMES)


@pytest.mark.parametrize(
    ("path", "explained"),
    [
        ("Resources.Workflow.Properties.Definition.States.Deliver.Comment", True),
        ("Resources.Workflow.Properties.Definition.States.Deliver.TimeoutSeconds", False),
        ("Parameters.KmsKey.Description", True),
        ("Parameters.KmsKey.AllowedPattern", False),
        ("Resources.SubmitFunction.Properties.Environment.Variables.Description", False),
        ("Resources.SubmitFunctionVersion.Properties.Description", False),
    ],
)
def test_only_wording_is_explained(path: str, explained: bool) -> None:
    assert reason(Difference(path, "before", None)) is None
    assert (reason(Difference(path, "before", "after")) is not None) is explained


@pytest.mark.parametrize("folder", ["a shallow clone", "an archive", "no git"])
def test_a_revision_that_is_not_here_is_reported(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ROOT", ROOT if folder == "a shallow clone" else tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if folder == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"no revision 0000000 here.*git fetch --unshallow"):
        main("0000000")
