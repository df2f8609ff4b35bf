"""The tests of `tests/e2e/test_same_photo.py`, on ministack, and one without copies in the same instant."""

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.e2e.test_same_photo import *
from tests.e2e.test_same_photo import KEY, copied


def test_a_renamed_photo_is_paid_for_once(pipeline: Pipeline) -> None:
    first = pipeline.drop_same(KEY, jpeg(80, 50))
    pipeline.wait([first])
    renamed = copied(pipeline, "same/renamed later.jpg")
    pipeline.wait([renamed])
    assert [len(pipeline.tasks(one)) for one in (first, renamed)] == [1, 0]
    row, result = pipeline.rows()[renamed], pipeline.result(renamed.key)
    assert (row["status"], result.metadata["same-as"]) == ("enhanced", row["same_as"])
    assert result.metadata["source-version-id"] == renamed.version_id
