"""Compares two versions of the translated template, nested stacks included.

    python -m tests.template.compare [EARLIER [LATER]]

Each is a commit, or a template with the same directories next to it. The defaults are the last commit before the
template was split and the commit that completed the split. Prints every difference in resources, properties,
parameters, and outputs, with its reason. The exit code is 1 if a difference has no reason in `RENAMES` or `EXPLAINED`.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sandbox.aws.template import load
from tests.template.merged import STACK, Body, merged, written
from tests.template.reading import REGION, ROOT

BEFORE_THE_SPLIT, AFTER_THE_SPLIT = "296b491", "43494de"
# Together, these decide every condition both ways.
CASES: list[dict[str, str]] = [
    {},
    {
        "AlarmEmail": "owner@example.com",
        "HeartbeatHours": "24",
        "PhotoNotices": "topic",
        "CompletionTarget": "arn:aws:states:us-east-1:123456789012:stateMachine:after-photos",
        "SweepSchedule": "rate(1 day)",
        "KmsKey": "create",
        "PermissionsBoundary": "arn:aws:iam::123456789012:policy/boundary",
        "Deployment": "all-at-once",
    },
    {
        "CompletionTarget": "arn:aws:lambda:us-east-1:123456789012:function:after-photos",
        "ExistingInputBucket": "photos-in",
        "ExistingOutputBucket": "photos-out",
        "ExistingLedgerTable": "lumendrop-LedgerTable-1A2B3C4D5E6F7",
        "KmsKey": "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d",
    },
    {"CompletionTarget": "arn:aws:events:us-east-1:123456789012:event-bus/after-photos"},
]


class Rename(NamedTuple):
    """A name that changed, wherever it occurs as a whole word."""

    before: str
    after: str
    reason: str


class Explained(NamedTuple):
    """Differences that are intended: a pattern that their whole path matches, and why.

    With `wording`, only one text in the place of another is explained, not one that is new or missing.
    """

    path: str
    reason: str
    wording: bool = True


class Difference(NamedTuple):
    """A place in the template with its value before and after; None where there was, or is, none."""

    path: str
    before: Any
    after: Any


_STATE = "The state has a name that says what it does. Executions in progress keep their own definition."
RENAMES = [
    Rename("WhatStarted", "RouteInput", _STATE),
    Rename("HowItEnded", "ClassifyOutcome", _STATE),
    Rename("Untold", "EventNotPublished", _STATE),
    Rename("ReadEnded", "LoadFailedExecution", _STATE),
    Rename("CloseEnded", "MarkEndedEarly", _STATE),
    Rename(
        "EndedRule", "ExecutionFailureRule", "The rule's name says what it reacts to. It is replaced by an equal one."
    ),
    Rename("EndedRuleRole", "ExecutionFailureRuleRole", "The role is named after its rule."),
    Rename("ended_rule", "execution_failure_rule", "The inline policy is named after its rule."),
    Rename(
        "crowded", "lambda_throttled", "The field of a poll says what happened. check_status ignores the earlier name."
    ),
]
EXPLAINED = [
    Explained(r"Resources\.\w+\.Properties\.Definition(\..+)?\.Comment", "Wording of a comment on a state."),
    Explained(r"Resources\.Workflow\..+\.Assign\.outcome(\.advice)?", "Wording of a report's advice."),
    Explained(r"Resources\.BackfillWorkflow\..+\.Cause", "Wording of a message of the backfill."),
    Explained(r"(Description|(Parameters|Outputs)\.\w+\.(Constraint)?Description)", "Wording of a description."),
    Explained(r"Rules\.\w+\.Assertions\..+\.AssertDescription", "Wording of a description."),
    Explained(
        r"Resources\.(?!\w+Version\.)\w+\.Properties\.(Alarm)?Description(\.Fn::Sub)?", "Wording of a description."
    ),
    Explained(
        r"Resources\.\w+\.Properties\..*Statement\.\d+\.Sid", "A statement's Sid says what it allows; IAM ignores it."
    ),
    Explained(r"Resources\.\w+Alarm\.Properties\.Metrics\.\d+\.Label", "Wording of a label in CloudWatch."),
    Explained(
        r"Resources\.\w+Dashboard\.Properties\.DashboardName\.Fn::Sub",
        "A dashboard that moves to another stack needs a new name. Otherwise, the update would delete it at its end.",
    ),
    Explained(
        r"Resources\.\w+Dashboard\.Properties\.DashboardBody\.widgets\.\d+\.properties\.(title|.+\.label)",
        "Wording of a dashboard's title or label.",
    ),
    Explained(r"Resources\.\w+Query\.Properties\.Name\.Fn::Sub", "Wording of a saved query's name."),
    Explained(r"Resources\.\w+Query\.Properties\.QueryString", "A saved query reads the log messages as they are now."),
    Explained(r"Metadata\.AWS::CloudFormation::Interface\..+\.Label\.default", "Wording of a group's label."),
    Explained(
        r"Metadata\.AWS::ServerlessRepo::Application\..+",
        "The nested stack does not fit into the Serverless Application Repository, which was not used.",
        wording=False,
    ),
]


def main(earlier: str = BEFORE_THE_SPLIT, later: str = AFTER_THE_SPLIT) -> int:
    """Prints the comparison; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        before, after = template(earlier, Path(folder)), template(later, Path(other))
        found = differences(before, after)
        lines = [*moved(after), *renames_in(before), *map(described, found)]
    print("\n".join(lines))
    unexplained = [one for one in found if reason(one) is None]
    print(f"{len(found)} differences, {len(unexplained)} of them without a reason.")
    return 1 if unexplained else 0


