"""One sandbox for all tests of this directory, and the `lumendrop` command that operates it."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.board.fakes", "tests.cli.command", "tests.e2e.cli", "tests.e2e.pipeline")

from lumendrop_cli import polling  # noqa: E402  # after the registration
from sandbox.demo.start import sandbox  # noqa: E402  # after the registration
from tests.cli.command import Lumendrop  # noqa: E402  # after the registration
from tests.e2e.pipeline import Pipeline  # noqa: E402  # after the registration


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The whole system in real time, with small results and short tasks."""
    parameters = {"Resolution": "1K", "InputPrefix": "in/"}
    with sandbox(parameters, enhancer_arguments=["--task-seconds", "0.2"]) as running:
        yield Pipeline(running, tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="package")
def lumendrop(pipeline: Pipeline) -> Lumendrop:
    """The `lumendrop` command for the sandbox's stack."""
    return Lumendrop(pipeline.cloud.endpoint)


@pytest.fixture
def api_key(pipeline: Pipeline) -> Iterator[str]:
    """The key that the enhancer accepts. It is restored after the test."""
    secret = {"SecretId": pipeline.outputs["KeySecretArn"]}
    secrets = pipeline.cloud.client("secretsmanager")
    key: str = secrets.get_secret_value(**secret)["SecretString"]
    yield key
    secrets.put_secret_value(**secret, SecretString=key)


@pytest.fixture(autouse=True)
def _poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox needs no protection from frequent polling, unlike AWS."""
    monkeypatch.setattr(polling, "INTERVAL_SECONDS", 0.1)
