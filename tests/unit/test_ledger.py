"""The ledger: exactly one of several concurrent runs makes a transition, and the daily counter stays correct."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from lumendrop import ledger as module
from lumendrop.ledger import DailyLimitReached, EarlierAttempt, Ledger, LedgerBusy, PaidTask, PhotoHeld, Row
from lumendrop.outcomes import Outcome
from lumendrop.uploads import Upload
from tests.unit.conftest import Clock
from tests.unit.world import World

UPLOAD = Upload("bucket", "a/photo.jpg", "v1", "01", 10, "etag")
REJECTED = Outcome(status="rejected", code="c", message="m", advice="a", may_have_cost=False)
UNKNOWN = Outcome(status="unknown", code="c", message="m", advice="a", may_have_cost=True)


@pytest.fixture
def ledger(world: World, clock: Clock) -> Ledger:
    return Ledger(world.dynamodb, "ledger", 3, clock)


def upload(n: int) -> Upload:
    return Upload("bucket", f"{n}.jpg", f"v{n}", "01", 10, "etag")


def record(ledger: Ledger, claim: Row, task_id: str = "task-1") -> Row:
    task = PaidTask(
        attempt=claim.attempt,
        task_id=task_id,
        options="{}",
        submitted_at=1,
        deadline=2,
        estimated_seconds=45.5,
        credits=0.12,
    )
    return ledger.record(claim, task, until=0)


def claimed(ledger: Ledger, one: Upload = UPLOAD, previous: Row | None = None) -> Row:
    row, acquired = ledger.claim(one, "{}", 60, previous)
    assert acquired
    return row


def paid(world: World, ledger: Ledger) -> Row:
    """A row whose first task failed for a transient reason, as recorded by the workflow."""
    row = record(ledger, claimed(ledger))
    world.set_status("retrying")
    return msgspec.structs.replace(row, status="retrying")


def found(ledger: Ledger) -> Row:
    """The current row, returned by a claim that is too late."""
    row, acquired = ledger.claim(UPLOAD, "{}", 1)
    assert not acquired
    return row


def test_a_claim_expires_after_its_function_has_ended(ledger: Ledger, clock: Clock) -> None:
    expires = claimed(ledger).claim_expires
    assert expires
    assert clock.now + 60 < expires <= clock.now + 66


def test_rows_are_read_as_they_were_written(ledger: Ledger) -> None:
    claim = claimed(ledger)
    assert found(ledger) == claim
    row = record(ledger, claim)
    assert found(ledger) == row
    assert (row.estimated_seconds, row.credits) == (45.5, 0.12)


def test_each_transition_moves_the_row_in_the_index(world: World, ledger: Ledger, clock: Clock) -> None:
    def indexed() -> list[tuple[str, str]]:
        found = world.dynamodb.scan(TableName="ledger", IndexName="by_day")["Items"]
        return [(item["changed_day"]["S"], item["changed_at"]["S"]) for item in found]

    clock.now = 1_767_225_599.5
    claim = claimed(ledger)
    assert indexed() == [("2025-12-31", "2025-12-31T23:59:59.500Z")]  # neither the counter nor the holder
    clock.now += 1
    record(ledger, claim)
    assert indexed() == [("2026-01-01", "2026-01-01T00:00:00.500Z")]
    world.set_status("retrying")
    again = claimed(ledger, previous=msgspec.structs.replace(found(ledger), status="retrying"))
    clock.now += 1
    ledger.finish_claim(again, UNKNOWN)
    assert indexed() == [("2026-01-01", "2026-01-01T00:00:01.500Z")]


def test_the_next_attempt_lists_those_that_may_have_cost(world: World, ledger: Ledger) -> None:
    second = claimed(ledger, previous=paid(world, ledger))
    unknown = ledger.finish_claim(second, UNKNOWN)
    third = claimed(ledger, previous=unknown)

    assert third.attempt == 3
    assert third.earlier == (EarlierAttempt(1, "task-1", 0.12), EarlierAttempt(2))
    assert found(ledger) == third


def test_an_attempt_that_cost_nothing_is_not_listed(ledger: Ledger) -> None:
    rejected = ledger.finish_claim(claimed(ledger), REJECTED)

    assert claimed(ledger, previous=rejected).earlier == ()


def test_only_one_claim_replaces_a_row(world: World, ledger: Ledger) -> None:
    row = paid(world, ledger)
    second = claimed(ledger, previous=row)
    late, acquired = ledger.claim(UPLOAD, "{}", 60, row)

    assert not acquired
    assert late == second


def test_a_claim_cannot_replace_a_deleted_row(ledger: Ledger) -> None:
    with pytest.raises(LedgerBusy):
        ledger.claim(UPLOAD, "{}", 60, Row(upload=UPLOAD, status="retrying"))


def test_the_daily_counter(world: World, ledger: Ledger, clock: Clock) -> None:
    claims = [claimed(ledger, upload(n)) for n in range(3)]
    with pytest.raises(DailyLimitReached):
        ledger.claim(upload(3), "{}", 60)
    ledger.release(claims[0])
    claimed(ledger, upload(3))
    with pytest.raises(DailyLimitReached):
        ledger.claim(upload(4), "{}", 60)
    ledger.finish_claim(claims[1], REJECTED)
    claimed(ledger, upload(4))
    ledger.finish_claim(claims[2], UNKNOWN)
    with pytest.raises(DailyLimitReached):
        ledger.claim(upload(5), "{}", 60)
    clock.now += 24 * 3600
    claimed(ledger, upload(5))
    assert world.tasks_today() == 4


def test_a_release_decrements_the_counter_of_the_claims_day(world: World, ledger: Ledger, clock: Clock) -> None:
    """A claim just before midnight (UTC), released just after."""
    claim = claimed(ledger)
    clock.now += 24 * 3600
    ledger.release(claim)

    assert world.tasks_today() == 0


def test_a_claim_is_released_once_only(world: World, ledger: Ledger) -> None:
    claim = claimed(ledger)
    ledger.release(claim)
    ledger.release(claim)

    assert (world.rows(), world.tasks_today()) == ([], 0)


def test_a_row_that_has_changed_is_not_released(world: World, ledger: Ledger) -> None:
    claim = claimed(ledger)
    row = record(ledger, claim)
    ledger.release(claim)

    assert found(ledger) == row
    assert world.tasks_today() == 1


Ending = Callable[[Ledger, Row], Any]
ENDINGS: dict[str, Ending] = {
    "record": lambda ledger, claim: record(ledger, claim, "task-late"),
    "reject": lambda ledger, claim: ledger.finish_claim(claim, REJECTED),
    "unknown": lambda ledger, claim: ledger.finish_claim(claim, UNKNOWN),
    "release": lambda ledger, claim: ledger.release(claim),
}


def test_a_task_of_an_expired_claim_is_recorded(world: World, ledger: Ledger) -> None:
    claim = claimed(ledger)
    ledger.finish_claim(claim, UNKNOWN)
    row = record(ledger, claim, "task-late")

    assert (row.status, row.task_id, row.recovered) == ("submitted", "task-late", True)
    assert found(ledger) == row
    assert world.tasks_today() == 1


@pytest.mark.parametrize("ending", ["reject", "unknown", "release"])
def test_an_expired_claim_changes_nothing(world: World, ledger: Ledger, ending: str) -> None:
    claim = claimed(ledger)
    word = ledger.finish_claim(claim, UNKNOWN)
    ENDINGS[ending](ledger, claim)

    assert found(ledger) == word
    assert world.tasks_today() == 1


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_an_old_claim_does_not_change_a_newer_one(world: World, ledger: Ledger, clock: Clock, ending: Ending) -> None:
    old = claimed(ledger)
    ledger.release(old)
    clock.now += 1
    new = claimed(ledger)
    ending(ledger, old)

    assert found(ledger) == new
    assert world.tasks_today() == 1


def test_a_release_restores_the_previous_row(world: World, ledger: Ledger) -> None:
    row = paid(world, ledger)
    ledger.release(claimed(ledger, previous=row), row)

    assert found(ledger) == row
    assert world.tasks_today() == 1


def test_an_older_row_is_found_and_stays_where_it_is(ledger: Ledger) -> None:
    older = Row(upload=UPLOAD, status="claimed", claim_expires=1, has_older_key=True)
    assert older.pk == "upload#a/photo.jpg"
    ledger._put_or_read(older, None)
    assert ledger.read(UPLOAD) == older
    recorded = record(ledger, older)
    assert recorded.has_older_key
    assert ledger.read(UPLOAD) == recorded


def test_the_next_attempt_of_an_older_row_replaces_it(world: World, ledger: Ledger) -> None:
    older = Row(upload=UPLOAD, status="retrying", has_older_key=True)
    ledger._client.put_item(TableName="ledger", Item=module._to_item(older))
    second = claimed(ledger, previous=older)
    assert (second.pk, len(world.rows())) == (older.pk, 1)
    ledger.release(second, older)
    assert ledger.read(UPLOAD) == older


def test_an_older_row_of_another_bucket_does_not_count(ledger: Ledger) -> None:
    older = Row(upload=UPLOAD, status="claimed", claim_expires=1, has_older_key=True)
    ledger._put_or_read(older, None)
    other = msgspec.structs.replace(UPLOAD, bucket="another")
    assert ledger.read(other) is None
    row = claimed(ledger, other)
    assert ledger.read(other) == row
    assert ledger.read(UPLOAD) == older


def test_a_rejection_never_replaces_a_row(ledger: Ledger) -> None:
    row = record(ledger, claimed(ledger))

    assert ledger.reject(UPLOAD, REJECTED) == row
    assert found(ledger) == row


def test_one_of_many_concurrent_claims_succeeds(world: World, ledger: Ledger, one_write_at_a_time: None) -> None:
    together = threading.Barrier(8)
    results: list[tuple[Row, bool]] = []

    def run(seconds: int) -> None:
        together.wait(10)
        results.append(ledger.claim(UPLOAD, "{}", seconds))

    threads = [threading.Thread(target=run, args=(60 + n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(results) == 8
    (winner,) = [row for row, acquired in results if acquired]
    assert {row for row, acquired in results if not acquired} == {winner}
    assert world.tasks_today() == 1


def test_one_of_many_uploads_of_the_same_photo_holds_it(
    world: World, ledger: Ledger, one_write_at_a_time: None
) -> None:
    together = threading.Barrier(8)
    ends: list[bool] = []

    def run(number: int) -> None:
        together.wait(10)
        try:
            ends.append(ledger.claim(upload(number), "{}", 60, photo="photo#bucket#1")[1])
        except PhotoHeld:
            ends.append(False)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(ends) == [False] * 7 + [True]
    found = ledger.read_holder("photo#bucket#1")
    assert found
    assert found[1]
    assert [row["key"] for row in world.rows()] == [found[1].upload.key]
    assert world.tasks_today() == 1


def test_a_holder_that_pays_again_is_not_replaced(world: World, ledger: Ledger) -> None:
    """Another upload saw it failed. Meanwhile, its owner has sent it again."""
    photo = "photo#bucket#1"
    first, _ = ledger.claim(upload(1), "{}", 60, photo=photo)
    world.set_status("failed")
    found = ledger.read_holder(photo)
    assert found
    ledger.claim(upload(1), "{}", 60, msgspec.structs.replace(first, status="failed"), photo)
    with pytest.raises(PhotoHeld):
        ledger.claim(upload(2), "{}", 60, photo=photo, holder=found[0])
    assert world.tasks_today() == 2


class Conflicts:
    """A client whose first transactions conflict with others, so that DynamoDB cancels them."""

    def __init__(self, client: Any, conflicts: int) -> None:
        self._client = client
        self.conflicts = conflicts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **arguments: Any) -> Any:
        if self.conflicts:
            self.conflicts -= 1
            cancelled = self._client.exceptions.TransactionCanceledException
            reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
            raise cancelled({"Error": {}, "CancellationReasons": reasons}, "TransactWriteItems")
        return self._client.transact_write_items(**arguments)


def test_a_conflicting_transaction_is_retried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0)
    ledger = Ledger(Conflicts(world.dynamodb, 7), "ledger", 3)  # type: ignore[arg-type]  # only the calls that are needed
    claimed(ledger)

    assert world.tasks_today() == 1


def test_a_ledger_that_stays_busy_raises_and_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0)
    ledger = Ledger(Conflicts(world.dynamodb, 1000), "ledger", 3)  # type: ignore[arg-type]  # only the calls that are needed
    with pytest.raises(LedgerBusy):
        ledger.claim(UPLOAD, "{}", 60)

    assert (world.rows(), world.tasks_today()) == ([], 0)
