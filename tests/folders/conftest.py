"""A sandbox of their own for the tests of `lumendrop enhance`. They take long, so they run next to `tests/cli`."""

from tests.cli.conftest import (
    _poll_often,
    _with_sockets,
    api_key,
    lumendrop,
    pipeline,
)

__all__ = ["_poll_often", "_with_sockets", "api_key", "lumendrop", "pipeline"]
