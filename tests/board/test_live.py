"""What the page shows: cards from rows and executions, figures, and how often AWS is read."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lumendrop_cli import ledger_index
from lumendrop_cli.board import execution, header, live
from lumendrop_cli.board.card import card
from lumendrop_cli.board.execution import Progress
from lumendrop_cli.board.live import Budget, Feed, Reader
from lumendrop_cli.errors import CliError
from lumendrop_cli.ledger_index import Filter
from tests.board.fakes import FakeStack

PACE = live.Pace(gap=0, changes=0, progress=1000, figures=1000, late=timedelta(seconds=3))


def row(number: int, status: str = "submitted", **more: Any) -> dict[str, Any]:
    changed = datetime(2026, 11, 27, 12, tzinfo=UTC) + timedelta(seconds=number)
    return {
        "pk": f"object#in/{number}.jpg",
        "bucket": "in",
        "key": f"{number}.jpg",
        "version_id": f"v{number}",
        "status": status,
        "attempt": 1,
        "size": 10,
        "changed_at": changed.isoformat(),
        **more,
    }


class Index:
    """The ledger's index: its pages, and the filters that were asked for."""

    def __init__(self) -> None:
        self.pages: list[list[dict[str, Any]]] = []
        self.asked: list[Filter] = []
        self.error: Exception | None = None

    def __call__(self, _: Any, wanted: Filter, limit: int = 0) -> Iterator[list[dict[str, Any]]]:
        assert limit >= 0
        self.asked.append(wanted)
        if self.error:
            raise self.error
        yield from self.pages


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Index:
    found = Index()
    monkeypatch.setattr(ledger_index, "pages", found)
    return found


