"""The ledger: one row for each upload version, with what was paid for.

Every transition is one conditional write, so exactly one of several concurrent runs succeeds. A claim and the daily
counter change in one transaction.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import msgspec
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from lumendrop.aws_errors import error_code, is_transient
from lumendrop.outcomes import Outcome
from lumendrop.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

Status = Literal["claimed", "submitted", "retrying", "enhanced", "failed", "rejected", "superseded", "unknown"]

TRANSITIONS: dict[Status | None, frozenset[Status | None]] = {
    # An upload without a task of its own becomes `enhanced` or `superseded` if the same photo is already enhanced.
    None: frozenset({"claimed", "rejected", "enhanced", "superseded"}),
    # Releasing a claim restores the previous row, or deletes the row.
    "claimed": frozenset({"submitted", "rejected", "unknown", "retrying", "failed", "enhanced", None}),
    "submitted": frozenset({"enhanced", "failed", "superseded", "retrying"}),
    "retrying": frozenset({"claimed", "failed", "enhanced", "superseded"}),
    "failed": frozenset({"claimed", "enhanced", "superseded"}),
    "rejected": frozenset({"claimed", "enhanced", "superseded"}),
    "superseded": frozenset(),
    # A task ID that could not be recorded in time arrives later, with its message.
    "unknown": frozenset({"claimed", "submitted", "enhanced", "superseded"}),
    # Only if the owner wants to pay for another task.
    "enhanced": frozenset({"claimed"}),
}
"""The statuses that can follow each status. None is an upload without a row."""

FINAL: frozenset[Status] = frozenset({"enhanced", "failed", "rejected", "superseded", "unknown"})
"""Processing has ended. Only the owner can send such an upload again."""

IN_PROGRESS: frozenset[Status] = frozenset({"claimed", "submitted", "retrying"})
"""A task was created, or will be, and its result is not delivered."""

RESENDABLE: frozenset[Status] = FINAL - {"enhanced", "superseded"}
"""The owner can send the upload again, which pays for another task. A superseded one could only be superseded again."""

POSSIBLY_CHARGED: frozenset[Status] = frozenset(get_args(Status)) - {"rejected"}
"""The current attempt may have created a task."""

LATE_SECONDS = 3600
"""This long after its deadline, nothing ends an upload any more."""

_CLOCK_SKEW_SECONDS = 5
_NOTE_SECONDS = 30 * 24 * 3600
_TRIES = 8
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_CONTENTION = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})


class DailyLimitReached(Exception):
    """The daily limit is reached, so the upload has to wait for the next day."""


class PhotoHeld(Exception):
    """Another upload has claimed the same photo since it was looked up. Nothing was changed."""


class LedgerBusy(Exception):
    """The ledger can't be written at the moment. Nothing was changed."""


class UnreadableRow(Exception):
    """A row lacks an attribute, or has a wrong one, because somebody edited it. Nothing was changed or paid for.

    A guess could pay twice, so the owner has to repair the row. Until then, the upload is in the dead-letter queue.
    """

    def __init__(self, item: Any, reason: object) -> None:
        row = " ".join(f"{name}={value}" for name in ("pk", "sk") for value in item[name].values())
        super().__init__(
            f"The ledger row {row} can't be read: {reason}. No task is created for it. Repair the row, then run "
            "lumendrop redrive. See docs/operations.md#the-dead-letter-queue."
        )


class EarlierAttempt(msgspec.Struct, frozen=True):
    """An attempt before the current one. Without a `task_id`, it is unknown whether it created a task."""

    attempt: int
    task_id: str | None = None
    credits: float | None = None


class Holder(msgspec.Struct, frozen=True):
    """The attempt of an upload that pays, or has paid, for a photo: the key of its row, and its number."""

    pk: str
    sk: str
    attempt: int


class PaidTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task that was paid for. `attempt` is its number within its upload. Times are in seconds since the epoch."""

    attempt: int
    task_id: str
    options: str
    submitted_at: int
    deadline: int
    estimated_seconds: float | None = None
    credits: float | None = None


class Copy(msgspec.Struct, frozen=True):
    """A copy of an enhanced photo in the output bucket `bucket`, for an upload with these options.

    `same_as` is the correlation ID of the upload that paid for it, with `task_id`.
    """

    bucket: str
    options: str
    same_as: str
    task_id: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The row of one upload version. Times are in seconds since the epoch; `day` is in UTC.

    The function that made a claim has certainly ended by `claim_expires`. `options` is the JSON text that was sent.
    `recovered` is true if the task was recorded after the upload had become unknown. `same_as` is the correlation ID of
    the upload whose task enhanced the same photo. `output` is where the photo is. The workflow writes `finished_at` and
    `report_key`. `other` holds the attributes that have no field here. A row that an earlier version created stays
    where it is, under a key without the bucket: `has_older_key`.
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
    recovered: bool = False
    same_as: str | None = None
    output: dict[str, Any] | None = None
    finished_at: str | None = None
    report_key: str | None = None
    other: tuple[tuple[str, Any], ...] = ()
    has_older_key: bool = False

    @property
    def pk(self) -> str:
        """The bucket and the key of the upload. Names of buckets contain no slash, so this is unambiguous."""
        if self.has_older_key:
            return f"{_OLDER_PREFIX}{self.upload.key}"
        return f"object#{self.upload.bucket}/{self.upload.key}"

    @property
    def sk(self) -> str:
        return self.upload.version_id

    @property
    def is_reported(self) -> bool:
        """Whether the workflow has recorded how the upload ended.

        `submit` records `rejected`, `unknown`, a retry that ends as `failed`, and a photo that is enhanced already,
        before the workflow reports them.
        """
        by_workflow = self.status in ("enhanced", "superseded") and self.same_as is None
        return self.finished_at is not None or by_workflow

    def is_overdue(self, now: float) -> bool:
        """Whether the workflow of a paid task has ended without a trace: it always ends soon after the deadline."""
        return self.status == "submitted" and self.deadline is not None and now > self.deadline + LATE_SECONDS

    def attempts_that_may_have_cost(self) -> tuple[EarlierAttempt, ...]:
        """The attempts so far, without those that certainly created no task."""
        if self.status not in POSSIBLY_CHARGED or self.same_as:
            return self.earlier
        return (*self.earlier, EarlierAttempt(self.attempt, self.task_id, self.credits))

    def may_resubmit(self, resend_after: int, *, retry_ambiguous: bool, pay_again: bool = False) -> bool:
        """Whether another task may be paid for: the last one failed for a transient reason, or the owner asks for it.

        `resend_after` is the attempt after which the owner sends the upload again. It allows one more task, however
        often its message is delivered. With `retry_ambiguous`, the owner accepts one possible second payment. With
        `pay_again`, the owner wants another task although the photo is enhanced.
        """
        if self.status == "unknown" and retry_ambiguous and all(one.task_id for one in self.earlier):
            return True
        if self.status in RESENDABLE or (pay_again and self.status == "enhanced"):
            return resend_after == self.attempt
        return self.status == "retrying"


class _Photo(msgspec.Struct):
    """What `output` needs so that the photo can be reused."""

    bucket: str
    key: str


class _NewPhoto(_Photo):
    """What `output` needs so that the workflow can record it."""

    version_id: str
    bytes: int
    format: str
    pixels: str | None = None


_OLDER_PREFIX = "upload#"
_PHOTO_SK = "holder"
_WRITTEN = frozenset({"pk", "sk", "changed_day", "changed_at"})  # by each transition
_KNOWN = frozenset(Upload.__struct_fields__ + Row.__struct_fields__) - {"upload", "other", "has_older_key"}


def photo_key(bucket: str, content: str, options: str) -> str:
    """The key of the item that names the holder of a photo: its content and its options, in one input bucket."""
    digest = hashlib.sha256("\0".join([content, options]).encode()).hexdigest()
    return f"photo#{bucket}#{digest[:32]}"


def _copy_key(upload: Upload) -> dict[str, Any]:
    return {"pk": {"S": f"copy#{upload.bucket}/{upload.key}"}, "sk": {"S": upload.version_id}}


def _next_attempt(upload: Upload, status: Status, options: str, previous: Row | None) -> Row:
    return Row(
        upload=upload,
        status=status,
        attempt=previous.attempt + 1 if previous else 1,
        options=options,
        earlier=previous.attempts_that_may_have_cost() if previous else (),
        has_older_key=previous.has_older_key if previous else False,
    )


class Ledger:
    """The ledger in the DynamoDB table `table`. Allows at most `daily_limit` claims a day that are not released."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        daily_limit: int,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._daily_limit = daily_limit
        self._now = now
        self._sleep = sleep

    def claim(
        self,
        upload: Upload,
        options: str,
        seconds: float,
        previous: Row | None = None,
        photo: str | None = None,
        holder: Holder | None = None,
        holder_row: Row | None = None,
    ) -> tuple[Row, bool]:
        """Claims an upload, immediately before the payment, for a function that runs for `seconds` at most.

        Returns the row and whether the claim was acquired; otherwise the row is that of another run. The claim replaces
        the row `previous` as its next attempt. With `photo`, it also makes the upload the holder of that photo, in
        place of `holder`, whose row must still be `holder_row`. Raises DailyLimitReached, LedgerBusy, PhotoHeld.
        """
        now = self._now()
        row = msgspec.structs.replace(
            _next_attempt(upload, "claimed", options, previous),
            claim_expires=int(now + seconds) + _CLOCK_SKEW_SECONDS,
            day=datetime.fromtimestamp(now, UTC).date().isoformat(),
        )
        held = [self._hold(photo, row, holder)] if photo else []
        if holder and (holder.pk, holder.sk) != (row.pk, row.sk):
            held.append(self._unchanged(holder, holder_row))
        cancelled = self._transact(self._put(row, previous), self._count(row, 1), *held)
        if cancelled is None:
            return row, True
        if "Item" in cancelled[0]:
            return _current(cancelled[0]["Item"], previous), False
        if cancelled[0].get("Code") == "ConditionalCheckFailed":
            raise LedgerBusy("the row that this claim replaces no longer exists")
        if any(reason.get("Code") == "ConditionalCheckFailed" for reason in cancelled[2:]):
            raise PhotoHeld
        raise DailyLimitReached(f"the daily limit of {self._daily_limit} tasks is reached")

    def release(self, claim: Row, previous: Row | None = None, until: float | None = None) -> None:
        """Undoes a claim that certainly created no task, and decrements the daily counter. Raises LedgerBusy."""
        undo = self._put(previous, claim) if previous else self._delete(claim)
        self._transact(undo, self._count(claim, -1), until=until)

    def read(self, upload: Upload) -> Row | None:
        """The current row of an upload. A row with an older key counts only if it is about the same bucket."""
        row = Row(upload=upload, status="claimed")
        if found := self._read(row):
            return found
        older = self._read(msgspec.structs.replace(row, has_older_key=True))
        return older if older and older.upload.bucket == upload.bucket else None

    def _read(self, row: Row) -> Row | None:
        item = self._item(row.pk, row.sk)
        return _read_item(item) if item else None

    def read_holder(self, photo: str) -> tuple[Holder, Row | None] | None:
        """The upload that pays or has paid for a photo (see `photo_key`), and its row, if that still exists."""
        item = self._item(photo, _PHOTO_SK)
        if item is None:
            return None
        try:
            holder = Holder(item["holder_pk"]["S"], item["holder_sk"]["S"], int(item["attempt"]["N"]))
        except (KeyError, ValueError) as error:
            raise UnreadableRow(item, f"{type(error).__name__} {error}") from None
        found = self._item(holder.pk, holder.sk)
        return holder, _read_item(found) if found else None

    def _item(self, pk: str, sk: str) -> Any:
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        return self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")

    def record(self, claim: Row, task: PaidTask, until: float) -> Row:
        """Records the task of a claim, which becomes `submitted`, and returns the current row. Retries until `until`.

        If the claim has expired and another run has marked the upload as unknown, the task is recorded all the same.
        """
        row = msgspec.structs.replace(
            claim,
            status="submitted",
            task_id=task.task_id,
            options=task.options,
            submitted_at=task.submitted_at,
            deadline=task.deadline,
            estimated_seconds=task.estimated_seconds,
            credits=task.credits,
            outcome=None,
            recovered=claim.status == "unknown",
            finished_at=None,
            report_key=None,
        )
        found = self._retried(lambda: self._put_or_read(row, claim), until)
        if found.status == "unknown" and found.attempt == claim.attempt and claim.status == "claimed":
            return self.record(found, task, until)
        return found

    def finish_claim(self, claim: Row, outcome: Outcome) -> Row:
        """Ends a claim as `rejected` (the daily counter is decremented) or `unknown` (it may have been paid for).

        Returns the current row, which may have been written by another run. Raises LedgerBusy.
        """
        row = msgspec.structs.replace(claim, status=outcome.status, outcome=outcome)
        if outcome.status == "unknown":
            return self._retried(lambda: self._put_or_read(row, claim))
        cancelled = self._transact(self._put(row, claim), self._count(claim, -1))
        return row if cancelled is None else _current(cancelled[0]["Item"], claim)

    def end_retry(self, retrying: Row, outcome: Outcome) -> Row:
        """Ends a retry that can't be sent. Returns the current row, which may have been written by another run."""
        row = msgspec.structs.replace(retrying, status="failed", outcome=outcome)
        return self._retried(lambda: self._put_or_read(row, retrying))

    def announce_copy(self, upload: Upload, copy: Copy) -> None:
        """Names a copy before it is made, so that it is found if the function ends before it records it."""
        item: dict[str, Any] = {"expires_at": {"N": str(int(self._now()) + _NOTE_SECONDS)}} | _copy_key(upload)
        item.update(TypeSerializer().serialize(msgspec.to_builtins(copy))["M"])
        self._retried(lambda: self._client.put_item(TableName=self._table, Item=item))

    def read_copy(self, upload: Upload) -> Copy | None:
        """The copy that was last announced for an upload. It may not exist."""
        key = _copy_key(upload)
        item = self._item(key["pk"]["S"], key["sk"]["S"])
        return msgspec.convert(TypeDeserializer().deserialize({"M": item}), Copy) if item else None

    def record_reuse(
        self, upload: Upload, copy: Copy, ended: dict[str, Any] | Outcome, previous: Row | None = None
    ) -> Row:
        """Ends an upload whose photo another one has paid for, with the output of its copy, or as superseded.

        Returns the current row, which may have been written by another run.
        """
        is_superseded = isinstance(ended, Outcome)
        row = msgspec.structs.replace(
            _next_attempt(upload, "superseded" if is_superseded else "enhanced", copy.options, previous),
            same_as=copy.same_as,
            task_id=copy.task_id,
            output=None if is_superseded else ended,
            outcome=ended if is_superseded else None,
        )
        return self._retried(lambda: self._put_or_read(row, previous))

    def reject(self, upload: Upload, outcome: Outcome) -> Row:
        """Records that an upload without a claim is rejected. Returns the current row, which may be an earlier one."""
        return self._put_or_read(Row(upload=upload, status="rejected", outcome=outcome), None)

    def take_requeue(self, chain: str, requeue_count: int, message_id: str) -> bool:
        """Whether this message may be requeued as number `requeue_count` of its chain of copies.

        SQS can accept a copy without an answer, so a copy can exist several times. The first one to be requeued
        continues the chain; the others are stale. A message that was received again is not stale.
        """
        item = {
            "pk": {"S": f"requeue#{chain}"},
            "sk": {"S": "requeue"},
            "requeue_count": {"N": str(requeue_count)},
            "message_id": {"S": message_id},
            "expires_at": {"N": str(int(self._now()) + _NOTE_SECONDS)},
        }
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression=(
                    "attribute_not_exists(pk) OR requeue_count < :requeue_count "
                    "OR (requeue_count = :requeue_count AND message_id = :message_id)"
                ),
                ExpressionAttributeValues={
                    ":requeue_count": item["requeue_count"],
                    ":message_id": item["message_id"],
                },
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _put_or_read(self, row: Row, previous: Row | None) -> Row:
        try:
            self._client.put_item(**self._put(row, previous)["Put"])
        except ClientError as error:
            found = error.response.get("Item")
            if not isinstance(found, dict):
                raise
            return _current(found, previous)
        return row

    def _put(self, row: Row, previous: Row | None) -> dict[str, Any]:
        """A put that succeeds only if the row in the table is `previous`, or if there is none."""
        before = previous.status if previous else None
        if row.status not in TRANSITIONS[before]:
            raise ValueError(f"no transition from {before} to {row.status}")
        put: dict[str, Any] = {
            "TableName": self._table,
            "Item": _to_item(row) | self._changed(),
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return {"Put": put | (_is(previous) if previous else {})}

    def _changed(self) -> dict[str, Any]:
        """The key in the index `by_day`: day and time of this change in UTC, as JSONata's `$now()` writes them."""
        now = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"changed_day": {"S": now[:10]}, "changed_at": {"S": now}}

    def _hold(self, photo: str, row: Row, holder: Holder | None) -> dict[str, Any]:
        """Makes a row the holder of a photo, unless another upload than `holder` has become that."""
        expected = holder or Holder(row.pk, row.sk, row.attempt)
        return {
            "Put": {
                "TableName": self._table,
                "Item": {
                    "pk": {"S": photo},
                    "sk": {"S": _PHOTO_SK},
                    "holder_pk": {"S": row.pk},
                    "holder_sk": {"S": row.sk},
                    "attempt": {"N": str(row.attempt)},
                },
                "ConditionExpression": (
                    "attribute_not_exists(pk) OR (holder_pk = :own_pk AND holder_sk = :own_sk) "
                    "OR (holder_pk = :pk AND holder_sk = :sk AND attempt = :attempt)"
                ),
                "ExpressionAttributeValues": {
                    ":own_pk": {"S": row.pk},
                    ":own_sk": {"S": row.sk},
                    ":pk": {"S": expected.pk},
                    ":sk": {"S": expected.sk},
                    ":attempt": {"N": str(expected.attempt)},
                },
            }
        }

    def _unchanged(self, holder: Holder, row: Row | None) -> dict[str, Any]:
        """Fails if the holder's row has changed. A claim that was released and repeated has the same attempt."""
        key = {"pk": {"S": holder.pk}, "sk": {"S": holder.sk}}
        condition = _is(row) if row else {"ConditionExpression": "attribute_not_exists(pk)"}
        return {"ConditionCheck": {"TableName": self._table, "Key": key, **condition}}

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

    def _transact(self, *items: Any, until: float | None = None) -> list[dict[str, Any]] | None:
        """Writes all items or none. Returns None on success, or the reason for each item.

        All claims of a day update the same counter. DynamoDB cancels one of two simultaneous transactions, and the SDK
        does not retry the cancelled one. The token makes a transaction whose answer was lost succeed again.
        """
        token = uuid.uuid4().hex

        def write() -> list[dict[str, Any]] | None:
            try:
                self._client.transact_write_items(TransactItems=list(items), ClientRequestToken=token)
            except self._client.exceptions.TransactionCanceledException as error:
                reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]  # boto3-stubs leave the list's items open
                if not any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
                    raise
                return reasons
            return None

        return self._retried(write, until)

    def _retried(self, write: Callable[[], T], until: float | None = None) -> T:
        """Repeats a write that met another one, a throttled table, or no answer: eight times, or until `until`.

        Raises LedgerBusy if that did not help.
        """
        for attempt in itertools.count():
            try:
                return write()
            except (BotoCoreError, ClientError) as error:
                if not _may_succeed_again(error):
                    raise
                pause = random.uniform(0, min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt))  # noqa: S311  # jitter, no secret
                is_last = attempt + 1 >= _TRIES if until is None else self._now() + pause >= until
                if is_last:
                    raise LedgerBusy(f"the ledger could not be written, tried {attempt + 1} times: {error}") from error
                self._sleep(pause)
        raise AssertionError("unreachable")


