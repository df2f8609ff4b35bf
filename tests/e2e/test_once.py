"""One upload is paid for once, however often it is announced; of two uploads of one key, the newer wins."""

from typing import NamedTuple

import pytest

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Listener, Pipeline, Upload

COPIES = 10
SLOW_SECONDS = 15  # enough for a newer upload to be dropped and delivered meanwhile, on a busy machine too
LANDSCAPE, PORTRAIT = jpeg(96, 64), jpeg(64, 96)


class Pair(NamedTuple):
    """Two uploads of one key."""

    older: Upload
    newer: Upload


class Dropped(NamedTuple):
    """What was dropped; all of it has ended."""

    crowd: Upload
    late_copy: Upload
    quick: Pair
    older_is_slow: Pair
    newer_is_slow: Pair


@pytest.fixture(scope="module")
def dropped(pipeline: Pipeline, events: Listener) -> Dropped:
    older_is_slow = _drop_two(pipeline, "once/older is slow.jpg", SLOW_SECONDS, 0)
    newer_is_slow = _drop_two(pipeline, "once/newer is slow.jpg", 0, 6)
    quick = Pair(pipeline.drop("once/quick.jpg", LANDSCAPE), pipeline.drop("once/quick.jpg", PORTRAIT))
    late_copy = pipeline.drop("once/late copy.jpg", LANDSCAPE)
    with pipeline.stopped():
        crowd = pipeline.drop("once/crowd.jpg", LANDSCAPE)
        events.repeat(crowd, COPIES)
    pipeline.wait([crowd, late_copy, *quick, *older_is_slow, *newer_is_slow])
    return Dropped(crowd, late_copy, quick, older_is_slow, newer_is_slow)


def _drop_two(pipeline: Pipeline, key: str, *seconds: int) -> Pair:
    """Two uploads of one key, with tasks that last so long at least, submitted in this order."""
    uploads = [
        pipeline.drop_into({"task": [{"seconds": lasting}]}, key, body, "submitted", "enhanced")
        for body, lasting in zip((LANDSCAPE, PORTRAIT), seconds, strict=True)
    ]
    return Pair(*uploads)


def test_eleven_messages_at_a_time_make_one_task(pipeline: Pipeline, dropped: Dropped) -> None:
    def all_taken() -> bool:
        lines = ("upload processed", "upload requeued")
        return sum(len(pipeline.submit_log(dropped.crowd, line)) for line in lines) > COPIES

    pipeline.until(all_taken, "submit has taken all copies", [dropped.crowd])
    pipeline.enhanced(dropped.crowd)


def test_a_message_that_comes_when_all_is_done_changes_nothing(
    pipeline: Pipeline, events: Listener, dropped: Dropped
) -> None:
    upload = dropped.late_copy
    result = pipeline.enhanced(upload)
    events.repeat(upload, 1)
    processed = pipeline.until(
        lambda: pipeline.submit_log(upload, "upload processed")[1:], "submit has taken the copy", [upload]
    )
    assert processed[0]["status"] == "enhanced"
    assert pipeline.enhanced(upload).metadata == result.metadata


def test_of_two_uploads_in_quick_succession_the_newer_wins(pipeline: Pipeline, dropped: Dropped) -> None:
    _newer_has_won(pipeline, dropped.quick)
    assert pipeline.rows()[dropped.quick.older]["status"] in ("enhanced", "superseded")


def test_a_newer_result_replaces_an_older_one(pipeline: Pipeline, dropped: Dropped) -> None:
    _newer_has_won(pipeline, dropped.newer_is_slow)
    assert pipeline.rows()[dropped.newer_is_slow.older]["status"] == "enhanced"


def test_an_older_result_does_not_replace_a_newer_one(pipeline: Pipeline, dropped: Dropped) -> None:
    _newer_has_won(pipeline, dropped.older_is_slow)
    older = dropped.older_is_slow.older
    assert pipeline.rows()[older]["status"] == "superseded"
    report = pipeline.report(older.key)
    assert (report["status"], report["may_have_cost_money"]) == ("superseded", True)
    assert report["upload"]["version_id"] == older.version_id
    assert [one["status"] for one in pipeline.executions()[older]] == ["SUCCEEDED"]


def _newer_has_won(pipeline: Pipeline, pair: Pair) -> None:
    assert pipeline.rows()[pair.newer]["status"] == "enhanced", pipeline.explain(pair.newer)
    assert [len(pipeline.tasks(upload)) for upload in pair] == [1, 1]
    result = pipeline.result(pair.newer.key)
    assert result.metadata["source-version-id"] == pair.newer.version_id
    assert (result.image.width, result.image.height) == (683, 1024)
