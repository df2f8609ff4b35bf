"""The ledger: what was paid for, one row per upload version.

Every step is one conditional write, so of several runs that race exactly one takes it. A claim and the day's counter
change in one transaction.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from lumendrop.outcomes import Outcome
from lumendrop.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Status = Literal["claimed", "submitted", "retrying", "enhanced", "failed", "rejected", "superseded", "unknown"]

TRANSITIONS: dict[Status | None, frozenset[Status | None]] = {
    None: frozenset({"claimed", "rejected"}),
    # A release makes the row what it was before the claim, or nothing.
    "claimed": frozenset({"submitted", "rejected", "unknown", "retrying", "failed", "superseded", None}),
    "submitted": frozenset({"enhanced", "failed", "superseded", "retrying"}),
    "retrying": frozenset({"claimed", "failed"}),
    "failed": frozenset({"claimed", "enhanced"}),
    "rejected": frozenset({"claimed"}),
    "superseded": frozenset({"claimed"}),
    "unknown": frozenset({"claimed"}),
    "enhanced": frozenset(),
}
"""What may follow each status; None is an upload without a row."""

_CLOCK_SKEW_SECONDS = 5
_CONFLICT_TRIES = 8
_CONFLICT_SECONDS = 0.05


class DailyLimitReached(Exception):
    """The day's tasks are used up; the upload has to wait for the next day."""


class LedgerBusy(Exception):
    """The ledger could not be written for now; nothing was changed."""


class EarlierAttempt(msgspec.Struct, frozen=True):
    """An attempt before the row's present one. Without `task_id`, nobody can tell whether it created a task."""

    attempt: int
    task_id: str | None = None
    credits: float | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the ledger knows of one upload version. Times in seconds since the epoch, `day` in UTC.

    `claim_expires` is when the claimant is certainly dead. `options` is JSON text with what was sent.
    """

    upload: Upload
    status: Status
    attempt: int = 1
    claim_expires: int | None = None
    day: str | None = None
    options: str | None = None
    task_id: str | None = None
    submitted_at: int | None = None
    deadline: int | None = None
    estimated_seconds: float | None = None
    credits: float | None = None
    earlier: tuple[EarlierAttempt, ...] = ()
    outcome: Outcome | None = None

    @property
    def pk(self) -> str:
        return f"upload#{self.upload.key}"

    @property
    def sk(self) -> str:
        return self.upload.version_id

    def attempts_that_may_have_cost(self) -> tuple[EarlierAttempt, ...]:
        """This row's attempts so far, but for those that certainly created no task."""
        if not self.task_id and not (self.outcome and self.outcome.may_have_cost):
            return self.earlier
        return (*self.earlier, EarlierAttempt(self.attempt, self.task_id, self.credits))