def template(version: str, folder: Path) -> Path:
    return Path(version) if Path(version).is_file() else checked_out(version, folder)


def checked_out(revision: str, folder: Path) -> Path:
    """The template of a revision, with the files and directories that it may refer to."""
    git = ["git", "-C", str(ROOT)]
    try:
        listed = subprocess.run([*git, "ls-tree", "--name-only", revision], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit(
            f"There is no revision {revision} here, only in a clone with its whole history. Run `git fetch "
            "--unshallow`, or compare templates: python -m tests.template.compare EARLIER/template.yaml template.yaml"
        ) from None
    wanted = {"template.yaml", "monitoring.yaml", "statemachines", "functions", "layers"} & set(listed.stdout.split())
    archive = subprocess.run([*git, "archive", revision, *sorted(wanted)], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder / "template.yaml"


def differences(before: Path, after: Path) -> list[Difference]:
    """Every difference between two templates, in any of the cases."""
    found = {}
    for case in CASES:
        old, new = places(renamed(merged(before, _known(before, case), REGION))), places(merged(after, case, REGION))
        for path in sorted(old.keys() | new.keys()):
            one = Difference(path, old.get(path), new.get(path))
            if one.before != one.after:
                found[str(one)] = one
    return list(found.values())


def _known(template: Path, case: dict[str, str]) -> dict[str, str]:
    """The parameters of a case that a template has."""
    return {name: value for name, value in case.items() if f"\n  {name}:\n" in template.read_text()}


def renamed(body: Body) -> Body:
    text = json.dumps(body)
    for one in RENAMES:
        text = re.sub(rf"\b{one.before}\b", one.after, text)
    found: Body = json.loads(text)
    return found


def renames_in(before: Path) -> Iterator[str]:
    text = json.dumps(load(before, {}, REGION).body)
    for one in RENAMES:
        if places := len(re.findall(rf"\b{one.before}\b", text)):
            yield f"{one.before} is now {one.after} ({places} places): {one.reason}"


def moved(after: Path) -> Iterator[str]:
    """The resources of the nested stacks."""
    outer = load(after, {}, REGION).body["Resources"]
    inside = merged(after, CASES[1], REGION)["Resources"].keys() - outer.keys()
    stacks = [name for name, one in outer.items() if one["Type"] == STACK]
    yield f"In the nested stack {', '.join(stacks)}: {', '.join(sorted(inside))}"


def places(body: Body) -> dict[str, Any]:
    """The value at each path, with logical IDs and texts that hold JSON in a form that can be compared."""
    # A function's and the layer's version has a checksum of its properties in its logical ID.
    text = re.sub(r"\b(\w+FunctionVersion|LumendropLayer)[0-9a-f]{10}\b", r"\1", json.dumps(body))
    parts: Body = json.loads(text)
    for one in (*parts["Resources"].values(), *parts["Outputs"].values()):
        one.pop("Condition", None)  # it is decided
        properties = one.get("Properties", {})
        if "DefinitionString" in properties:
            properties["Definition"] = json.loads(_joined(properties.pop("DefinitionString")))
        if "DashboardBody" in properties:
            properties["DashboardBody"] = _dashboard(written(properties["DashboardBody"]))
    return dict(_flat("", parts))


def _joined(definition: Any) -> str:
    separator, lines = definition["Fn::Join"]
    return str(separator.join(lines))


def _dashboard(text: str) -> Any:
    """A dashboard's body, where numbers that are parameters are texts."""
    return json.loads(re.sub(r"(?<![\"\w/.-])(\$\{\w+\})(?=\s*[,}\]])", r'"\1"', text))


def _flat(path: str, part: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(part, dict) and part:
        inner = part.items()
    elif isinstance(part, list) and part:
        inner = {str(number): one for number, one in enumerate(part)}.items()
    else:
        return [(path, part)]
    return [found for name, one in inner for found in _flat(f"{path}.{name}" if path else name, one)]


def reason(one: Difference) -> str | None:
    """Why a difference is intended; None if nothing explains it."""
    reworded = isinstance(one.before, str) and isinstance(one.after, str)
    known = [each for each in EXPLAINED if re.fullmatch(each.path, one.path) and (reworded or not each.wording)]
    return known[0].reason if known else None


def described(one: Difference) -> str:
    return f"{one.path}\n  before: {one.before!r}\n  after:  {one.after!r}\n  reason: {reason(one) or 'NONE'}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
