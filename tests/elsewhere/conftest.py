"""One stack on ministack for all tests of this directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.e2e.cli", "tests.e2e.pipeline")

from tests.e2e.conftest import MAX_UPLOAD_BYTES  # noqa: E402  # after the registration
from tests.e2e.pipeline import EventRecorder, Pipeline  # noqa: E402  # after the registration
from tests.elsewhere.cloud import elsewhere  # noqa: E402  # after the registration

HERE = Path(__file__).parent
# Tests of `tests/e2e` that ministack can't run, each with the reason.
NOT_HERE = {
    "test_no_call_was_denied": "ministack keeps no record of the calls that it authorized.",
    "test_metrics_can_be_listed": "ministack does not read metrics in log lines (EMF).",
    "test_touched_and_renamed_photos_are_paid_for_once": (
        "ministack processes two copies of a key in the same instant more often; docs/limits.md has what that does."
    ),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [one for one in items if one.path.parent == HERE and one.name in NOT_HERE]
    items[:] = [one for one in items if one not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, reason in NOT_HERE.items():
        terminalreporter.write_line(f"Not run: {name}. {reason}")


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The whole stack, with small results and short tasks, as for `tests/e2e`."""
    parameters = {"Resolution": "1K", "MaxUploadBytes": str(MAX_UPLOAD_BYTES), "PhotoNotices": "topic"}
    with elsewhere(parameters, tmp_path_factory.mktemp("logs")) as running:
        yield Pipeline(running, tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(scope="package")
def events(pipeline: Pipeline) -> EventRecorder:
    """The events that S3 and the workflow publish from now on."""
    return EventRecorder(pipeline, "elsewhere", {"source": ["aws.s3", "lumendrop"]})
