"""An enhancer for all tests in this folder, a server of photos, and a photo."""

from collections.abc import Iterator

import pytest

from tests.enhancer.running import Enhancer, Photos, gradient


@pytest.fixture(scope="session")
def photos() -> Iterator[Photos]:
    server = Photos()
    yield server
    server.close()


@pytest.fixture(scope="session")
def running() -> Iterator[Enhancer]:
    enhancer = Enhancer("--task-seconds", "0.2")
    yield enhancer
    enhancer.close()


@pytest.fixture
def enhancer(running: Enhancer) -> Enhancer:
    """The running enhancer without faults, reset after the previous test."""
    running.plan()
    running.account(credits=100_000, key_valid=True)
    return running


@pytest.fixture(scope="session")
def small() -> bytes:
    """A JPEG of 96 x 64 pixels."""
    data: bytes = gradient(96, 64).jpegsave_buffer(Q=95)
    return data


@pytest.fixture
def small_url(photos: Photos, small: bytes) -> str:
    return photos.put("/bucket/small.jpg", small)
