"""Settings of all tests: examples per property (HYPOTHESIS_PROFILE=thorough for many), and groups for `make test`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import HealthCheck, settings

settings.register_profile("usual", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=10_000)
# lumendrop.telemetry reads it when it is first imported, which may be long before a test loads a function.
os.environ["POWERTOOLS_METRICS_NAMESPACE"] = "Lumendrop/lumendrop"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))

# The tests of each of these directories share a sandbox, those of `cli` two, because they take the longest.
_SHARED_SANDBOX = {"e2e", "cli", "deploy", "folders", "production", "sandbox", "workflow"}

_WITH_SOCKETS = _SHARED_SANDBOX - {"workflow"} | {"board", "client", "elsewhere"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sockets are disabled in all other directories.

    A shared sandbox serves requests of its own between and during all tests; a blocked socket would end its server.
    """
    # Of tests with the same name, xdist runs one.
    repeated = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if repeated:
        raise pytest.UsageError(f"these tests have the same name: {', '.join(repeated)}")
    for item in items:
        if item.path.parent.name in _WITH_SOCKETS:
            item.add_marker(pytest.mark.enable_socket)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes per core: half of the time, tests wait for timers of the workflow and the queues."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distributes groups of tests to processes in the order of `testpaths`, the longest first: see `make test`.

    `--dist loadgroup` does not group tests with pytest 9.2 (github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


def _group(nodeid: str) -> str:
    """The group of a test: its directory, if its tests share a sandbox; itself, if it opens one; otherwise its file."""
    file = PurePosixPath(nodeid.partition("::")[0])
    if file.parent.name == "cli":
        return "cli, a to m" if file.name < "test_n" else "cli, n to z"
    if file.parent.name in _SHARED_SANDBOX:
        return file.parent.name
    return nodeid if file.name == "test_chaos.py" else str(file)


@pytest.fixture(scope="session", autouse=True)
def _read_api_models_once() -> Iterator[None]:
    """Each command and each sandbox creates its own boto3 session, which would parse the models of all its services."""
    loader = create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda _: loader)
        yield
