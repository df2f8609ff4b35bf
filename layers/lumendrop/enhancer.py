"""The enhancer's HTTP API: creates a task and reads its status.

Every answer becomes a value or one of four errors, which determine the next step. No error text contains the key or a
presigned URL, even if the vendor quotes them.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import queue
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NoReturn
from urllib.parse import quote

import msgspec
import requests
from urllib3.exceptions import HTTPError

from lumendrop.api_key import ApiKey, KeyUnavailable
from lumendrop.options import Options
from lumendrop.tls import VerifiedTLSAdapter

MODEL = "phota-image-enhance"

_CONNECT_SECONDS = 5
_SUBMIT_SECONDS = 30
_STATUS_SECONDS = 10
_GRACE_SECONDS = 2
_LEAST_SECONDS = 5
_MOST_ANSWER_BYTES = 1 << 20
_MOST_RETRY_AFTER_SECONDS = 900
_TASK_ID = re.compile(r"[!-~]{1,256}")
_URL_QUERY = re.compile(r"(https?://[^\s\"'<>?]*)\?[^\s\"'<>]*", re.IGNORECASE)
_SIGNATURE = re.compile(r"(X-Amz-[A-Za-z-]+)(=|%3D)[^&\s\"'<>]+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
# requests parses a redirect's Location even if it does not follow it, and raises ValueError if it is not a URL.
_TRANSPORT_ERRORS = (requests.RequestException, HTTPError, OSError, ValueError)

_NO_CHANNEL = frozenset({"no_compatible_channel", "service_unavailable_error"})

RETRYABLE_CODES = frozenset(
    {
        "service_error",
        "generation_timeout",
        "resource_exhausted",
        "quota_exceeded",
        "service_unavailable",
        "generation_failed_no_content",
    }
)
"""Codes of failed tasks for which another task may succeed."""


class EnhancerError(Exception):
    """A request that the enhancer refused, or to which it gave no usable answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Refused(EnhancerError):
    """No task was created, and a retry with the same photo and options would be refused too."""


class Unavailable(EnhancerError):
    """No task was created, for a reason that is unrelated to the photo.

    `account` is true for errors of the owner's account (key, balance, permissions), and false for errors of the vendor
    or the network. `too_fast` is true for 429. `retry_after` is in seconds, if the enhancer sent it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        account: bool = False,
        too_fast: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, message)
        self.account = account
        self.too_fast = too_fast
        self.retry_after = retry_after


class Ambiguous(EnhancerError):
    """It is unknown whether a task was created."""


class TaskNotFound(EnhancerError):
    """The enhancer does not know the task."""


class SubmittedTask(msgspec.Struct, frozen=True):
    """A task that was created and is charged. `estimated_seconds` is the vendor's hint."""

    id: str
    estimated_seconds: float | None = None
    credits: float | None = None


class TaskStatus(msgspec.Struct, frozen=True):
    """The status of a task. If `completed`, it has a `result_url`, which gives anyone access to the result.

    `unknown` is the enhancer's word for the status if it is not a documented one. Such a task counts as `waiting`.
    """

    state: Literal["waiting", "completed", "failed"]
    progress: float | None = None
    result_url: str | None = None
    error_code: str = ""
    error_message: str = ""
    unknown: str = ""


class _Body(io.BytesIO):
    """A request body that records whether sending has begun."""

    sending = False

    def read(self, size: int | None = -1, /) -> bytes:
        self.sending = True
        return super().read(size)


class _Answer(msgspec.Struct, frozen=True):
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def error(self) -> dict[str, Any] | None:
        found = self.body.get("error") if isinstance(self.body, dict) else None
        return found if isinstance(found, dict) else None

    @property
    def is_api_error(self) -> bool:
        """Whether this is an error of the API itself, not one of a gateway in front of it."""
        return bool(self.error and isinstance(self.error.get("type"), str))


