"""A sandbox of their own for the tests of `lumendrop enhance`. They take long, so they run next to `tests/cli`."""

from tests.cli.conftest import (
    _poll_often,
    api_key,
    lumendrop,
    pipeline,
)

__all__ = ["_poll_often", "api_key", "lumendrop", "pipeline"]
