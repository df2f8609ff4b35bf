"""`lumendrop board` shows the real ledger and workflow, and its buttons run the commands of the CLI."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from lumendrop_cli.stack import Options, load_stack
from tests.board.fakes import Answer, Client, running_board
from tests.cli.command import Lumendrop, owner_options
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload

WAIT_SECONDS = 60
STAGES = ["claimed", "waiting", "enhancing", "delivering", "enhanced"]
FAILED_TASK = {"end": "failed", "code": "unknown_error", "seconds": 0}


@pytest.fixture(scope="module")
def options(pipeline: Pipeline) -> Iterator[Options]:
    with owner_options(pipeline.cloud.endpoint) as given:
        yield given


@pytest.fixture(scope="module")
def board(options: Options) -> Iterator[Client]:
    stack = load_stack(SimpleNamespace(obj=options))  # type: ignore[arg-type]
    with running_board(stack, options=options) as client:
        yield client


class Page:
    """A page that is connected: everything that the board has sent it."""

    def __init__(self, client: Client) -> None:
        self.events: list[dict[str, Any]] = []
        self.cards: dict[str, dict[str, Any]] = {}
        self.figures: dict[str, Any] = {}
        self.stages: dict[str, list[str]] = {}
        self._connection = HTTPConnection("127.0.0.1", client.port, timeout=WAIT_SECONDS)
        self._connection.putrequest("GET", "/api/events", skip_host=True)
        for name, value in [("Host", client.host), *client.page()]:
            self._connection.putheader(name, value)
        self._connection.endheaders()
        self._socket = self._connection.sock
        self._response = self._connection.getresponse()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._response:
                if line.startswith(b"data: "):
                    self._take(json.loads(line[6:]))
        except (OSError, ValueError, AttributeError):
            return  # closed

    def _take(self, change: dict[str, Any]) -> None:
        self.events.append(change)
        self.figures |= change.get("figures", {})
        for card in change.get("cards", []):
            stages = self.stages.setdefault(card["id"], [])
            if stages[-1:] != [card["stage"]]:
                stages.append(card["stage"])
            self.cards[card["id"]] = card
        for name in change.get("gone", []):
            self.cards.pop(name, None)

    def card(self, upload: Upload) -> dict[str, Any]:
        return next((one for one in self.cards.values() if one["version"] == upload.version_id), {})

    def wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < end, (self.figures, self.cards)
            time.sleep(0.05)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # otherwise, closing waits until the reading thread gets an event
        self._connection.close()


@contextmanager
def page_of(client: Client) -> Iterator[Page]:
    page = Page(client)
    try:
        yield page
    finally:
        page.close()


def get(board: Client, path: str, **query: str) -> Answer:
    return board.send("GET", f"{path}?{urlencode(query)}", board.page(), timeout=WAIT_SECONDS)


def named(upload: Upload) -> dict[str, str]:
    return {"key": upload.key, "version": upload.version_id}


def act(board: Client, action: str, **given: str) -> dict[str, Any]:
    answer = board.post("/api/actions", json.dumps({"action": action, **given}).encode())
    found: dict[str, Any] = json.loads(answer.text)
    return found


def test_an_upload_from_elsewhere_moves_through_its_stages(board: Client, pipeline: Pipeline) -> None:
    with page_of(board) as page:
        page.wait(lambda: page.figures.get("complete"))
        upload = pipeline.drop("in/board/elsewhere.jpg", jpeg())
        page.wait(lambda: page.card(upload).get("stage") == "enhanced")
        stages = page.stages[page.card(upload)["id"]]
        assert stages == sorted(stages, key=STAGES.index)
        assert stages[-1] == "enhanced"
        page.wait(lambda: {"queue", "rate", "spend", "event_source", "account", "alarms"} <= page.figures.keys())
        assert page.figures["spend"]["tasks"] >= 1
        assert page.figures["rate"] == {"state": "full", "per_minute": None, "until": None}
        assert page.figures["event_source"] == {"state": "Enabled", "paused": False}
    with page_of(board) as again:  # after a reload, everything is there at once
        again.wait(lambda: again.card(upload).get("stage") == "enhanced")
        assert again.events[0]["cards"]


def test_a_photo_dropped_on_the_page_is_enhanced_with_its_options(board: Client, pipeline: Pipeline) -> None:
    body = jpeg()
    query = urlencode({"name": "board/<img src=x onerror=alert(1)>.jpg", "folder": "a b/", "creativity": "0.2"})
    answer = board.post(f"/api/uploads?{query}", body, "application/octet-stream")
    assert answer.status == 200, answer.text
    stored = json.loads(answer.text.splitlines()[-1])
    assert stored["key"] == "in/a b/board/<img src=x onerror=alert(1)>.jpg"
    upload = Upload(stored["key"], stored["version"])
    pipeline.wait_for_status(upload, "enhanced")
    assert json.loads(pipeline.rows()[upload]["options"]) == {"resolution": "1K", "creativity": 0.2}
    before = get(board, "/media", side="before", **named(upload))
    assert (before.status, before.headers["content-type"]) == (200, "image/jpeg")
    after = get(board, "/media", side="after", download="", **named(upload))
    assert after.headers["content-disposition"].startswith("attachment; filename*=UTF-8''%3Cimg%20src")
    full = json.loads(get(board, "/api/upload", **named(upload)).text)
    assert full["after"]["metadata"]["task-id"] == full["card"]["task"]


def test_what_is_no_image_is_never_shown_as_a_page(board: Client, pipeline: Pipeline) -> None:
    upload = pipeline.drop("in/board/page.jpg", b"<html><script>alert(1)</script>", ContentType="text/html")
    pipeline.wait_for_status(upload, "rejected")
    answer = get(board, "/media", side="before", **named(upload))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_hostile_metadata_and_bidi_keys_are_cleaned(board: Client, pipeline: Pipeline) -> None:
    upload = pipeline.drop("in/board/\u202egpj.exe", jpeg(), Metadata={"note": "javascript:alert(1)"})
    pipeline.wait_for_status(upload, "enhanced")
    full = json.loads(get(board, "/api/upload", **named(upload)).text)
    assert full["card"]["name"] == "in/board/\\u202egpj.exe"
    assert full["before"]["metadata"]["note"] == "javascript:alert(1)"


def test_the_execution_is_drawn_as_its_path(board: Client, pipeline: Pipeline) -> None:
    upload = pipeline.drop("in/board/path.jpg", jpeg())
    pipeline.wait([upload])
    found = json.loads(get(board, "/api/execution", **named(upload)).text)
    names = [one["name"] for one in found["states"]]
    assert (names[0], names[-1], found["status"]) == ("RouteInput", "PublishEnhanced", "SUCCEEDED")
    assert {"WaitForTask", "CheckStatus", "Deliver"} < set(names)
    assert all(one["entered"] <= one["left"] for one in found["states"])


def test_retry_asks_what_the_command_asks_and_pays_only_after_yes(board: Client, pipeline: Pipeline) -> None:
    pipeline.plan(task=[FAILED_TASK])
    upload = pipeline.drop("in/board/retry.jpg", jpeg())
    pipeline.wait([upload])
    with page_of(board) as page:
        page.wait(lambda: page.card(upload).get("stage") == "failed")
        assert page.card(upload)["actions"] == ["retry"]  # the enhancer ended the task, so there is no result
        asked = act(board, "retry", **named(upload))
        assert "This pays for 1 new task, about 0.12 USD. Continue?" in asked["question"]
        assert f"{upload.key}  failed, version {upload.version_id}" in asked["question"]
        assert "question" in act(board, "retry", confirmed="Continue?", **named(upload))
        assert pipeline.rows()[upload]["attempt"] == 1
        done = act(board, "retry", confirmed=asked["question"], **named(upload))
        assert done["lines"][-1].startswith("1 sent.")
        page.wait(lambda: page.card(upload).get("stage") == "enhanced")
    assert len(pipeline.tasks(upload)) == 2
    refused = act(board, "retry", confirmed=asked["question"], **named(upload))
    assert "The upload is enhanced" in refused["error"]


def test_stop_and_fetch(board: Client, pipeline: Pipeline) -> None:
    pipeline.plan(status=[{"kind": "http", "status": 503}] * 1000)
    upload = pipeline.drop("in/board/stop.jpg", jpeg())
    pipeline.wait_for_status(upload, "submitted")
    asked = act(board, "stop", key=upload.key)
    assert "paid for and not refunded" in asked["question"]
    assert act(board, "stop", key=upload.key, confirmed=asked["question"])["lines"]
    pipeline.wait_for_status(upload, "failed")
    pipeline.wait([upload])
    pipeline.plan()
    asked = act(board, "fetch", **named(upload))
    assert "It costs nothing" in asked["question"]
    act(board, "fetch", confirmed=asked["question"], **named(upload))
    pipeline.wait_for_status(upload, "enhanced")
    assert len(pipeline.tasks(upload)) == 1


def test_pause_and_resume(board: Client, pipeline: Pipeline) -> None:
    with page_of(board) as page:
        asked = act(board, "pause")
        assert "question" in asked
        assert act(board, "pause", confirmed=asked["question"])["lines"][0].startswith("Paused.")
        page.wait(lambda: page.figures["event_source"]["paused"])
        asked = act(board, "resume")
        assert act(board, "resume", confirmed=asked["question"])["lines"][0].startswith("Resumed.")
        page.wait(lambda: not page.figures["event_source"]["paused"])


def test_search_by_key_status_folder_and_day(board: Client, pipeline: Pipeline) -> None:
    upload = pipeline.drop("in/search/photo one.jpg", jpeg())
    other = pipeline.drop("in/search/note.jpg", b"Dear diary")
    pipeline.wait([upload, other])

    def found(**query: str) -> list[str]:
        lines = [json.loads(line) for line in get(board, "/api/search", **query).text.splitlines()]
        assert "more" in lines[-1]
        return [one["key"] for line in lines[:-1] for one in line["cards"]]

    assert found(folder="in/search/") == [other.key, upload.key] or found(folder="in/search/") == [
        upload.key,
        other.key,
    ]
    assert found(text="photo one") == [upload.key]
    assert found(folder="in/search/", status="rejected") == [other.key]
    assert found(folder="in/search/", day="2020-01-01") == []
    assert len(found(limit="1")) == 1
    assert "must be a date" in get(board, "/api/search", day="today").text


def test_a_hidden_page_costs_no_reads(options: Options, pipeline: Pipeline) -> None:
    stack = load_stack(SimpleNamespace(obj=options))  # type: ignore[arg-type]
    calls: list[str] = []
    with running_board(stack, options=options) as client:
        stack.on_call(lambda model, **_: calls.append(model.name))
        with page_of(client) as page:
            page.wait(lambda: page.figures.get("complete"))
        time.sleep(1.0)  # the server notices the closed connection when it next sends
        calls.clear()
        time.sleep(1.0)
        assert len(calls) <= 1


def test_a_port_in_use_is_an_error(lumendrop: Lumendrop, board: Client) -> None:
    result = lumendrop("board", "--port", str(board.port))
    assert (result.code, "can't be used" in result.err) == (1, True)