class Enhancer:
    """A client of the enhancer at `base_url`."""

    def __init__(self, base_url: str, key: ApiKey) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key

    def submit(self, image_url: str, options: Options) -> SubmittedTask:
        """Creates one task, which is charged. Raises Refused, Unavailable, Ambiguous."""
        return self._submit(image_url, options, _SUBMIT_SECONDS)

    def _submit(self, image_url: str, options: Options, seconds: float) -> SubmittedTask:
        payload = msgspec.json.encode({"model": MODEL, "image_url": image_url, **options.as_request()})
        body = _Body()

        def post(key: str, left: float) -> _Answer:
            nonlocal body
            body = _Body(payload)
            return _call("POST", f"{self._base_url}/v1/images/generations", key, left, body)

        try:
            answer = self._with_key(post, seconds)
        except _TRANSPORT_ERRORS as error:
            self._raise_for_broken_submit(error, body)
        if answer.status in (200, 201, 202):
            return _submitted(answer.body)
        raise self._submit_error(answer)

    def submit_supported(self, image_url: str, options: Options) -> tuple[SubmittedTask, Options]:
        """Like `submit`, but omits the optional fields if the enhancer does not support them. Returns what was sent."""
        begun = time.monotonic()
        try:
            return self.submit(image_url, options), options
        except Refused as error:
            required = options.required_only()
            if error.code != "unsupported_advanced_options" or options == required:
                raise
            left = _SUBMIT_SECONDS - (time.monotonic() - begun)
            if left < _LEAST_SECONDS:
                raise Unavailable("too_slow", "The enhancer answered too late to be called again.") from None
            return self._submit(image_url, required, left), required

    def prepare(self) -> None:
        """Reads the API key, so that nothing but the call itself can fail later. Raises Unavailable."""
        try:
            self._key.read()
        except KeyUnavailable as error:
            raise Unavailable("key_unavailable", str(error), account=True) from None

    def probe(self) -> None:
        """A request that costs nothing. Raises Unavailable if the enhancer gave no usable answer.

        A 404 is usable, because the list of models is not in the vendor's own documentation.
        """
        answer = self._get(f"{self._base_url}/v1/models")
        if answer.status not in (404, 405) and not (answer.status == 200 and isinstance(answer.body, dict)):
            raise self._unavailable(answer)

    def status(self, task_id: str) -> TaskStatus:
        """Polls one task once. Raises TaskNotFound, or Unavailable if the enhancer gave no usable answer."""
        url = f"{self._base_url}/v1/tasks/{quote(task_id, safe='')}?sync_upstream=true"
        answer = self._get(url)
        if answer.status == 404 and answer.is_api_error:
            raise TaskNotFound("task_not_found", self._error_text(answer))
        if answer.status != 200:
            raise self._unavailable(answer)
        status = parse_status(answer.body)
        code, message = self._sanitize(status.error_code)[:100], self._sanitize(status.error_message)
        unknown = self._sanitize(status.unknown)[:100]
        return msgspec.structs.replace(status, error_code=code, error_message=message, unknown=unknown)

    def _get(self, url: str) -> _Answer:
        try:
            return self._with_key(lambda key, left: _call("GET", url, key, left), _STATUS_SECONDS)
        except _TRANSPORT_ERRORS as error:
            raise Unavailable("unreachable", f"No answer ({type(error).__name__}).") from None

    def _unavailable(self, answer: _Answer) -> Unavailable:
        return Unavailable(
            f"http_{answer.status}",
            self._error_text(answer),
            account=answer.status in (401, 402, 403),
            too_fast=answer.status == 429,
            retry_after=_retry_after(answer),
        )

    def _with_key(self, call: Callable[[str, float], _Answer], seconds: float) -> _Answer:
        """Calls with the cached key. After a 401, calls again if Secrets Manager has another key and time is left."""
        begun = time.monotonic()
        try:
            key = self._key.read()
            answer = call(key, seconds)
            if answer.status == 401 and (fresh := self._key.read(fresh=True)) != key:
                left = seconds - (time.monotonic() - begun)
                answer = call(fresh, left) if left >= min(seconds, _LEAST_SECONDS) / 2 else answer
        except KeyUnavailable as error:
            raise Unavailable("key_unavailable", str(error), account=True) from None
        return answer

    def _raise_for_broken_submit(self, error: Exception, body: _Body) -> NoReturn:
        """A POST whose body was never read has created nothing. Otherwise, the request may have been accepted."""
        what = type(error).__name__
        if body.sending:
            raise Ambiguous("no_answer", f"The request was sent, but the enhancer did not answer ({what}).") from None
        raise Unavailable("unreachable", f"No connection to the enhancer ({what}).") from None

    def _submit_error(self, answer: _Answer) -> EnhancerError:
        """The contract's table, by status and code. An answer that is not in it may have created a task."""
        status, text, code = answer.status, self._error_text(answer), self._sanitize(_error_code(answer))[:100]
        code, names, retry_after = code or f"http_{status}", _error_names(answer), _retry_after(answer)
        if status in (401, 402, 403) or (status in (400, 422) and "model_not_found" in names):
            return Unavailable(code, text, account=True, retry_after=retry_after)
        if status == 429:
            return Unavailable(code, text, too_fast=True, retry_after=retry_after)
        if status in (400, 422):
            return Unavailable(code, text, retry_after=retry_after) if names & _NO_CHANNEL else Refused(code, text)
        if status == 503 and answer.error is not None:
            return Unavailable(code, text, retry_after=retry_after)
        if status in (301, 302, 307, 308, 404, 405):
            return Unavailable(f"http_{status}", f"ApiBaseUrl does not accept tasks. {text}", account=True)
        return Ambiguous(code, text)

    def _error_text(self, answer: _Answer) -> str:
        error = answer.error or {}
        explanation = error.get("message") or error.get("type") or "no explanation"
        return self._sanitize(f"The enhancer answered {answer.status}: {explanation}")

    def _sanitize(self, text: str) -> str:
        """Removes what the vendor may quote (the key, query strings, signatures) and characters that SQS refuses."""
        with contextlib.suppress(KeyUnavailable):  # a key that can't be read was not sent
            text = text.replace(self._key.read(), "[key]")
        return _CONTROL.sub(" ", redact(text))[:500]


