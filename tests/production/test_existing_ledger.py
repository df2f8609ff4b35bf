"""The stack uses the ledger that an earlier stack left behind, so nothing is paid for again."""

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.production.conftest import LEDGER


def test_the_stack_creates_no_table(pipeline: Pipeline) -> None:
    assert pipeline.cloud.client("dynamodb").list_tables()["TableNames"] == [LEDGER]
    assert pipeline.outputs["LedgerTableName"] == LEDGER


def test_a_photo_with_a_row_in_the_earlier_ledger_is_not_paid_for_again(versioned: Pipeline) -> None:
    upload = versioned.drop("ledger/photo.jpg", jpeg())
    versioned.wait([upload])
    assert versioned.rows()[upload]["status"] == "enhanced"
    assert versioned.backfill(upload.key)["status"] == "SUCCEEDED"
    queue = {"QueueUrl": versioned.outputs["UploadQueueUrl"]}
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    sqs = versioned.cloud.client("sqs")
    versioned.wait_until(
        lambda: set(sqs.get_queue_attributes(**queue, AttributeNames=names)["Attributes"].values()) == {"0"},
        "the upload queue is empty",
    )
    assert len(versioned.tasks(upload)) == 1
