"""A sandbox, a board, and Chromium for the tests of this directory: `make test-board`."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

pytest.register_assert_rewrite("tests.browser.page")

from lumendrop_cli.stack import Options, load_stack  # noqa: E402  # after the registration
from sandbox.demo.start import sandbox  # noqa: E402  # after the registration
from tests.board.fakes import TOKEN, Client, running_board  # noqa: E402  # after the registration
from tests.browser.page import BoardPage  # noqa: E402  # after the registration
from tests.cli.command import owner_options  # noqa: E402  # after the registration
from tests.e2e.pipeline import Pipeline  # noqa: E402  # after the registration


@pytest.fixture(autouse=True, scope="session")
def _with_sockets() -> Iterator[None]:
    """Everything listens on the loopback interface."""
    import pytest_socket

    pytest_socket.enable_socket()
    yield
    pytest_socket.disable_socket(allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _keep_sockets(socket_enabled: None) -> None:
    """Also for each test."""


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory, _with_sockets: None) -> Iterator[Pipeline]:
    """The whole system in real time, with small results and short tasks."""
    with sandbox({"Resolution": "1K"}, enhancer_arguments=["--task-seconds", "0.2"]) as running:
        running.cloud.warm()
        yield Pipeline(running, tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="session")
def options(pipeline: Pipeline) -> Iterator[Options]:
    with owner_options(pipeline.cloud.endpoint) as given:
        yield given


@pytest.fixture(scope="session")
def stack(options: Options) -> Any:
    return load_stack(SimpleNamespace(obj=options))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def board(stack: Any, options: Options) -> Iterator[Client]:
    with running_board(stack, options=options) as client:
        yield client


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, board: Client) -> Iterator[BoardPage]:
    """The page of the board. Fails the test if the browser logs an error."""
    opened = BoardPage(context.new_page(), board, TOKEN)
    yield opened
    assert opened.errors == []


@pytest.fixture(scope="session")
def shots() -> Path | None:
    """Where to save screenshots, if anywhere."""
    folder = os.environ.get("SHOTS")
    if not folder:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


__all__ = ["Page"]
