"""What holds for any input. HYPOTHESIS_PROFILE=thorough tries ten thousand examples of each."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lumendrop import (
    containers,
    downloads,
    enhancer,
    images,
    ledger,
    options,
    polling,
    reports,
    storage,
    upload_queue,
    uploads,
    workflow,
)
from lumendrop.api_key import ApiKey
from lumendrop.containers import Broken, FileReader
from lumendrop.downloads import DownloadRefused
from lumendrop.enhancer import Ambiguous, Enhancer, EnhancerError, SubmittedTask, TaskStatus, Unavailable
from lumendrop.images import Format
from lumendrop.ledger import EarlierAttempt, Row
from lumendrop.metadata.blocks import LeftOut
from lumendrop.object_properties import ObjectProperties
from lumendrop.options import Options
from lumendrop.outcomes import Outcome, Rejected
from lumendrop.polling import Poll, Task
from lumendrop.uploads import BackfillItem, NotAnUploadEvent, Upload, is_newer
from tests.unit.world import KEY, sample

text = st.text(st.characters(codec="utf-8"))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | text
any_json = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))
keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=1024).filter(
    lambda key: len(key.encode()) <= 1024
)
all_uploads = st.builds(
    Upload,
    bucket=st.sampled_from(["input-bucket", "input", "a.bucket"]),
    key=keys,
    version_id=st.text("abcXYZ019._-", min_size=1, max_size=32),
    sequencer=st.text("0123456789ABCDEF", max_size=20),
    size=st.integers(0, 2**40),
    etag=st.text("0123456789abcdef-", max_size=40),
)
outcomes = st.builds(
    Outcome,
    status=st.sampled_from(["rejected", "failed", "superseded", "unknown"]),
    code=text,
    message=text,
    advice=text,
    may_have_cost=st.booleans(),
)
amounts = st.none() | st.floats(1e-6, 1e9, exclude_min=True, exclude_max=True)
times = st.none() | st.integers(0, 2**33)
rows = st.builds(
    Row,
    upload=all_uploads,
    status=st.sampled_from(["claimed", "submitted", "retrying", "enhanced", "failed", "rejected", "unknown"]),
    attempt=st.integers(1, 1000),
    claim_expires=times,
    day=st.none() | st.dates().map(str),
    options=st.none() | st.just('{"resolution":"1K","creativity":0.3}'),
    task_id=st.none() | st.text("abc-019", min_size=1),
    submitted_at=times,
    deadline=times,
    estimated_seconds=amounts,
    credits=amounts,
    earlier=st.lists(st.builds(EarlierAttempt, st.integers(1, 99), st.none() | text, amounts), max_size=3).map(tuple),
    outcome=st.none() | outcomes,
    has_older_key=st.booleans(),
)


# ---------------------------------------------------------------- upload events


def edits(value: Any) -> st.SearchStrategy[Any]:
    """A JSON value with one part replaced or removed."""
    if isinstance(value, dict) and value:
        return st.one_of(
            any_json,
            st.sampled_from(sorted(value)).map(lambda name: {k: v for k, v in value.items() if k != name}),
            st.sampled_from(sorted(value)).flatmap(
                lambda name: edits(value[name]).map(lambda new: value | {name: new}),
            ),
        )
    return any_json


@given(any_json | edits(json.loads(sample("submit")["Records"][0]["body"])))
def test_any_json_is_an_upload_or_not(body: Any) -> None:
    try:
        upload = uploads.parse_event(json.dumps(body))
    except NotAnUploadEvent:
        return
    assert upload.bucket
    assert upload.key == body["detail"]["object"]["key"]
    if isinstance(upload, BackfillItem):
        assert body["detail"]["object"].get("version-id") is None
    else:
        assert upload.version_id
        assert upload.size >= 0


@given(st.binary() | text)
def test_any_message_is_an_upload_or_not(body: bytes | str) -> None:
    with pytest.raises(NotAnUploadEvent):
        uploads.parse_event(body)


@given(all_uploads)
def test_an_upload_survives_its_event(upload: Upload) -> None:
    assert uploads.parse_event(json.dumps(uploads.as_event(upload))) == upload


@given(any_json | edits(sample("submit")))
def test_any_lambda_event_is_messages_or_an_error(event: Any) -> None:
    try:
        found = upload_queue.messages(event)
    except msgspec.ValidationError:
        return
    assert all(message.requeue_count >= 0 and message.resend_after >= 0 for message in found)


sequencers = st.text("0123456789abcdefABCDEF", max_size=8)


@given(sequencers, sequencers, sequencers)
def test_is_newer_is_a_strict_weak_order(a: str, b: str, c: str) -> None:
    assert not is_newer(a, a)
    assert not (is_newer(a, b) and is_newer(b, a))
    if is_newer(a, b) and is_newer(b, c):
        assert is_newer(a, c)
    same_ab, same_bc = not is_newer(a, b) and not is_newer(b, a), not is_newer(b, c) and not is_newer(c, b)
    if same_ab and same_bc:
        assert not is_newer(a, c)
        assert not is_newer(c, a)


@given(st.integers(0, 16**20 - 1), st.integers(0, 16**20 - 1))
def test_the_larger_of_two_sequencers_of_equal_length_is_newer(a: int, b: int) -> None:
    assert is_newer(f"{a:020X}", f"{b:020x}") is (a > b)


# ---------------------------------------------------------------- images


@given(st.binary(max_size=200))
@example(b"\x00\x00\x00\x00ftypheic")
@example(b"\xff\xff\xff\xffftypmif1")
@example(b"RIFF\xff\xff\xff\xffWEBP")
def test_any_bytes_have_a_format_or_none(data: bytes) -> None:
    format_ = images.detect(data)
    assert format_ is None or isinstance(format_, Format)
    assert images.detect(data[: images.HEAD_BYTES]) == format_ or len(data) > images.HEAD_BYTES
    try:
        assert containers.examine(FileReader(io.BytesIO(data), len(data))).format == format_
    except Broken as error:
        assert str(error)


@given(st.lists(st.sampled_from([b"heic", b"mif1", b"avif", b"avis", b"msf1", b"miaf"]), min_size=1, max_size=8))
def test_avif_is_not_detected_as_heic(brands: list[bytes]) -> None:
    box = (16 + 4 * len(brands)).to_bytes(4, "big") + b"ftyp" + brands[0] + b"\x00" * 4 + b"".join(brands)
    format_ = images.detect((box + b"\x00" * 100)[: images.HEAD_BYTES])
    assert (format_ == images.HEIC) == (not {b"avif", b"avis"} & set(brands))


# ---------------------------------------------------------------- options


values = text | st.sampled_from(
    [
        "1K",
        "4k",
        "0",
        "1",
        "0.5",
        "1.5",
        "-1",
        "nan",
        "inf",
        "1e-3",
        "0_1",
        "+0.5",
        "1.",
        ".5",
        "\u0660",
        "\uff10.5",
        "p-1,p-2",
        "p 1",
        ",",
    ]
)
names = st.sampled_from(["resolution", "creativity", "resemblance", "profile-ids", "Creativity", "else"]) | text


@given(st.dictionaries(names, values))
def test_any_metadata_is_options_or_a_rejection(metadata: dict[str, str]) -> None:
    try:
        read = options.read(metadata, Options("4K", 0.5, None, ("p-0",)))
    except Rejected as rejected:
        assert rejected.outcome.status == "rejected"
        assert not rejected.outcome.may_have_cost
        return
    assert read.resolution in ("1K", "4K")
    assert all(value is None or 0 <= value <= 1 for value in (read.creativity, read.resemblance))
    for name, value in {key.lower(): value.strip() for key, value in metadata.items()}.items():
        assert name not in ("creativity", "resemblance") or re.fullmatch(r"[0-9.eE+-]*", value, re.ASCII)
    assert read.profile_ids is None or all(re.fullmatch(r"[A-Za-z0-9_-]+", one) for one in read.profile_ids)
    assert None not in read.as_json().values()
    assert json.loads(read.as_text()) == read.as_json() | (
        {"profile_ids": list(read.profile_ids)} if read.profile_ids else {}
    )


# ---------------------------------------------------------------- the enhancer's answers


class FixedKey(ApiKey):
    """A key that needs no Secrets Manager."""

    def __init__(self) -> None:
        pass

    def read(self, **_: object) -> str:
        return KEY


def answered(status: int, body: Any, headers: dict[str, str]) -> Enhancer:
    """A client that gets this answer to every call."""
    client: Any = Enhancer("https://enhancer.test", FixedKey())
    client._with_key = lambda *_: enhancer._Answer(status, body, headers)
    made: Enhancer = client
    return made


TASK_OBJECT = {
    "id": "task-1",
    "status": "completed",
    "progress": 100,
    "results": [{"url": "https://results.test/1", "content_type": "image/jpeg"}],
    "output": {"url": "https://results.test/1", "urls": ["https://results.test/1"]},
    "error": {"code": "service_error", "message": "m", "type": "task_error"},
    "task_info": {"estimated_time": 45},
    "usage": {"credits_reserved": 12},
}
bodies = any_json | edits(TASK_OBJECT) | edits({"error": {"message": "m", "type": "t", "code": "c"}})
statuses = st.sampled_from(
    [200, 201, 202, 204, 301, 307, 400, 401, 402, 403, 404, 405, 409, 418, 422, 429, 500, 502, 503]
)
headers: st.SearchStrategy[dict[str, str]] = st.just({}) | st.builds(
    lambda value: {"retry-after": value}, text | st.integers().map(str)
)


@given(statuses, bodies, headers)
def test_any_answer_to_a_submit_is_a_task_or_one_of_the_errors(status: int, body: Any, headers: dict[str, str]) -> None:
    client = answered(status, body, headers)
    try:
        task = client.submit("https://b.test/k", Options("4K"))
    except Ambiguous:
        assert status not in (400, 401, 402, 403, 404, 405, 422, 429)
    except Unavailable as error:
        assert status not in (200, 201, 202)
        assert error.retry_after is None or 0 <= error.retry_after <= 900
    except EnhancerError:
        assert status in (400, 422)
    else:
        assert status in (200, 201, 202)
        assert isinstance(task, SubmittedTask)
        assert re.fullmatch(r"[!-~]{1,256}", task.id)


@given(statuses, bodies, headers)
@example(200, {"status": "processing", "progress": 10**400}, {})
def test_any_answer_to_a_status_is_a_status_or_one_of_the_errors(
    status: int, body: Any, headers: dict[str, str]
) -> None:
    try:
        found = answered(status, body, headers).status("task-1")
    except EnhancerError:
        return
    assert status == 200
    assert isinstance(found, TaskStatus)
    assert (found.state == "completed") == (found.result_url is not None)
    assert (found.state == "failed") == bool(found.error_code)


@given(any_json.filter(lambda body: not isinstance(body, dict)) | any_json.map(lambda value: {"state": value}))
def test_a_body_that_is_not_a_task_is_unintelligible(body: Any) -> None:
    with pytest.raises(Unavailable):
        enhancer.parse_status(body)


@given(text, text, st.sampled_from([" ", '"', "'", "<", ">", "\n", ""]))
def test_the_query_of_a_url_is_removed_anywhere_in_a_text(before: str, after: str, end: str) -> None:
    url = "https://bucket.s3.amazonaws.com/a/photo.jpg?X-Amz-Credential=AKIA&X-Amz-Signature=0123456789abcdef"
    redacted = enhancer.redact(before + url + end + after)
    assert (
        "0123456789abcdef" not in redacted.replace(before, "").replace(after, "")
        or "0123456789abcdef" in before + after
    )
    assert enhancer.redact(redacted) == redacted or "?" in before + after or "X-Amz" in before + after


# ---------------------------------------------------------------- polling


tasks = st.builds(
    Task,
    id=st.just("task-1"),
    submitted_at=st.just(1_000_000),
    deadline=st.integers(1_000_000, 1_000_000 + 86_400),
    estimated_seconds=st.none() | st.floats(1e-6, 1e9),
)
moments = st.floats(999_000, 1_100_000)
polls = st.builds(
    Poll,
    throttled=st.integers(0, 10_000),
    lambda_throttled=st.booleans(),
    progress=amounts,
    pace=amounts,
    paced_at=st.floats(0, 1e9),
    total_seconds=amounts,
)


@given(tasks, polls, moments, st.integers(1, 10_000), st.none() | st.floats(0, 900))
def test_no_wait_exceeds_the_deadline_or_the_limit(
    task: Task, poll: Poll, now: float, failures: int, retry_after: float | None
) -> None:
    for wait in (polling.next_wait(task, poll, now), polling.wait_for_enhancer(task, failures, retry_after, now)):
        assert 1 <= wait <= 300
        assert wait <= max(1, task.deadline - now + 0.5)


@given(tasks, st.floats(0, 120), st.lists(st.none() | st.floats(0, 100), min_size=1))
def test_a_day_of_polling_fits_into_the_workflows_history(
    task: Task, seconds_left: float, progress: list[float | None]
) -> None:
    """An execution can have 25,000 events, and an iteration has about fifteen. The progress can be anything."""
    clock, rounds = [float(task.submitted_at)], 0
    poll = Poll(wait_seconds=polling.first_wait(task.estimated_seconds))

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    def poll_once(poll: Poll) -> Poll:
        sleep(0.2)
        poll = polling.update_estimate(task, poll, progress[poll.polls % len(progress)], clock[0])
        wait = polling.next_wait(task, poll, clock[0])
        return msgspec.structs.replace(poll, polls=poll.polls + 1, wait_seconds=wait)

    while clock[0] < task.deadline:
        sleep(poll.wait_seconds)
        until = clock[0] + seconds_left
        poll = polling.watch(task, poll, poll_once, until, lambda: clock[0], sleep)
        assert clock[0] <= until + 0.2
        rounds += 1
    assert rounds < 1000
    assert poll.polls < 2500


@given(st.none() | st.floats(1e-6, 1e9))
def test_the_first_poll_is_early(estimated: float | None) -> None:
    assert 2 <= polling.first_wait(estimated) <= 12
    assert polling.first_wait(None) == 12


# ---------------------------------------------------------------- keys


formats = st.sampled_from([images.JPEG, images.PNG, images.WEBP, images.HEIC])


@given(keys, formats)
def test_output_keys_fit_and_have_the_extension_of_the_format(key: str, format_: Format) -> None:
    output = storage.output_key(key, format_)
    assert len(output.encode()) <= 1024
    assert output.lower().endswith(format_.extensions)
    assert output == key or output.startswith(key[:200])


@given(keys, keys, formats)
@example("x" * 1023 + "a", "x" * 1023 + "b", images.JPEG)
@example("ü" * 511 + "a", "ü" * 511 + "b", images.JPEG)
def test_different_keys_have_different_reports_and_outputs(one: str, other: str, format_: Format) -> None:
    assume(one != other)
    assert reports.report_key(one) != reports.report_key(other)
    outputs = storage.output_key(one, format_), storage.output_key(other, format_)
    if not any(key.lower().endswith(format_.extensions) for key in (one, other)):
        assert outputs[0] != outputs[1]


@given(keys)
def test_reports_fit(key: str) -> None:
    usual, own = reports.report_key(key), reports.own_key(Upload("input-bucket", key, "v1", "", 1, ""))
    assert usual != own
    for report in (usual, own):
        assert len(report.encode()) <= 1024
        assert report.startswith("errors/")
        assert report.endswith(".json")


texts = st.dictionaries(st.text("abc-", min_size=1), st.text("abc,0.", max_size=900), max_size=9)
reasons = st.lists(st.builds(LeftOut, st.text(max_size=90), st.text(max_size=300)), max_size=12)


@given(all_uploads, texts, texts, reasons)
def test_metadata_is_ascii_fits_and_identifies_the_source(
    upload: Upload, provenance: dict[str, str], theirs: dict[str, str], left_out: list[LeftOut]
) -> None:
    carried = storage._carry(upload, provenance, ObjectProperties(theirs, left_out=tuple(left_out)))
    metadata = carried.metadata
    assert storage._source_key(metadata) == upload.key
    assert all((name + value).isascii() for name, value in metadata.items())
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048
    assert len("; ".join(carried.left_out)) <= 600
    assert metadata.keys() >= provenance.keys() | theirs.keys() or carried.left_out


# ---------------------------------------------------------------- the ledger's rows


@given(rows)
def test_rows_survive_the_table(row: Row) -> None:
    assert ledger._from_item(ledger._to_item(row)) == row


@given(rows)
def test_the_workflows_own_fields_are_ignored(row: Row) -> None:
    item = ledger._to_item(row) | {"finished_at": {"S": "2026-01-31"}, "output": {"M": {"bytes": {"N": "7"}}}}
    read = ledger._from_item(item)
    assert msgspec.structs.replace(read, finished_at=None, output=None, other=()) == row
    assert ledger._to_item(read) == item


@given(all_uploads, all_uploads)
@example(Upload("a", "b/c", "v", "", 1, ""), Upload("a", "c", "v", "", 1, ""))
def test_the_rows_of_two_uploads_have_different_keys(one: Upload, other: Upload) -> None:
    first, second = Row(upload=one, status="claimed"), Row(upload=other, status="claimed")
    assert ((first.pk, first.sk) == (second.pk, second.sk)) is (_identity(one) == _identity(other))
    assert len(first.pk.encode()) <= 2048


@given(text, text, text, text)
def test_photos_of_other_bytes_or_options_have_other_holders(content: str, options: str, one: str, other: str) -> None:
    key = ledger.photo_key("input-bucket", content, options)
    assert len(key.encode()) <= 2048
    if "\0" not in content + options + one + other:
        assert (ledger.photo_key("input-bucket", one, other) == key) is ((one, other) == (content, options))
    assert ledger.photo_key("another-bucket", content, options) != key


def _identity(upload: Upload) -> tuple[str, str, str]:
    return upload.bucket, upload.key, upload.version_id


def _execution(row: Row, now: float) -> tuple[object, ...]:
    """What has its own execution: each attempt, a retry that ends without a task, a task that is recorded late, and a
    task that nothing has ended by now.
    """
    special = row.is_overdue(now) or row.status == "failed"
    state = (row.is_overdue(now), row.status == "failed", row.recovered and not special)
    return *_identity(row.upload), row.attempt, *state


@given(rows, rows, st.integers(0, 2**33))
def test_execution_names_are_valid_and_distinct(row: Row, other: Row, now: int) -> None:
    name = workflow.execution_name(row, now)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name)
    same = _execution(row, now) == _execution(other, now)
    assert (workflow.execution_name(other, now) == name) is same


@given(rows)
def test_the_workflows_input_is_small_and_readable(row: Row) -> None:
    given_to_it = json.loads(msgspec.json.encode(workflow.execution_input(row)))
    assert msgspec.convert(given_to_it["upload"], Upload) == row.upload
    assert msgspec.convert(given_to_it["poll"], Poll).state == "waiting"
    if given_to_it["task"] is not None:
        assert msgspec.convert(given_to_it["task"], Task).id == row.task_id


# ---------------------------------------------------------------- links


@given(text | text.map(lambda rest: f"https://{rest}") | text.map(lambda rest: f"http://127.0.0.1{rest}"))
def test_any_link_is_checked_without_an_unexpected_error(url: str) -> None:
    try:
        downloads._check(url, allow_loopback=False)
    except DownloadRefused:
        return
    assert url.strip().lower().startswith("https://")