def _may_succeed_again(error: Exception) -> bool:
    reasons: Any = error.response.get("CancellationReasons", []) if isinstance(error, ClientError) else []
    if reasons:
        return {reason.get("Code", "None") for reason in reasons} - {"None"} <= _CONTENTION
    return is_transient(error)


def _is(row: Row) -> dict[str, Any]:
    """The condition that the row in the table is still `row`. `claim_expires` distinguishes one claim from the next."""
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


def _to_item(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = msgspec.to_builtins(row) | {"status": row.status, "attempt": row.attempt}
    flat |= {"pk": row.pk, "sk": row.sk} | flat.pop("upload")
    other = dict(flat.pop("other", ()))
    flat.pop("has_older_key", None)
    item = TypeSerializer().serialize(_numbers(flat, float, lambda value: Decimal(str(value))))["M"]
    return {**item, **other}


def _from_item(item: Any) -> Row:
    flat = TypeDeserializer().deserialize({"M": {name: one for name, one in item.items() if name in _KNOWN}})
    flat = _numbers(flat, Decimal, lambda value: int(value) if value % 1 == 0 else float(value))
    other = tuple((name, one) for name, one in item.items() if name not in _KNOWN | _WRITTEN)
    is_older = item["pk"]["S"].startswith(_OLDER_PREFIX)
    return msgspec.convert(flat | {"upload": flat, "other": other, "has_older_key": is_older}, Row)


def _read_item(item: Any) -> Row:
    """The row of an item that somebody may have edited. Raises UnreadableRow."""
    try:
        row = _from_item(item)
        _require_complete(row)
        if "attempt" not in item:
            raise msgspec.ValidationError("it has no attempt")
        if (row.pk, row.sk) != (item["pk"]["S"], item["sk"]["S"]):
            raise msgspec.ValidationError("it names another upload than its key")
    except msgspec.MsgspecError as error:
        raise UnreadableRow(item, error) from None
    return row


def _current(item: Any, previous: Row | None) -> Row:
    """The row in place of which `previous` was expected. Raises UnreadableRow if no condition can match that row."""
    row = _read_item(item)
    if row == previous:
        raise UnreadableRow(item, "its status, attempt, or claim_expires can't be compared")
    return row


def _require_complete(row: Row) -> None:
    """Raises MsgspecError if the workflow of a row can't start, or the photo can't be found."""
    msgspec.json.decode(row.options or "{}", type=dict[str, Any])
    is_reported = row.is_reported or row.status not in FINAL
    if row.output is not None:
        msgspec.convert(row.output, _Photo if is_reported else _NewPhoto)
    if row.status == "submitted" and not (row.task_id and row.submitted_at and row.deadline):
        raise msgspec.ValidationError("it has no task_id, submitted_at, or deadline")
    if not is_reported and (row.output if row.status == "enhanced" else row.outcome) is None:
        raise msgspec.ValidationError("it has neither outcome nor output")


def _numbers(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """DynamoDB's types have no float, and JSON has no Decimal."""
    if isinstance(value, dict):
        return {name: _numbers(one, kind, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(one, kind, change) for one in value]
    return change(value) if isinstance(value, kind) else value
