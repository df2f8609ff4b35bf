"""`python -m tests.unit.interruptions`: writes the table of interruptions of `submit` into docs/reliability.md."""

from __future__ import annotations

import itertools
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/reliability.md"
BEGIN, END = "<!-- interruptions -->\n", "<!-- end of interruptions -->\n"

MOMENTS = {
    "read the row": "GetItem object",
    "read the object": "GetObject",
    "read the checksum": "HeadObject",
    "look for the same photo": "GetItem photo",
    "read the rate limit": "GetItem rate_limit",
    "read the API key": "GetSecretValue",
    "claim": "TransactWriteItems",
    "send the POST": "POST",
    "receive the answer": "answered",
    "record": "PutItem",
    "start the workflow": "StartExecution",
    "acknowledge": "end",
}
"""The steps of `submit` for an upload that becomes a task, and the call that each of them makes."""

DEEDS = {
    "deleted": "rejected",
    "archived": "rejected",
    "overwritten": "submitted",
    "sent again": "submitted",
}
"""What happens to the object after the interruption, and how an upload ends that is not claimed yet."""


def pairs() -> list[tuple[str, str]]:
    names = list(MOMENTS)
    return list(itertools.pairwise(names))


def end(pair: tuple[str, str], deed: str) -> str:
    """The status of the upload after its message was delivered again."""
    names = list(MOMENTS)
    if names.index(pair[1]) <= names.index("claim"):
        return DEEDS[deed]
    return "unknown" if names.index(pair[1]) <= names.index("record") else "submitted"


def table() -> str:
    lines = [f"| interrupted between | {' | '.join(DEEDS)} |", "|---" * (len(DEEDS) + 1) + "|"]
    for pair in pairs():
        cells = " | ".join(f"`{end(pair, deed)}`" for deed in DEEDS)
        lines.append(f"| {pair[0]}, {pair[1]} | {cells} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/reliability.md with the current table."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(page())
