"""`lumendrop list` and `lumendrop spend` read the ledger's index by day."""

import csv
import io
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError

from lumendrop_cli import ledger_index, spend
from lumendrop_cli.errors import CliError
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.times import parse_since
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload

FAILED_TASK = {"end": "failed", "code": "image_processing_error", "seconds": 0}


@pytest.fixture(scope="module")
def uploads(pipeline: Pipeline) -> dict[str, Upload]:
    """An enhanced photo, a copy of it, a failed, and a rejected one."""
    photo = jpeg()
    enhanced = pipeline.drop_same("in/list/a/one.jpg", photo)
    pipeline.wait([enhanced])
    pipeline.plan(task=[FAILED_TASK])
    failed = pipeline.drop("in/list/b/failed.jpg", jpeg())
    pipeline.wait([failed])
    copy, note = pipeline.drop_same("in/list/a/=copy.jpg", photo), pipeline.drop("in/list/note.jpg", b"Dear diary")
    pipeline.wait([copy, note])
    return {"enhanced": enhanced, "failed": failed, "copy": copy, "rejected": note}


def _keys(found: Any) -> list[str]:
    return [row["key"] for row in found["rows"]]


def test_list_shows_the_last_change_first(lumendrop: Lumendrop, uploads: dict[str, Upload]) -> None:
    rows = lumendrop.ok("list", "--prefix", "in/list/")["rows"]
    assert {row["key"] for row in rows} == {upload.key for upload in uploads.values()}
    changed = [row["changed_at"] for row in rows]
    assert changed == sorted(changed, reverse=True)
    assert {row["changed_day"] for row in rows} == {one[:10] for one in changed}
    shown = lumendrop("list", "--prefix", "in/list/").out
    assert "failed      in/list/b/failed.jpg  image_processing_error\n" in shown
    assert "enhanced    in/list/a/=copy.jpg  same photo\n" in shown
    assert lumendrop("list", "--prefix", "in/list/", "--limit", "1").out.count("\n") == 2


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--status", "failed"), {"failed"}),
        (("--status", "failed", "--status", "rejected"), {"failed", "rejected"}),
        (("--since", "1h"), {"enhanced", "failed", "copy", "rejected"}),
        (("--since", "2099-01-01"), set()),
        (("--key-contains", "/a/"), {"enhanced", "copy"}),
    ],
)
def test_list_selects(
    lumendrop: Lumendrop, uploads: dict[str, Upload], options: tuple[str, ...], found: set[str]
) -> None:
    listed = lumendrop.ok("list", "--prefix", "in/list/", *options)
    assert set(_keys(listed)) == {uploads[name].key for name in found}


def test_list_prints_csv(lumendrop: Lumendrop, uploads: dict[str, Upload]) -> None:
    records = list(csv.DictReader(io.StringIO(lumendrop("list", "--prefix", "in/list/", "--csv").out)))
    by_key = {one["key"]: one for one in records}
    assert set(by_key) == {upload.key for upload in uploads.values()}
    assert by_key[uploads["failed"].key]["code"] == "image_processing_error"
    assert by_key[uploads["enhanced"].key]["output"].endswith("/in/list/a/one.jpg")


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--status", "lost"),
        ("list", "--since", "yesterday"),
        ("list", "--csv", "--follow"),
        ("--json", "list", "--csv"),
        ("--json", "spend", "--csv"),
        ("spend", "--by", "camera"),
        ("list", "--limit", "0"),
        ("list", "--limit", "9" * 20),
        ("list", "--since", "999999d"),
        ("list", "--since", "0001-01-01T00:00:00+23:00"),
        ("list", "--since", "9999-12-31T23:00:00-23:00"),
        ("fetch", "a.jpg", "--timeout", "9" * 400),
    ],
)
def test_invalid_usage(lumendrop: Lumendrop, arguments: tuple[str, ...]) -> None:
    assert lumendrop(*arguments).code == 2


