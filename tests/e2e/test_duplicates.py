"""An upload is paid for once despite duplicate events; of two uploads of a key, the newer wins."""

from typing import NamedTuple

import pytest

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import EventRecorder, Pipeline, Upload

COPIES = 10
SLOW_SECONDS = 15  # long enough for a newer upload to be delivered meanwhile, even on a busy machine
LANDSCAPE, PORTRAIT = jpeg(96, 64), jpeg(64, 96)


class Pair(NamedTuple):
    """Two uploads of one key."""

    older: Upload
    newer: Upload


class Dropped(NamedTuple):
    """The uploads, after their ends."""

    duplicated: Upload
    late_duplicate: Upload
    quick: Pair
    older_is_slow: Pair
    newer_is_slow: Pair


@pytest.fixture(scope="module")
def dropped(pipeline: Pipeline, events: EventRecorder) -> Dropped:
    older_is_slow = _drop_two(pipeline, "once/older is slow.jpg", SLOW_SECONDS, 0)
    newer_is_slow = _drop_two(pipeline, "once/newer is slow.jpg", 0, 6)
    quick = Pair(pipeline.drop("once/quick.jpg", LANDSCAPE), pipeline.drop("once/quick.jpg", PORTRAIT))
    late_duplicate = pipeline.drop("once/late duplicate.jpg", LANDSCAPE)
    with pipeline.event_source_disabled():
        duplicated = pipeline.drop("once/duplicated.jpg", LANDSCAPE)
        events.repeat(duplicated, COPIES)
    pipeline.wait([duplicated, late_duplicate, *quick, *older_is_slow, *newer_is_slow])
    return Dropped(duplicated, late_duplicate, quick, older_is_slow, newer_is_slow)


def _drop_two(pipeline: Pipeline, key: str, *seconds: int) -> Pair:
    """Two uploads of one key in this order, with tasks of these minimum durations."""
    uploads = [
        pipeline.drop_with_faults({"task": [{"seconds": duration}]}, key, body, "submitted", "enhanced")
        for body, duration in zip((LANDSCAPE, PORTRAIT), seconds, strict=True)
    ]
    return Pair(*uploads)


def test_eleven_concurrent_messages_create_one_task(pipeline: Pipeline, dropped: Dropped) -> None:
    def all_processed() -> bool:
        lines = ("upload processed", "upload requeued", "upload skipped")
        return sum(len(pipeline.submit_log(dropped.duplicated, line)) for line in lines) > COPIES

    pipeline.wait_until(all_processed, "submit has processed all duplicates", [dropped.duplicated])
    pipeline.enhanced(dropped.duplicated)


def test_a_duplicate_after_the_end_changes_nothing(pipeline: Pipeline, events: EventRecorder, dropped: Dropped) -> None:
    upload = dropped.late_duplicate
    result = pipeline.enhanced(upload)
    events.repeat(upload, 1)
    skipped = pipeline.wait_until(
        lambda: pipeline.submit_log(upload, "upload skipped"), "submit has processed the duplicate", [upload]
    )
    assert [line["reason"] for line in skipped] == ["already ended"]
    assert pipeline.enhanced(upload).metadata == result.metadata


def test_the_newer_of_two_uploads_in_quick_succession_wins(pipeline: Pipeline, dropped: Dropped) -> None:
    _assert_newer_won(pipeline, dropped.quick)
    assert pipeline.rows()[dropped.quick.older]["status"] in ("enhanced", "superseded")


def test_a_newer_result_replaces_an_older_one(pipeline: Pipeline, dropped: Dropped) -> None:
    _assert_newer_won(pipeline, dropped.newer_is_slow)
    assert pipeline.rows()[dropped.newer_is_slow.older]["status"] == "enhanced"


def test_an_older_result_does_not_replace_a_newer_one(pipeline: Pipeline, dropped: Dropped) -> None:
    _assert_newer_won(pipeline, dropped.older_is_slow)
    older = dropped.older_is_slow.older
    row = pipeline.rows()[older]
    assert (row["status"], row["report_key"]) == ("superseded", None)
    assert row["outcome"]["may_have_cost"] is True
    assert pipeline.keys(f"errors/{older.key}") == []
    assert [one["status"] for one in pipeline.executions()[older]] == ["SUCCEEDED"]


def _assert_newer_won(pipeline: Pipeline, pair: Pair) -> None:
    assert pipeline.rows()[pair.newer]["status"] == "enhanced", pipeline.explain(pair.newer)
    assert [len(pipeline.tasks(upload)) for upload in pair] == [1, 1]
    result = pipeline.result(pair.newer.key)
    assert result.metadata["source-version-id"] == pair.newer.version_id
    assert (result.image.width, result.image.height) == (683, 1024)
