"""The judge: what it must find broken, and what it must not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.chaos.evidence import Evidence, Output
from tests.chaos.promises import the_newest_wins
from tests.chaos.run import Run, Upload

KEY = "a.jpg"


class Uploaded:
    """Two uploads of one key, `old` and then `new`."""

    uploads = (Upload(KEY, "old"), Upload(KEY, "new"))


def seen(old: str, new: str, *written: str) -> Evidence:
    """How the two uploads ended, and whose photos were written, the first one first."""
    rows: dict[str, Any] = {"old": {"sk": "old", "status": old}, "new": {"sk": "new", "status": new}}
    evidence = Evidence(rows=rows)
    for place, version_id in enumerate(reversed(written)):
        evidence.outputs[version_id].append(Output(KEY, f"output {place}", version_id, place, decodes=True))
    return evidence


@pytest.mark.parametrize(
    "evidence",
    [
        seen("enhanced", "enhanced", "old", "new"),
        seen("superseded", "enhanced", "new"),
        seen("enhanced", "unknown", "old"),
        # The owner stopped the newer one's execution when its photo was delivered.
        seen("superseded", "failed", "new"),
        seen("enhanced", "failed", "old", "new"),
    ],
)
def test_the_newest_won(evidence: Evidence) -> None:
    assert not the_newest_wins(cast(Run, Uploaded), evidence).broken


@pytest.mark.parametrize(
    "evidence",
    [
        seen("enhanced", "enhanced", "new", "old"),
        seen("enhanced", "failed", "new", "old"),
        seen("superseded", "failed"),
        seen("enhanced", "superseded", "old"),
    ],
)
def test_the_newest_did_not_win(evidence: Evidence) -> None:
    assert the_newest_wins(cast(Run, Uploaded), evidence).broken
