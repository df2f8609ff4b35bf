"""One sandbox for all tests of this directory."""

import secrets
from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.e2e.cli", "tests.e2e.pipeline")

from sandbox.demo.start import sandbox  # noqa: E402  # after the registration
from tests.e2e.pipeline import EventRecorder, Pipeline  # noqa: E402  # after the registration

MAX_UPLOAD_BYTES = 8_000_000


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The whole stack in real time, with small results and short tasks."""
    parameters = {"Resolution": "1K", "MaxUploadBytes": str(MAX_UPLOAD_BYTES)}
    token = secrets.token_urlsafe
    with pytest.MonkeyPatch.context() as patch:
        # One key in 64 starts with a dash; this one does, too.
        patch.setattr(secrets, "token_urlsafe", lambda length: f"-{token(length)}")
        with sandbox(parameters, enhancer_arguments=["--task-seconds", "0.2"]) as running:
            yield Pipeline(running, tmp_path_factory.mktemp("e2e"))


@pytest.fixture(scope="package")
def events(pipeline: Pipeline) -> EventRecorder:
    """The events that S3 and the workflow publish from now on."""
    return EventRecorder(pipeline, "e2e", {"source": ["aws.s3", "lumendrop"]})