@pytest.fixture
def reader(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setattr(header, "SOURCES", ())
    return Reader(stack, PACE)  # type: ignore[arg-type]


def read_all(reader: Reader, steps: int = 12) -> dict[str, Any]:
    """All changes of some steps, the last one of each card."""
    cards: dict[str, Any] = {}
    gone: list[str] = []
    for _ in range(steps):
        for job in reader._jobs.values():
            job.due = min(job.due, time.monotonic())
        change = reader.step()
        cards |= {one["name"]: one for one in change.get("cards", [])}
        gone += change.get("gone", [])
    return {"cards": cards, "gone": gone}


def test_a_card_is_sent_when_its_row_changes_and_only_then(reader: Reader, index: Index) -> None:
    index.pages = [[row(1, "claimed")]]
    assert read_all(reader)["cards"]["1.jpg"]["stage"] == "claimed"
    assert read_all(reader)["cards"] == {}
    index.pages = [[row(2, "enhanced") | {"key": "1.jpg", "version_id": "v1"}]]
    assert read_all(reader)["cards"]["1.jpg"]["stage"] == "enhanced"
    index.pages = [[row(1, "claimed")]]  # a late read of the index
    assert read_all(reader)["cards"] == {}


def test_later_reads_begin_shortly_before_the_newest_change(reader: Reader, index: Index) -> None:
    newest = datetime.now(UTC) + timedelta(seconds=30)
    index.pages = [[row(1, changed_at=newest.isoformat())]]
    read_all(reader)
    assert index.asked[-1].since == newest - PACE.late


def test_at_most_200_cards_are_shown_those_in_progress_first(reader: Reader, index: Index) -> None:
    index.pages = [[row(number, "enhanced") for number in range(1, 400)], [row(0, "submitted")]]
    cards = read_all(reader)["cards"]
    assert (len(reader.cards), "0.jpg" in cards, "399.jpg" in cards) == (200, True, True)
    index.pages = [[row(500, "enhanced")]]
    assert len(read_all(reader)["gone"]) == 1


def test_an_error_of_aws_is_shown_and_disappears(reader: Reader, index: Index) -> None:
    index.error = CliError("The ledger has no index.")
    read_all(reader, 1)
    assert reader.figures["problem"] == "The ledger has no index."
    index.error = None
    read_all(reader)
    assert reader.figures["problem"] is None


def test_a_claim_that_was_undone_disappears(reader: Reader, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.pages = [[row(1, "claimed")]]
    read_all(reader)
    index.pages = []
    monkeypatch.setattr(live.ledger, "row_of", lambda *_: None)
    monkeypatch.setattr(live, "_CLAIM_SECONDS", 0)
    assert read_all(reader)["gone"]


def event(number: int, kind: str, **details: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "timestamp": datetime.fromtimestamp(1000 + number, UTC), **details}


def entered(number: int, name: str, kind: str = "Task") -> dict[str, Any]:
    return event(number, f"{kind}StateEntered", stateEnteredEventDetails={"name": name})


def polled(number: int, progress: float | None) -> dict[str, Any]:
    output = json.dumps({"Payload": {"polls": 3, "progress": progress, "state": "waiting"}})
    return event(number, "TaskSucceeded", taskSucceededEventDetails={"output": output})


def test_the_stage_of_an_execution() -> None:
    assert execution.progress_of([]) is None
    assert execution.progress_of([entered(1, "WaitForTask", "Wait")]) == Progress("waiting")
    assert execution.progress_of([entered(1, "CheckStatus")]) == Progress("enhancing")
    events = [entered(1, "CheckStatus"), polled(2, 40.0), entered(3, "WaitForTask", "Wait")]
    assert execution.progress_of(events) == execution.progress_of(events[::-1]) == Progress("enhancing", 40.0, 3)
    assert execution.progress_of([*events, entered(4, "Deliver")]).stage == "delivering"  # type: ignore[union-attr]
    assert execution.progress_of([*events, entered(5, "WriteReport")]).stage == "reporting"  # type: ignore[union-attr]


def test_no_percentage_is_made_up() -> None:
    for progress in (None, 0, 100):
        assert execution.progress_of([entered(1, "CheckStatus"), polled(2, progress)]).percent is None  # type: ignore[union-attr]


def test_the_path_has_each_state_with_its_times_and_error() -> None:
    exited = event(2, "ChoiceStateExited")
    failed = event(4, "TaskFailed", taskFailedEventDetails={"error": "Lambda\x1b.Unknown"})
    found = execution.steps(iter([entered(1, "RouteInput", "Choice"), exited, entered(3, "Deliver"), failed]))
    assert [(one["name"], one["type"], one["entered"], one["left"]) for one in found] == [
        ("RouteInput", "Choice", 1001.0, 1002.0),
        ("Deliver", "Task", 1003.0, None),
    ]
    assert found[1]["error"] == "Lambda\\x1b.Unknown"


def test_a_card_has_no_raw_text_that_a_person_sees() -> None:
    hostile = "\u202e\x1b[2J<img>"
    outcome = {"code": "not_an_image", "message": hostile, "advice": hostile, "may_have_cost": False}
    shown = card(row(1, "rejected", key=hostile, options=json.dumps({hostile: hostile}), outcome=outcome))
    texts = [shown["name"], shown["message"], shown["advice"], *shown["options"], *shown["options"].values()]
    assert set(texts) == {"\\u202e\\x1b[2J<img>"}
    assert shown["actions"] == []
    assert card(row(1, options="not json"))["options"] == {}


@pytest.mark.parametrize(
    ("stated", "output", "shown"),
    [
        ("384x256", {"pixels": "683x1024", "warnings": []}, "256x384"),
        ("384x256", {"pixels": "1024x683"}, "384x256"),
        ("384x256", {"pixels": "683x1024", "warnings": ["aspect_ratio_changed"]}, "384x256"),
        ("384x256", {"pixels": "1024x1024", "warnings": []}, "384x256"),
        ("384x256", {"pixels": None}, "384x256"),
        ("384x256", None, "384x256"),
        ("256x256", {"pixels": "683x1024"}, "256x256"),
        (None, {"pixels": "683x1024"}, None),
        (5, {"pixels": ["683x1024"], "warnings": 1}, None),
        ("<b>x1", {"pixels": "683x1024"}, None),
    ],
)
def test_a_rotated_photo_has_the_size_that_is_shown(stated: Any, output: Any, shown: str | None) -> None:
    output = output and {"key": "1.jpg", "bytes": 1, **output}
    assert card(row(1, "enhanced", pixels=stated, output=output))["pixels"] == shown


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("content_policy_violation", ["retry"]),
        ("unknown_error", ["retry"]),
        ("deadline_passed", ["retry", "fetch"]),
        ("result_refused", ["retry", "fetch"]),
        (None, ["retry", "fetch"]),
    ],
)
def test_a_result_is_offered_only_where_there_may_be_one(code: str | None, expected: list[str]) -> None:
    outcome = {"outcome": {"code": code}} if code else {}
    assert card(row(1, "failed", task_id="t", **outcome))["actions"] == expected


