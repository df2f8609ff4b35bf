"""How an upload ends without an enhanced photo, in words for people."""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["rejected", "failed", "superseded", "unknown"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no enhanced photo; becomes the report, the event and the ledger's last word.

    `message` says what happened and `advice` what to do, a sentence or two each; `may_have_cost` is False only
    when certainly no task was paid for.
    """

    status: Status
    code: str
    message: str
    advice: str
    may_have_cost: bool


class Rejected(Exception):
    """The upload can't be enhanced and nothing was paid for; `outcome` says why."""

    def __init__(self, code: str, message: str, advice: str) -> None:
        super().__init__(f"{code}: {message}")
        self.outcome = Outcome(status="rejected", code=code, message=message, advice=advice, may_have_cost=False)