_RUNNING = frozenset({"pending", "processing"})
_COMPLETED = frozenset({"completed", "succeeded"})
_FAILED = {
    "failed": "unknown_error",
    "error": "unknown_error",
    "cancelled": "request_cancelled",
    "canceled": "request_cancelled",
    "expired": "task_expired",
}
"""The statuses of tasks that have ended without a result, and the code of a task that has none."""


def redact(text: str) -> str:
    """Removes the query strings of URLs and the parts of S3 signatures from a text."""
    return _SIGNATURE.sub(r"\1\2[redacted]", _URL_QUERY.sub(r"\1?[redacted]", text))


def parse_status(body: object) -> TaskStatus:
    """Reads a task object. Results can have any of the three shapes in the vendor's documentation and clients.

    A task that is `completed` without a result is not finished: the vendor adds the result within seconds.
    Raises Unavailable if `body` is not a task object.
    """
    if not isinstance(body, dict) or not isinstance(body.get("status"), str):
        raise Unavailable("unintelligible", "The enhancer's answer is not a task.")
    progress = body.get("progress")
    progress = float(progress) if isinstance(progress, int | float) and 0 <= progress <= 100 else None
    status = body["status"].lower()
    if status in _FAILED:
        code, message = _task_error(body, status)
        return TaskStatus("failed", progress, error_code=code, error_message=message)
    url = _result_url(body) if status in _COMPLETED else None
    unknown = "" if status in _RUNNING | _COMPLETED else body["status"]
    return TaskStatus("completed" if url else "waiting", progress, result_url=url, unknown=unknown)


def _task_error(body: dict[str, Any], status: str) -> tuple[str, str]:
    error = body.get("error")
    if not isinstance(error, dict):
        error = {"message": error} if isinstance(error, str) else {}
    code = error.get("code") or error.get("type") or _FAILED[status]
    return str(code), str(error.get("message") or f"no explanation (status {status})")


