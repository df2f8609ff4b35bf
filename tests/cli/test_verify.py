"""`lumendrop verify` confirms each assumption with one photo, and writes a report without anything private."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lumendrop_cli import verify
from lumendrop_cli.verify import ASSUMPTIONS
from tests.cli.command import CommandResult, Lumendrop
from tests.e2e.pipeline import Pipeline
from tests.template.reading import ROOT


@pytest.fixture(scope="module")
def _run(lumendrop: Lumendrop, pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path, before, kept = tmp_path_factory.mktemp("verify") / "report.json", len(pipeline._all_tasks()), []

    def send(*arguments: Any) -> verify.Evidence:
        kept.append(original(*arguments))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        original = verify._send
        patch.setattr(verify, "_send", send)
        result = lumendrop("verify", "--yes", "--report", str(path))
    return result, json.loads(path.read_text()), len(pipeline._all_tasks()) - before, *kept


@pytest.fixture(scope="module")
def done(_run: Any) -> Any:
    """One run: its result, its report, and the number of tasks that it paid for."""
    return _run[:3]


@pytest.fixture
def enhanced(_run: Any) -> verify.Evidence:
    """What the photo of this run has left."""
    evidence: verify.Evidence = _run[3]
    return evidence


def test_the_sandbox_confirms_every_assumption(done: Any) -> None:
    result, report, tasks = done
    assert (result.code, report["refuted"], tasks) == (0, 0, 1), result.out
    verdicts = {one["name"]: one["verdict"] for one in report["assumptions"]}
    assert verdicts == {one.name: "confirmed" for one in ASSUMPTIONS}
    assert "lumendrop-verify/a b+c%41" in result.out


def test_the_report_has_nothing_private(done: Any, pipeline: Pipeline) -> None:
    _, report, _ = done
    text = json.dumps(report)
    assert report["sandbox"] is True
    assert report["version"] == report["command_version"] == version("lumendrop")
    for private in ("123456789012", "arn:", "X-Amz", pipeline.outputs["InputBucketName"]):
        assert private not in text
    assert not re.search(r"s3://|https?://", text)


def run(lumendrop: Lumendrop, tmp_path: Path, *options: str, typed: str | None = None) -> CommandResult:
    return lumendrop("verify", "--report", str(tmp_path / "report.json"), *options, typed=typed)


def test_a_refuted_assumption_fails_the_command(
    lumendrop: Lumendrop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuted = verify.Assumption("tides", "The moon is full.", "date", "full", lambda _: (False, "a \x1b[31mcrescent"))
    monkeypatch.setattr(verify, "ASSUMPTIONS", (refuted,))
    result = run(lumendrop, tmp_path, "--yes")
    assert result.code == 1
    assert "refuted" in result.out
    assert "\x1b" not in result.out
    assert json.loads((tmp_path / "report.json").read_text())["refuted"] == 1


def test_without_a_permission_nothing_is_refuted(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: verify.Evidence) -> Any:
        who = "User: arn:aws:sts::123456789012:assumed-role/Admin/eve@example.com"
        message = f"{who} is not authorized on account 123456789012"
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, "FilterLogEvents")

    monkeypatch.setattr(verify, "ASSUMPTIONS", (verify.Assumption("logs", "They are there.", "-", "-", denied),))
    result = run(lumendrop, tmp_path, "--yes", "--json")
    assert (result.code, result.json["refuted"]) == (0, 0)
    assert result.json["assumptions"][0]["verdict"] == "not checked"
    assert "is not authorized" in result.out
    assert not re.search("123456789012|eve", result.out + (tmp_path / "report.json").read_text())


def test_a_check_that_fails_keeps_no_other_from_being_checked(
    lumendrop: Lumendrop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(_: verify.Evidence) -> Any:
        raise KeyError("x")

    found = [
        verify.Assumption(name, "-", "-", "-", check) for name, check in (("a", defect), ("b", lambda _: (True, "")))
    ]
    monkeypatch.setattr(verify, "ASSUMPTIONS", found)
    result = run(lumendrop, tmp_path, "--yes", "--json")
    assert [one["verdict"] for one in result.json["assumptions"]] == ["not checked", "confirmed"]


def test_a_photo_that_is_not_enhanced_leaves_a_report_with_the_reason(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.plan(task=[{"end": "failed", "code": "unknown_error", "seconds": 0}])
    result = run(lumendrop, tmp_path, "--yes", "--json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (result.code, report["assumptions"], "ended as failed" in report["error"]) == (1, [], True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("keys", "the decoded key"),
        ("versions", "sequencer none"),
        ("checksum", "None"),
        ("metadata", "metadata attempt"),
        ("conditional writes", "another"),
        ("workflow", "ABORTED"),
        ("time", "soon"),
        ("logs", "no line of JSON with the correlation ID in SubmitLogs"),
    ],
)
def test_each_assumption_can_be_refuted(
    enhanced: verify.Evidence, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.setattr(verify, "_LOG_SECONDS", 0.1)
    if name in ("keys", "logs"):
        line = '{"message":"key decoded"}' if name == "keys" else "no JSON"
        monkeypatch.setattr(verify, "_log_lines", lambda *_: [line])
    if name == "workflow":
        monkeypatch.setattr(
            verify.polling, "poll_until", lambda *_: {"status": "ABORTED", "startDate": datetime.now(UTC)}
        )
    row = {"sequencer": "", "finished_at": "soon", "output": {"version_id": "x"}, "sha256": "x"}
    wrong = replace(
        enhanced,
        row=enhanced.row | row,
        source=enhanced.source | {"ChecksumSHA256": None},
        result=enhanced.result | {"Metadata": {"attempt": "1"}},
    )
    one = next(one for one in ASSUMPTIONS if one.name == name)
    checked = verify._check(one, wrong, lambda _: None)
    assert (checked.verdict, reason in checked.observed) == ("refuted", True), checked


def test_nothing_is_paid_without_confirmation(lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path) -> None:
    before = len(pipeline._all_tasks())
    result = run(lumendrop, tmp_path, typed="n\n")
    assert (result.code, "This pays for 1 task" in result.err) == (1, True)
    assert (len(pipeline._all_tasks()), list(tmp_path.iterdir())) == (before, [])


def test_a_dry_run_names_the_cost_and_what_is_checked(lumendrop: Lumendrop, tmp_path: Path) -> None:
    assert "This would pay for 1 task, about 0.12 USD, and check: keys," in run(lumendrop, tmp_path, "--dry-run").out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["no folder/report.json", "file/report.json"])
def test_a_report_that_cannot_be_written_is_found_before_anything_is_paid(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    before = len(pipeline._all_tasks())
    result = lumendrop("verify", "--yes", "--report", str(tmp_path / name))
    assert (result.code, len(pipeline._all_tasks())) == (1, before)
    assert "can't be written" in result.err


@pytest.mark.parametrize("content", ["# my notes", "[]", '{"at": 1}', "[" * 50_000])
def test_a_file_that_is_no_report_is_not_replaced(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, content: str
) -> None:
    before = len(pipeline._all_tasks())
    (tmp_path / "report.json").write_text(content)
    result = run(lumendrop, tmp_path, "--yes")
    assert (result.code, len(pipeline._all_tasks())) == (1, before)
    assert "is not a report of verify, so it is not replaced. Name another file" in result.err
    assert (tmp_path / "report.json").read_text() == content


def test_an_earlier_report_and_an_empty_file_are_replaced(lumendrop: Lumendrop, done: Any, tmp_path: Path) -> None:
    for content in ("", json.dumps(done[1])):
        (tmp_path / "report.json").write_text(content)
        assert run(lumendrop, tmp_path, "--dry-run").code == 0


def test_the_documentation_lists_every_assumption() -> None:
    page = (ROOT / "docs/first-deployment.md").read_text()
    for one in ASSUMPTIONS:
        assert f"| {one.name} | {one.assumption} | `{one.command}` | {one.expected} |" in page
