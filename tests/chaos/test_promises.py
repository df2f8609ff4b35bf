"""The checks of the ends of uploads, of the newest upload, and of the daily counters: what they accept and reject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from tests.chaos.evidence import Evidence, Output
from tests.chaos.promises import daily_counters_match, every_upload_ends_once, newest_upload_wins
from tests.chaos.run import Run, Upload

KEY = "a.jpg"


class Uploaded:
    """Two uploads of one key, `old` and then `new`."""

    uploads = (Upload(KEY, "old"), Upload(KEY, "new"))
    stopped_executions = 0


def evidence_of(old: str, new: str, *written: str) -> Evidence:
    """The final statuses of the two uploads, and the photos that were written, in order."""
    rows: dict[str, Any] = {"old": {"sk": "old", "status": old}, "new": {"sk": "new", "status": new}}
    evidence = Evidence(rows=rows)
    for newer, version_id in enumerate(reversed(written)):
        evidence.outputs[version_id].append(Output(KEY, f"output {newer}", version_id, newer, decodes=True))
    return evidence


@pytest.mark.parametrize(
    "evidence",
    [
        evidence_of("enhanced", "enhanced", "old", "new"),
        evidence_of("superseded", "enhanced", "new"),
        evidence_of("enhanced", "unknown", "old"),
        # The owner stopped the newer upload's execution after its delivery.
        evidence_of("superseded", "failed", "new"),
        evidence_of("enhanced", "failed", "old", "new"),
    ],
)
def test_the_newest_upload_won(evidence: Evidence) -> None:
    assert not newest_upload_wins(cast(Run, Uploaded), evidence).broken


@pytest.mark.parametrize(
    "evidence",
    [
        evidence_of("enhanced", "enhanced", "new", "old"),
        evidence_of("enhanced", "failed", "new", "old"),
        evidence_of("superseded", "failed"),
        evidence_of("enhanced", "superseded", "old"),
    ],
)
def test_the_newest_upload_did_not_win(evidence: Evidence) -> None:
    assert newest_upload_wins(cast(Run, Uploaded), evidence).broken


def ends(old: str, new: str, *written: str, reports: Sequence[str] = ()) -> list[str]:
    """What is wrong with the ends of the two uploads, if these photos were written and these reports remain."""
    evidence = evidence_of(old, new, *written)
    for version_id, row in evidence.rows.items():
        row |= {"pk": KEY, "finished_at": "now"}
        if version_id in written:
            row["output"] = {"version_id": evidence.outputs[version_id][0].version_id}
    for version_id in reports:
        evidence.reports[version_id].append({"status": evidence.rows[version_id]["status"]})
    return every_upload_ends_once(cast(Run, Uploaded), evidence).broken


@pytest.mark.parametrize(
    "broken",
    [
        ends("enhanced", "enhanced", "old", "new"),
        ends("superseded", "enhanced", "new"),
        ends("failed", "enhanced", "new"),
        ends("failed", "rejected", reports=["old", "new"]),
        ends("enhanced", "failed", "old", reports=["new"]),
        # The owner stopped the execution after its delivery.
        ends("enhanced", "failed", "old", "new"),
    ],
)
def test_each_upload_has_a_photo_or_a_report(broken: list[str]) -> None:
    assert not broken


@pytest.mark.parametrize(
    "broken",
    [
        ends("failed", "rejected", reports=["old"]),
        ends("failed", "rejected", reports=["old", "old", "new"]),
        ends("superseded", "enhanced", "new", reports=["old"]),
        ends("failed", "enhanced", "new", reports=["old"]),
        ends("enhanced", "failed", "old", "new", reports=["new"]),
        ends("superseded", "failed", reports=["new"]),
        ends("enhanced", "failed", "old"),
        ends("enhanced", "claimed", "old"),
        ends("enhanced", "enhanced", "old"),
    ],
)
def test_an_upload_has_neither_photo_nor_report_or_one_too_many(broken: list[str]) -> None:
    assert broken


@pytest.mark.parametrize(
    ("row", "charged"),
    [
        ({"status": "enhanced", "task_id": "t"}, 1),
        ({"status": "enhanced", "task_id": "t", "same_as": "another upload"}, 0),
        ({"status": "unknown", "outcome": {"may_have_cost": True}}, 1),
        ({"status": "rejected", "outcome": {"may_have_cost": False}}, 0),
        # The enhancer refused the second attempt; the first one was charged.
        ({"status": "rejected", "outcome": {"may_have_cost": True}, "earlier": [{"attempt": 1, "task_id": "t"}]}, 1),
    ],
)
def test_the_counters_have_the_attempts_that_may_have_cost(row: dict[str, Any], charged: int) -> None:
    counted = [not daily_counters_match(Evidence(rows={"v": row}, days={"day": count})).broken for count in range(3)]
    assert counted == [count == charged for count in range(3)]
