"""One sandbox with everything switched on that a production account may ask for."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.e2e.cli", "tests.e2e.pipeline")

from sandbox.cloud import Cloud  # noqa: E402  # after the registration
from sandbox.start import sandbox  # noqa: E402  # after the registration
from tests.e2e.pipeline import Pipeline  # noqa: E402  # after the registration

INPUT, OUTPUT = "their-photos", "their-enhanced-photos"
BOUNDARY = "arn:aws:iam::aws:policy/PowerUserAccess"
PARAMETERS = {
    "Resolution": "1K",
    "ExistingInputBucket": INPUT,
    "ExistingOutputBucket": OUTPUT,
    "PermissionsBoundary": BOUNDARY,
}


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with sandbox(PARAMETERS, prepare=_their_buckets, enhancer_arguments=["--task-seconds", "0.2"]) as running:
        yield Pipeline(running, tmp_path_factory.mktemp("production"))


def _their_buckets(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    for bucket in (INPUT, OUTPUT):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=INPUT, NotificationConfiguration={"EventBridgeConfiguration": {}})


@pytest.fixture(autouse=True)
def _with_sockets(socket_enabled: None) -> None:
    """Sockets are off in tests that don't ask for them; these are on before `pipeline` starts."""