def test_follow_prints_each_change_once(
    lumendrop: Lumendrop, pipeline: Pipeline, uploads: dict[str, Upload], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = itertools.count()

    def sleep(_: float) -> None:
        if (number := next(rounds)) == 0:
            pipeline.wait([pipeline.drop("in/list/follow.jpg", b"Dear diary")])
        elif number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("lumendrop_cli.list.time", SimpleNamespace(sleep=sleep))
    result = lumendrop("list", "--prefix", "in/list/", "--follow")
    assert result.code == 130
    assert result.out.count("in/list/follow.jpg") == 1
    assert result.out.count("in/list/b/failed.jpg") == 1


def test_spend_adds_up(lumendrop: Lumendrop, uploads: dict[str, Upload]) -> None:
    found = lumendrop.ok("spend", "--prefix", "in/list/", "--by", "folder")
    groups = {one["folder"]: one for one in found["groups"]}
    assert [groups["in/list/a/"][name] for name in ("tasks", "enhanced", "reused")] == [1, 2, 1]
    assert groups["in/list/a/"]["usd_saved"] == 0.12
    assert (groups["in/list/b/"]["without_photo"], groups["in/list/b/"]["usd_without_photo"]) == (1, 0.12)
    assert groups["in/list/"]["tasks"] == 0
    assert (found["total"]["tasks"], found["total"]["usd"]) == (2, 0.24)
    today = datetime.now(UTC).date().isoformat()
    assert today in [one["day"] for one in lumendrop.ok("spend", "--prefix", "in/list/")["groups"]]
    by_outcome = lumendrop.ok("spend", "--prefix", "in/list/", "--by", "outcome")["groups"]
    assert {"failed image_processing_error", "enhanced"} <= {one["outcome"] for one in by_outcome}
    assert "resolution=1K" in lumendrop("spend", "--prefix", "in/list/", "--by", "options").out
    shown = lumendrop("spend", "--prefix", "in/list/", "--csv").out.splitlines()
    assert shown[0].startswith("day,tasks,unknown,credits,usd")


def test_spend_leaves_out_attempts_from_before_the_period() -> None:
    since = datetime(2026, 11, 20, tzinfo=UTC)
    earlier = [{"attempt": 1, "task_id": "a"}, {"attempt": 2}]
    row = {"status": "enhanced", "task_id": "b", "earlier": earlier, "submitted_at": since.timestamp() + 1}
    counted = spend.Spend()
    counted.add(row | {"time": "2026-11-01T00:00:00Z"}, since, (0.12, 0.15))
    assert (counted.tasks, counted.unknown, counted.without_photo) == (1, 0, 0)
    counted.add(row | {"time": "2026-11-20T00:00:00Z"}, since, (0.12, 0.15))
    assert (counted.tasks, counted.unknown, counted.without_photo, round(counted.usd, 2)) == (3, 1, 1, 0.36)
    counted.add(row | {"submitted_at": 0, "time": ""}, since, (0.12, 0.15))
    assert counted.tasks == 3


class _Ledger:
    """A ledger of a million rows, as a client sees it: `days` full days with `per_day` rows each."""

    def __init__(self, days: int, per_day: int) -> None:
        self.days, self.per_day, self.read = days, per_day, 0
        row = {"pk": "object#b/k/photo.jpg", "sk": "v", "bucket": "b", "key": "k/photo.jpg", "status": "enhanced"}
        row |= {"changed_at": "2026-11-27T00:00:00.000Z", "task_id": "t", "options": '{"resolution":"4K"}'}
        self.item = TypeSerializer().serialize(row)["M"]

    def describe_table(self, **_: Any) -> Any:
        return {"Table": {"CreationDateTime": datetime.now(UTC) - timedelta(days=100)}}

    def get_paginator(self, _: str) -> "_Ledger":
        return self

    def paginate(self, *, ExpressionAttributeValues: Any, PaginationConfig: Any, **_: Any) -> Iterator[Any]:  # noqa: N803
        day = datetime.fromisoformat(ExpressionAttributeValues[":day"]["S"]).replace(tzinfo=UTC)
        if not timedelta() <= datetime.now(UTC) - day < timedelta(days=self.days):
            yield {"Items": []}
            return
        size = PaginationConfig["PageSize"]
        for _ in range(0, self.per_day, size):
            self.read += size
            yield {"Items": [self.item] * size}


def _stack(client: Any) -> Any:
    return SimpleNamespace(output=lambda _: "b", client=lambda _: client, parameters={})


def test_the_first_page_of_a_million_rows_reads_only_what_it_shows() -> None:
    client = _Ledger(days=10, per_day=100_000)
    wanted = Filter(since=datetime.now(UTC) - timedelta(days=10))
    first = next(page for page in ledger_index.pages(_stack(client), wanted, limit=50) if page)
    assert (len(first), client.read) == (50, 50)


@pytest.mark.parametrize("since", ["2000-01-01", "0001-01-01", None])
def test_no_day_before_the_ledgers_creation_is_read(since: str | None) -> None:
    days: list[str] = []
    created = {"Table": {"CreationDateTime": datetime.now(UTC) - timedelta(days=3)}}

    def paginate(*, ExpressionAttributeValues: Any, **_: Any) -> Iterator[Any]:  # noqa: N803
        days.append(ExpressionAttributeValues[":day"]["S"])
        yield {"Items": []}

    client = SimpleNamespace(
        describe_table=lambda **_: created, get_paginator=lambda _: SimpleNamespace(paginate=paginate)
    )
    assert list(ledger_index.rows(_stack(client), Filter(since=parse_since(since)))) == []
    assert 4 <= len(days) <= 5  # the day after today is read within minutes of midnight


def test_a_months_spend_keeps_only_its_groups() -> None:
    client = _Ledger(days=20, per_day=2_000)
    shown: list[str] = []
    wanted = Filter(since=datetime.now(UTC) - timedelta(days=30))
    groups, total = spend._spend(_stack(client), wanted, lambda row: row["key"], shown.append)
    assert (list(groups), total.tasks, len(set(shown)) >= 40) == (["k/photo.jpg"], 40_000, True)


@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        ("ValidationException", "The table does not have the specified index: by_day", "has no index"),
        ("ValidationException", "Cannot read from backfilling global secondary index: by_day", "in a few minutes"),
    ],
)
def test_a_ledger_without_the_index_is_explained(code: str, message: str, advice: str) -> None:
    def paginate(**_: Any) -> Iterator[Any]:
        raise ClientError({"Error": {"Code": code, "Message": message}}, "Query")
        yield

    client = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=paginate))
    with pytest.raises(CliError, match=advice):
        next(ledger_index.pages(_stack(client), Filter(since=datetime.now(UTC))))