@pytest.mark.parametrize(
    ("cause", "shown"),
    [
        ("The task failed.\nAsk the vendor.", None),
        ("States.Timeout:\n  after 60 s", "States.Timeout: after 60 s"),
        ("\x1b[31m", "\\x1b[31m"),
        (None, None),
    ],
)
def test_the_cause_of_an_execution_does_not_repeat_the_outcome(
    stack: FakeStack, cause: str | None, shown: str | None
) -> None:
    started = datetime(2026, 11, 28, tzinfo=UTC)
    described = {"status": "FAILED", "startDate": started, "stopDate": started, "error": "task_failed"}
    stack.client("stepfunctions").describe_execution.return_value = described | ({"cause": cause} if cause else {})
    stack.client("stepfunctions").get_paginator.return_value.paginate.return_value = []
    outcome = {"code": "task_failed", "message": "The task failed.", "advice": "Ask the vendor."}
    found = execution.path(stack, row(1, "failed", outcome=outcome))  # type: ignore[arg-type]
    assert (found["error"], found["cause"]) == ("task_failed", shown)


@pytest.mark.parametrize("is_sandbox", [True, False])
def test_alarms_are_evaluated_only_on_aws(stack: FakeStack, is_sandbox: bool) -> None:
    stack.is_sandbox = is_sandbox
    assert header.alarms(stack)["evaluated"] is not is_sandbox  # type: ignore[arg-type]


def test_the_rate_in_words() -> None:
    state = {"since": 1000.0, "next_at": 1010.0, "interval": 2.0, "in_outage": 0.0}
    assert header.describe_rate(None, 0)["state"] == "full"
    assert header.describe_rate(state, 1700)["state"] == "full"
    assert header.describe_rate(state, 990) == {"state": "refused", "per_minute": None, "until": 1000.0}
    assert header.describe_rate(state, 1000)["per_minute"] == 30
    assert header.describe_rate(state | {"in_outage": 1.0}, 5000)["state"] == "outage"


def test_reads_take_turns() -> None:
    async def turns() -> float:
        budget = Budget(0.02)
        started = time.monotonic()
        await asyncio.gather(*(budget.turn() for _ in range(6)))
        return time.monotonic() - started

    assert asyncio.run(turns()) >= 5 * 0.02
    assert live.ON_AWS.gap >= 1


def test_nothing_is_read_without_a_page(reader: Reader, index: Index) -> None:
    async def visit() -> int:
        feed = Feed(reader, Budget(0.001))
        events = feed.events()
        assert (await anext(events)).startswith("event: snapshot\n")
        await asyncio.sleep(0.05)
        await events.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        before = len(index.asked)
        await asyncio.sleep(0.1)
        return len(index.asked) - before

    index.pages = [[row(1)]]
    assert asyncio.run(visit()) == 0
    assert index.asked
