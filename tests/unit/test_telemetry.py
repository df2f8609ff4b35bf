"""Logs and metrics of the functions: each line has its upload, and each metric has the name that the alarms use."""

from __future__ import annotations

import io
import json
from datetime import datetime
from types import ModuleType
from typing import Any

import pytest

from lumendrop import uploads, workflow
from lumendrop.ledger import Row
from tests.unit.conftest import LoadFunction
from tests.unit.world import Answer, Context, World, completed, created, refusal, sample

Lines = list[dict[str, Any]]


@pytest.fixture
def lines(logs: io.StringIO, capsys: pytest.CaptureFixture[str]) -> Any:
    """Everything that was logged since the last call, including metrics."""

    def since() -> Lines:
        text = logs.getvalue() + capsys.readouterr().out
        logs.seek(0)
        logs.truncate()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    return since


def metric(lines: Lines, name: str) -> list[float]:
    return [value for line in lines for value in line.get(name, [])]


def event_of(name: str, world: World) -> Any:
    return world.upload() if name == "submit" else sample(name)


def id_of(event: Any) -> str:
    if "Records" not in event:
        return str(event["correlation_id"])
    return uploads.parse_event(event["Records"][0]["body"]).correlation_id


@pytest.mark.parametrize("name", ["submit", "check_status", "deliver"])
def test_every_line_has_the_upload(world: World, function: LoadFunction, lines: Any, name: str) -> None:
    loaded, event = function(name), event_of(name, world)
    world.enhancer.on_status.append(completed())
    lines()
    loaded.handler(event, Context())

    found = lines()
    assert len(found) >= 2
    assert {line.get("correlation_id") for line in found} == {id_of(event)}


@pytest.mark.parametrize(
    ("reply", "level"),
    [(refusal(503, "service_unavailable"), "WARNING"), (Answer(500, {}), "INFO"), (refusal(400, "bad"), "INFO")],
)
def test_lines_about_errors_have_the_upload(
    world: World, function: LoadFunction, lines: Any, reply: Answer, level: str
) -> None:
    submit, event = function("submit"), world.upload()
    world.enhancer.on_submit.append(reply)
    lines()
    submit.handler(event, Context())

    found = lines()
    assert {line.get("correlation_id") for line in found} == {id_of(event)}
    assert level in {line.get("level") for line in found}


@pytest.mark.parametrize("name", ["submit", "check_status", "deliver"])
def test_an_unhandled_exception_has_the_upload_and_the_next_run_does_not(
    world: World, function: LoadFunction, lines: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    loaded, event = function(name), event_of(name, world)
    broken = {"submit": "submit", "check_status": "poll_once", "deliver": "deliver"}[name]

    def crash(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(loaded, broken, crash)
    lines()
    with pytest.raises(RuntimeError, match="broken"):
        loaded.handler(event, Context())
    (crashed,) = (line for line in lines() if line.get("message") == "unhandled exception")
    assert (crashed["level"], crashed["correlation_id"]) == ("ERROR", id_of(event))

    with pytest.raises(ValueError):  # an event of another function
        loaded.handler({"Records": [{"messageId": "1", "body": "{}"}]}, Context())
    from lumendrop.telemetry import logger

    assert logger.get_correlation_id() is None


def test_the_name_of_an_execution_contains_the_correlation_id() -> None:
    upload = uploads.parse_event(sample("submit")["Records"][0]["body"])
    row = Row(upload=upload, status="rejected")
    assert upload.correlation_id in workflow.execution_name(row, 0)
    assert workflow.execution_input(row)["correlation_id"] == upload.correlation_id


@pytest.fixture
def deliver(function: LoadFunction) -> ModuleType:
    return function("deliver")


@pytest.mark.parametrize(
    ("time", "seconds"), [("2026-01-31T12:00:00Z", [90.0]), ("2026-01-31T13:00:00Z", [0.0]), ("", []), ("soon", [])]
)
def test_the_seconds_of_a_photo_count_from_its_event(
    world: World,
    deliver: ModuleType,
    lines: Any,
    monkeypatch: pytest.MonkeyPatch,
    time: str,
    seconds: list[float],
) -> None:
    now = datetime.fromisoformat("2026-01-31T12:01:30Z").timestamp()
    monkeypatch.setattr(deliver.time, "time", lambda: now)
    event = sample("deliver")
    event["upload"]["time"] = time
    world.enhancer.on_status.append(completed())
    deliver.handler(event, Context())

    found = lines()
    assert metric(found, "PhotoSeconds") == seconds
    assert metric(found, "PhotosEnhanced") == [1.0]


def test_credits_are_counted_if_the_vendor_reports_them(world: World, function: LoadFunction, lines: Any) -> None:
    submit = function("submit")
    world.enhancer.on_submit.append(created("task-1", usage={"credits_reserved": 12.5}))
    submit.handler(world.upload("a.jpg"), Context())
    submit.handler(world.upload("b.jpg"), Context())

    assert metric(lines(), "CreditsReserved") == [12.5]


def test_a_requeued_copy_is_not_counted_as_another_upload(world: World, function: LoadFunction, lines: Any) -> None:
    submit, event = function("submit"), world.upload()
    event["Records"][0]["messageAttributes"] = {"waits": {"stringValue": "2", "dataType": "Number"}}
    submit.handler(event, Context())

    assert metric(lines(), "UploadsReceived") == []
