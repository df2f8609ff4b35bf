"""One sandbox for all tests of this directory, and the command line that looks after it."""

from collections.abc import Callable, Iterator

import pytest

pytest.register_assert_rewrite("tests.cli.owner", "tests.e2e.cli", "tests.e2e.pipeline")

from sandbox.demo.start import sandbox  # noqa: E402  # after the registration
from tests.cli.owner import Lumendrop  # noqa: E402  # after the registration
from tests.e2e.pipeline import Pipeline, Upload  # noqa: E402  # after the registration


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The whole system in real time, with small results and short tasks."""
    parameters = {"Resolution": "1K", "InputPrefix": "in/"}
    with sandbox(parameters, enhancer_arguments=["--task-seconds", "0.2"]) as running:
        yield Pipeline(running, tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="package")
def lumendrop(pipeline: Pipeline) -> Lumendrop:
    """`lumendrop`, as its owner types it."""
    return Lumendrop(pipeline.cloud.endpoint)


@pytest.fixture(scope="package")
def drop(pipeline: Pipeline) -> Callable[[str, bytes], Upload]:
    """Puts one object into the input bucket."""

    def put(key: str, body: bytes) -> Upload:
        bucket = pipeline.outputs["InputBucketName"]
        return Upload(key, pipeline.cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body)["VersionId"])

    return put


@pytest.fixture
def api_key(pipeline: Pipeline) -> Iterator[str]:
    """The key that the enhancer takes; it is set again afterwards."""
    secret = {"SecretId": pipeline.outputs["KeySecretArn"]}
    secrets = pipeline.cloud.client("secretsmanager")
    key: str = secrets.get_secret_value(**secret)["SecretString"]
    yield key
    secrets.put_secret_value(**secret, SecretString=key)


@pytest.fixture(autouse=True)
def _with_sockets(socket_enabled: None) -> None:
    """Sockets are off in tests that don't ask for them; these are on before `pipeline` starts."""