class Ledger:
    """The ledger in the DynamoDB table `table`; at most `daily_limit` claims a day that are not released."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        daily_limit: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._table = table
        self._daily_limit = daily_limit
        self._now = now

    def claim(self, upload: Upload, options: str, seconds: float, previous: Row | None = None) -> tuple[Row, bool]:
        """Claims an upload for a claimant that lives `seconds` more, just before it pays.

        Returns the row, and whether it is this claim; if not, it is what another run left. `previous` is a row seen
        before that this claim takes the place of, as the next attempt. Raises DailyLimitReached, LedgerBusy.
        """
        now = self._now()
        row = Row(
            upload=upload,
            status="claimed",
            attempt=previous.attempt + 1 if previous else 1,
            options=options,
            earlier=previous.attempts_that_may_have_cost() if previous else (),
            claim_expires=int(now + seconds) + _CLOCK_SKEW_SECONDS,
            day=datetime.fromtimestamp(now, UTC).date().isoformat(),
        )
        cancelled = self._transact(self._put(row, previous), self._count(row, 1))
        if cancelled is None:
            return row, True
        if "Item" in cancelled[0]:
            return _from_item(cancelled[0]["Item"]), False
        if cancelled[0].get("Code") == "ConditionalCheckFailed":
            raise LedgerBusy("the row this claim was to take the place of is gone")
        raise DailyLimitReached(f"the daily limit of {self._daily_limit} tasks is reached")

    def release(self, claim: Row, previous: Row | None = None) -> None:
        """Takes a claim back after a definite "not created", and gives the day its task back. Raises LedgerBusy."""
        undo = self._put(previous, claim) if previous else self._delete(claim)
        self._transact(undo, self._count(claim, -1))

    def record(
        self,
        claim: Row,
        *,
        task_id: str,
        options: str,
        submitted_at: int,
        deadline: int,
        estimated_seconds: float | None,
        credits: float | None,
    ) -> Row:
        """Writes the task of a claim into its row, now `submitted`; returns the row as it is now.

        That may be another run's word, if it took this claimant for dead.
        """
        row = msgspec.structs.replace(
            claim,
            status="submitted",
            task_id=task_id,
            options=options,
            submitted_at=submitted_at,
            deadline=deadline,
            estimated_seconds=estimated_seconds,
            credits=credits,
        )
        return self._put_or_read(row, claim)

    def finish_claim(self, claim: Row, outcome: Outcome) -> Row:
        """Ends a claim as `rejected` (its task is given back) or `unknown` (it may have been paid for).

        Returns the row as it is now, which may be another run's word. Raises LedgerBusy.
        """
        row = msgspec.structs.replace(claim, status=outcome.status, outcome=outcome)
        if outcome.may_have_cost:
            return self._put_or_read(row, claim)
        cancelled = self._transact(self._put(row, claim), self._count(claim, -1))
        return row if cancelled is None else _from_item(cancelled[0]["Item"])

    def reject(self, upload: Upload, outcome: Outcome) -> Row:
        """Writes that an upload without a claim is rejected; returns the row there is, its own or an earlier one."""
        return self._put_or_read(Row(upload=upload, status="rejected", outcome=outcome), None)

    def is_final(self, upload: Upload) -> bool:
        """Whether an upload has ended and was recorded to have, so that nothing is left to be done about it."""
        row = Row(upload=upload, status="submitted")
        key = {"pk": {"S": row.pk}, "sk": {"S": row.sk}}
        found = self._client.get_item(TableName=self._table, Key=key, ProjectionExpression="finished_at")
        return "Item" in found and "finished_at" in found["Item"]

    def claimant_is_dead(self, row: Row) -> bool:
        """Whether the run that made this claim can no longer be at work."""
        return self._now() >= (row.claim_expires or 0)

    def _put_or_read(self, row: Row, previous: Row | None) -> Row:
        try:
            self._client.put_item(**self._put(row, previous)["Put"])
        except ClientError as error:
            found = error.response.get("Item")
            if not isinstance(found, dict):
                raise
            return _from_item(found)
        return row

    def _put(self, row: Row, previous: Row | None) -> dict[str, Any]:
        """A put that succeeds only if the row in the table is `previous`, or there is none."""
        before = previous.status if previous else None
        if row.status not in TRANSITIONS[before]:
            raise ValueError(f"an upload that is {before} can't become {row.status}")
        put: dict[str, Any] = {
            "TableName": self._table,
            "Item": _to_item(row),
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return {"Put": put | (_is(previous) if previous else {})}

    def _delete(self, row: Row) -> dict[str, Any]:
        key = {"pk": {"S": row.pk}, "sk": {"S": row.sk}}
        return {"Delete": {"TableName": self._table, "Key": key, **_is(row)}}

    def _count(self, row: Row, tasks: int) -> dict[str, Any]:
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": {"pk": {"S": f"day#{row.day}"}, "sk": {"S": "tasks"}},
            "UpdateExpression": "ADD tasks :tasks",
            "ExpressionAttributeValues": {":tasks": {"N": str(tasks)}},
        }
        if tasks > 0:
            update["ConditionExpression"] = "attribute_not_exists(tasks) OR tasks < :limit"
            update["ExpressionAttributeValues"][":limit"] = {"N": str(self._daily_limit)}
        return {"Update": update}

    def _transact(self, *items: Any) -> list[dict[str, Any]] | None:
        """Writes all or nothing; returns None, or why each item was refused.

        All claims of a day meet at its counter. DynamoDB cancels one of two that meet at the same instant, and the
        SDK doesn't repeat such a cancellation by itself.
        """
        for attempt in range(_CONFLICT_TRIES):
            try:
                self._client.transact_write_items(TransactItems=list(items))
            except self._client.exceptions.TransactionCanceledException as error:
                reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]  # boto3-stubs leave the list's items open
                if any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                    return reasons
                time.sleep(random.uniform(0, _CONFLICT_SECONDS * 2**attempt))  # noqa: S311  # jitter, no secret
            else:
                return None
        raise LedgerBusy(f"the ledger's transaction met others {_CONFLICT_TRIES} times in a row")


def _is(row: Row) -> dict[str, Any]:
    """The condition that the row in the table is still `row`; `claim_expires` tells one claim from the next."""
    return {
        "ConditionExpression": (
            "#status = :status AND attempt = :attempt "
            "AND (attribute_not_exists(claim_expires) OR claim_expires = :expires)"
        ),
        "ExpressionAttributeNames": {"#status": "status"},
        "ExpressionAttributeValues": {
            ":status": {"S": row.status},
            ":attempt": {"N": str(row.attempt)},
            ":expires": {"N": str(row.claim_expires or 0)},
        },
    }


def _to_item(row: Row) -> Any:
    flat = msgspec.to_builtins(row) | {"status": row.status, "attempt": row.attempt}
    flat |= {"pk": row.pk, "sk": row.sk} | flat.pop("upload")
    return TypeSerializer().serialize(_numbers(flat, float, lambda value: Decimal(str(value))))["M"]


def _from_item(item: Any) -> Row:
    flat = TypeDeserializer().deserialize({"M": item})
    flat = _numbers(flat, Decimal, lambda value: int(value) if value % 1 == 0 else float(value))
    return msgspec.convert(flat | {"upload": flat}, Row)


def _numbers(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """DynamoDB's types know no float, and JSON no Decimal."""
    if isinstance(value, dict):
        return {name: _numbers(one, kind, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(one, kind, change) for one in value]
    return change(value) if isinstance(value, kind) else value
