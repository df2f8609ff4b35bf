"""The check that the newest upload wins: what it accepts and what it rejects."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.chaos.evidence import Evidence, Output
from tests.chaos.promises import newest_upload_wins
from tests.chaos.run import Run, Upload

KEY = "a.jpg"


class Uploaded:
    """Two uploads of one key, `old` and then `new`."""

    uploads = (Upload(KEY, "old"), Upload(KEY, "new"))


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
