"""Boards for the tests of this directory."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.board.fakes")

from tests.board.fakes import Client, FakeStack, running_board  # noqa: E402  # after the registration


@pytest.fixture
def stack() -> FakeStack:
    return FakeStack()


@pytest.fixture
def board(stack: FakeStack, socket_enabled: None) -> Iterator[Client]:
    """A board whose AWS is a fake."""
    with running_board(stack) as client:
        yield client
