"""One sandbox for all tests of this directory, and the command line that looks after it."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.cli.owner", "tests.e2e.cli", "tests.e2e.pipeline")

from sandbox.start import sandbox  # noqa: E402  # after the registration
from tests.cli.owner import Lumendrop  # noqa: E402  # after the registration
from tests.e2e.pipeline import Pipeline  # noqa: E402  # after the registration


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


@pytest.fixture(autouse=True)
def _with_sockets(socket_enabled: None) -> None:
    """Sockets are off in tests that don't ask for them; these are on before `pipeline` starts."""
