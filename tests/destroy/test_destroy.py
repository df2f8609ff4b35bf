"""The stack goes when its owner says so, and the photos only when told."""

from collections.abc import Iterator

import pytest

from sandbox.aws.cloud import Cloud
from sandbox.demo.start import ROOT, STACK
from tests.cli.owner import Lumendrop

pytestmark = pytest.mark.usefixtures("socket_enabled")


@pytest.fixture
def cloud(socket_enabled: None) -> Iterator[Cloud]:
    """A stack with three object versions in its input bucket (one a delete marker) and one in its output bucket."""
    with Cloud(ROOT / "template.yaml", STACK) as opened:
        s3, bucket = opened.client("s3"), opened.outputs["InputBucketName"]
        opened.client("events").disable_rule(Name=opened.resources["UploadRule"])
        for body in (b"one", b"two"):
            s3.put_object(Bucket=bucket, Key="a photo.jpg", Body=body)
        s3.delete_object(Bucket=bucket, Key="a photo.jpg")
        s3.put_object(Bucket=opened.outputs["OutputBucketName"], Key="a photo.jpg", Body=b"better")
        yield opened


def buckets(cloud: Cloud) -> set[str]:
    return {one["Name"] for one in cloud.client("s3").list_buckets()["Buckets"]}


def stacks(cloud: Cloud) -> list[str]:
    return [one["StackStatus"] for one in cloud.client("cloudformation").describe_stacks()["Stacks"]]


def test_the_way_of_a_stack(cloud: Cloud) -> None:
    lumendrop, own = Lumendrop(cloud.endpoint), {cloud.outputs["InputBucketName"], cloud.outputs["OutputBucketName"]}
    for arguments, answer in ((("destroy",), ""), (("destroy", "--delete-photos"), "n\n")):
        refused = lumendrop(*arguments, stdin=answer)
        assert refused.code == 1
        assert "3 object versions in" in refused.err
        assert ("DELETED with it" in refused.err) is (len(arguments) == 2)
        assert stacks(cloud) == ["CREATE_COMPLETE"]
        assert buckets(cloud) == own

    done = lumendrop("--json", "destroy", "--delete-photos", "--yes")
    assert done.code == 0, done.err
    assert sorted(done.json["photos"].values()) == [1, 3]
    assert done.json["kept"] == [cloud.resources["LedgerTable"]]
    assert stacks(cloud) == []
    assert buckets(cloud) == set()
    assert lumendrop("destroy", "--yes").code == 3