def _result_url(body: dict[str, Any]) -> str | None:
    candidates: list[Any] = []
    if isinstance(body.get("results"), list):
        candidates += [one.get("url") if isinstance(one, dict) else one for one in body["results"]]
    if isinstance(output := body.get("output"), dict):
        urls = output.get("urls")
        candidates += [output.get("url"), *(urls if isinstance(urls, list) else [])]
    return next((one for one in candidates if isinstance(one, str) and one), None)


def _submitted(body: object) -> SubmittedTask:
    task_id = body.get("id") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(task_id, str) or not _TASK_ID.fullmatch(task_id):
        raise Ambiguous("no_task_id", "The enhancer accepted the request without a task ID.")
    return SubmittedTask(
        task_id,
        estimated_seconds=_positive(body.get("task_info"), "estimated_time"),
        credits=_positive(body.get("usage"), "credits_reserved"),
    )


def _positive(holder: object, field: str) -> float | None:
    value = holder.get(field) if isinstance(holder, dict) else None
    return float(value) if isinstance(value, int | float) and 1e-6 < value < 1e9 else None


def _error_code(answer: _Answer) -> str:
    error = answer.error or {}
    return str(error.get("code") or error.get("type") or "")


def _error_names(answer: _Answer) -> set[str]:
    error = answer.error or {}
    return {str(error.get("code")), str(error.get("type"))}


def _retry_after(answer: _Answer) -> float | None:
    """Seconds from a Retry-After header in either of its formats, at most SQS's longest delay."""
    text = answer.headers.get("retry-after", "").strip()
    try:
        seconds = float(text) if text.isdecimal() else _seconds_until(text)
    except (ValueError, TypeError, ArithmeticError):  # dates in the year 99999, or with an impossible time zone
        return None
    return min(max(seconds, 0), _MOST_RETRY_AFTER_SECONDS)


def _seconds_until(http_date: str) -> float:
    when = parsedate_to_datetime(http_date)
    return (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _call(method: str, url: str, key: str, seconds: float, body: _Body | None = None) -> _Answer:
    """One request on a new connection. Redirects are not followed, because they would forward the key.

    On a reused connection, a request that is lost because the connection was already closed looks like one that was
    accepted without an answer.
    """
    return _bounded(lambda: _exchange(method, url, key, seconds, body), seconds + _GRACE_SECONDS)


def _bounded(call: Callable[[], _Answer], seconds: float) -> _Answer:
    """What `call` returns or raises. Raises ConnectionError if it takes longer than `seconds`.

    The timeouts of requests begin anew with each byte that is received, so a server that drips its headers would hold
    the function until it is killed.
    """
    ends: queue.SimpleQueue[_Answer | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            ends.put(call())
        except BaseException as error:  # noqa: BLE001  # raised again by the waiting thread
            ends.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        end = ends.get(timeout=seconds)
    except queue.Empty:
        raise requests.ConnectionError("the answer is too slow") from None
    if isinstance(end, BaseException):
        raise end
    return end


def _exchange(method: str, url: str, key: str, seconds: float, body: _Body | None) -> _Answer:
    deadline = time.monotonic() + seconds
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "Connection": "close"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    with requests.Session() as session:
        session.trust_env = False  # no proxy or .netrc may read or replace the key
        session.mount("https://", VerifiedTLSAdapter())
        response = session.request(
            method,
            url,
            data=body,
            headers=headers,
            timeout=(_CONNECT_SECONDS, seconds),
            allow_redirects=False,
            stream=True,
        )
        content = _read(response, deadline)
    return _Answer(response.status_code, _json(content), {k.lower(): v for k, v in response.headers.items()})


def _read(response: requests.Response, deadline: float) -> bytes:
    """The whole body. Raises ConnectionError if it is too long or still incomplete after the deadline.

    A complete body counts even if it is late: after a delay of the function itself, it may name a task that is charged.
    """
    content, late = b"", False
    while chunk := response.raw.read1(65536, decode_content=True):
        content += chunk
        if late or len(content) > _MOST_ANSWER_BYTES:
            raise requests.ConnectionError("the answer is too long or too slow")
        late = time.monotonic() > deadline
    return content


def _json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
