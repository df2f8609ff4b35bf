"""Settings of all tests: examples per property (HYPOTHESIS_PROFILE=thorough for many), and groups for `make test`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("usual", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))

# The tests of each of these directories share one sandbox, so one process runs them, in order.
_ONE_SANDBOX = {"e2e", "cli", "production", "sandbox", "workflow"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups the tests for pytest-xdist, which runs a group in one process: see `make test`."""
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        item.add_marker(pytest.mark.xdist_group(_group(item.path, item.name)))


def _group(file: Path, test: str) -> str:
    if file.parent.name in _ONE_SANDBOX:
        return file.parent.name
    if file.name == "test_chaos.py":  # each test opens a sandbox of its own
        return f"chaos/{test}"
    return f"{file.parent.name}/{file.name}"
