"""`python -m tests.model.explorer`: every interleaving of what can happen to an upload, breadth first.

The handler of `submit`, `decide`, and the ledger are the real ones. The updates of the workflow are read from its file.
A function can end before any of its calls. Everything else (queue, objects, vendor, owner, and clock) is a transition.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import ClientError, ReadTimeoutError

from lumendrop import outcomes
from lumendrop.upload_queue import Message
from sandbox.aws.template import parse_yaml
from tests.model.ports import NOW, POSTS, Answer, Pending, Submit, gone
from tests.model.table import Item, Table

WORKFLOW = Path(__file__).resolve().parents[2] / "statemachines/enhance.asl.yaml"
MOST_ATTEMPTS = 3
MOST_WAITS = 1  # a message that waits for a living claim is delivered this often; more often changes nothing


class Msg(NamedTuple):
    """A message in the queue."""

    version: str
    id: str
    chain: str
    waits: int = 0
    send_again: int = 0
    task: str = ""


class Flight(NamedTuple):
    """A function that handles a message and has got these answers.

    `unwatched` is the paid task that had no workflow when it began, if there was one.
    """

    message: Msg
    unwatched: str
    answers: tuple[Answer, ...] = ()


class Run(NamedTuple):
    """An execution of the workflow."""

    name: str
    version: str
    attempt: int
    task: str
    outcome: str
    phase: str = "running"


class Task(NamedTuple):
    """A task that the vendor created. `heard` is true if `submit` got its ID and was not killed before recording it."""

    version: str
    attempt: int
    id: str
    heard: bool


class Budget(NamedTuple):
    """How often something may still happen."""

    crash: int = 0
    fault: int = 0
    lost: int = 0
    delete: int = 0
    retry: int = 0
    unavailable: int = 0
    retryable: int = 0

    def less(self, name: str) -> Budget:
        return self._replace(**{name: getattr(self, name) - 1})


class State(NamedTuple):
    """Everything that exists. `made` counts the copies of each chain and number, and the sends without an answer."""

    budget: Budget
    rows: tuple[tuple[str, str, str], ...] = ()
    queue: tuple[Msg, ...] = ()
    flights: tuple[Flight, ...] = ()
    runs: tuple[Run, ...] = ()
    gone: frozenset[str] = frozenset()
    tasks: tuple[Task, ...] = ()
    photos: frozenset[str] = frozenset()
    reports: frozenset[str] = frozenset()
    consent: frozenset[tuple[str, int]] = frozenset()
    superseded: frozenset[tuple[str, int]] = frozenset()
    unclear: frozenset[tuple[str, int]] = frozenset()
    made: tuple[tuple[str, int, int, int], ...] = ()


class Violation(Exception):
    """A promise does not hold."""


Step = tuple[str, State]


@cache
def _item(text: str) -> dict[str, Any]:
    item: dict[str, Any] = msgspec.json.decode(text)
    return item


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _rows(state: State) -> dict[tuple[str, str], Item]:
    return {(pk, sk): _item(text) for pk, sk, text in state.rows}


def _with_rows(state: State, rows: Mapping[tuple[str, str], Item]) -> State:
    kept = sorted((pk, sk, _text(item)) for (pk, sk), item in rows.items() if not pk.startswith("day#"))
    return state._replace(rows=tuple(kept))


def _row(state: State, version: str) -> dict[str, Any] | None:
    return next((_item(text) for pk, sk, text in state.rows if pk.startswith("object#") and sk == version), None)


def _status(state: State, version: str) -> str:
    row = _row(state, version)
    return row["status"]["S"] if row else ""


def _attempt(state: State, version: str) -> int:
    row = _row(state, version)
    return int(row["attempt"]["N"]) if row else 0


def _is_claimed_alive(state: State, version: str) -> bool:
    row = _row(state, version)
    return bool(row and row["status"]["S"] == "claimed" and int(row["claim_expires"]["N"]) > NOW)


@cache
def _message(message: Msg) -> Message:
    event = {
        "time": "",
        "detail": {
            "bucket": {"name": "in"},
            "object": {"key": "photo.jpg", "version-id": message.version, "size": 9, "sequencer": message.version[1:]},
        },
    }
    attributes = {
        "waits": message.waits,
        "send-again": message.send_again,
        "chain": message.chain,
        "task": message.task,
    }
    named = {name: {"stringValue": str(value)} for name, value in attributes.items() if value}
    raw = {"messageId": message.id, "body": _text(event), "messageAttributes": named}
    return msgspec.convert(raw, Message)


class Explorer:
    """Steps from one state to the next ones, and checks the promises on the way."""

    def __init__(self, submit: Submit | None = None, concurrency: int = 2) -> None:
        self.submit = submit or Submit()
        self._concurrency = concurrency
        self._states: dict[str, dict[str, Any]] = parse_yaml(WORKFLOW.read_text())["States"]

    # ------------------------------------------------------------ steps

    def steps(self, state: State) -> Iterator[Step]:
        yield from self._deliveries(state)
        for flight in dict.fromkeys(state.flights):
            yield from self._flight(state, flight)
        for run in state.runs:
            if run.phase != "ended":
                yield from self._workflow(state, run)
        yield from self._world(state)

    def _deliveries(self, state: State) -> Iterator[Step]:
        if len(state.flights) >= self._concurrency:
            return
        for message in dict.fromkeys(state.queue):
            if message.waits >= MOST_WAITS and _is_claimed_alive(state, message.version):
                continue
            left = list(state.queue)
            left.remove(message)
            flights = _sorted_flights((*state.flights, Flight(message, _unwatched(state, message.version))))
            yield (
                f"{message.version}: message {message.id} is received",
                state._replace(queue=tuple(left), flights=flights),
            )

    def _flight(self, state: State, flight: Flight) -> Iterator[Step]:
        version, others = flight.message.version, list(state.flights)
        others.remove(flight)
        rest = state._replace(flights=tuple(others))
        if state.budget.crash:
            yield f"{version}: submit is killed", self._killed(rest._replace(budget=rest.budget.less("crash")), flight)
        following = self.submit.next_call(_message(flight.message), flight.message, flight.answers)
        if isinstance(following, Pending):
            for name, answer, changed in self._call(rest, flight, following):
                after = self._hurried(changed, flight._replace(answers=(*flight.answers, answer)))
                flights = _sorted_flights((*changed.flights, after))
                yield f"{version}: {following.port} {name}".strip(), changed._replace(flights=flights)
        elif isinstance(following, Exception):
            yield f"{version}: submit fails ({type(following).__name__})", _enqueue(rest, flight.message)
        else:
            _check_watched(rest, flight)
            yield f"{version}: submit ends", _without_chains(rest)

    def _hurried(self, state: State, flight: Flight) -> Flight:
        """The function after calls that nothing else can influence or notice, whose interleavings are all the same."""
        while True:
            following = self.submit.next_call(_message(flight.message), flight.message, flight.answers)
            port = following.port if isinstance(following, Pending) else ""
            alone = port == "key" or (
                port == "get_item" and following.arguments["Key"]["pk"]["S"].startswith("upload#")
            )
            if not alone and not (port == "inspect" and not state.budget.delete):
                return flight
            ((_, answer, _),) = self._call(state, flight, following)  # type: ignore[arg-type]  # it is Pending
            flight = flight._replace(answers=(*flight.answers, answer))

    def _killed(self, state: State, flight: Flight) -> State:
        """The message comes back. A claim without an answer is unclear from now on."""
        version = flight.message.version
        if _holds_claim(state, flight):
            state = state._replace(unclear=state.unclear | {(version, _attempt(state, version))})
        if any(answer.name == "sent" for answer in flight.answers):
            state = _repeats(state, flight.message)
        tasks = tuple(one._replace(heard=False) if _is_unrecorded(state, one) else one for one in state.tasks)
        return _enqueue(state._replace(tasks=tasks), flight.message)

    def _call(self, state: State, flight: Flight, call: Pending) -> Iterator[tuple[str, Answer, State]]:
        version = flight.message.version
        if call.port in ("get_item", "put_item", "transact_write_items"):
            yield from self._ledger(state, call)
        elif call.port == "inspect":
            is_gone = version in state.gone
            yield ("finds nothing", Answer("gone", gone()), state) if is_gone else ("is good", Answer("good"), state)
        elif call.port == "key":
            yield "is read", Answer("key"), state
        elif call.port == "post":
            yield from _post(state, version)
        elif call.port == "send":
            yield from _send(state, flight.message, call.arguments)
        elif call.port == "start":
            yield "", Answer("started"), _start(state, version, call.arguments)

    def _ledger(self, state: State, call: Pending) -> Iterator[tuple[str, Answer, State]]:
        table = Table(_rows(state))
        try:
            value: Any = getattr(table, call.port)(**call.arguments)
            name = f"{call.port} {_text(value)}"
        except ClientError as error:
            value, name = error, f"{call.port} failed {_text(error.response)}"
        changed = _with_rows(state, table.rows)
        _check_release(state, changed)
        yield "", Answer(name, value), changed
        if state.budget.fault and call.port == "put_item":
            denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "PutItem")
            yield "is denied", Answer("denied", denied), state._replace(budget=state.budget.less("fault"))

    # ------------------------------------------------------------ the workflow

    def _workflow(self, state: State, run: Run) -> Iterator[Step]:
        version, others = run.version, [one for one in state.runs if one != run]

        def become(phase: str, changed: State = state) -> State:
            return changed._replace(runs=tuple(sorted([*others, run._replace(phase=phase)])))

        if run.phase == "sending":
            one = _new_id(state)
            yield f"{version}: the workflow requeues", _enqueue(become("ended"), Msg(version, one, one))
            return
        if run.outcome:
            yield f"{version}: the workflow reports", self._reported(become("ended"), run, _item(run.outcome))
            return
        if any(one > version for one in state.photos):
            superseded = _outcome("newer_upload_delivered")
            yield f"{version}: is superseded", self._reported(become("ended"), run, superseded)
        else:
            delivered = become("ended", state._replace(photos=state.photos | {version}))
            delivered = delivered._replace(reports=frozenset(one for one in delivered.reports if one > version))
            yield f"{version}: is enhanced", self._updated(delivered, run, "RecordEnhanced", {})[0]
        failed = _outcome("deadline_passed", deadline="then", remark="")
        yield f"{version}: the task fails", self._reported(become("ended"), run, failed)
        if state.budget.retryable and run.attempt < MOST_ATTEMPTS:
            less = state._replace(budget=state.budget.less("retryable"))
            changed, held = self._updated(less, run, "RecordRetrying", failed)
            after = become("sending", changed) if held else self._reported(become("ended", changed), run, failed)
            yield f"{version}: the task fails for a temporary reason", after

    def _reported(self, state: State, run: Run, outcome: Mapping[str, Any]) -> State:
        """No report is written next to the photo of this version or of a newer one."""
        if not any(one >= run.version for one in state.photos):
            state = state._replace(reports=state.reports | {run.version})
        return self._updated(state, run, "RecordNotEnhanced", outcome)[0]

    def _updated(self, state: State, run: Run, name: str, outcome: Mapping[str, Any]) -> tuple[State, bool]:
        """The state after this update of the workflow, and whether its condition held."""
        arguments = self._states[name]["Arguments"]
        texts = {field: {"S": str(outcome.get(field))} for field in ("status", "code", "message", "advice")}
        computed: dict[str, Any] = {
            ":attempt": {"N": str(run.attempt)},
            ":now": {"S": "now"},
            ":status": {"S": outcome.get("status")},
            ":report_key": {"S": "errors/"},
            ":outcome": {"M": texts | {"may_have_cost": {"BOOL": bool(outcome.get("may_have_cost"))}}},
            ":output": {"M": {}},
        }
        values = {given: computed.get(given, value) for given, value in arguments["ExpressionAttributeValues"].items()}
        row = next((pk, sk) for pk, sk, _ in state.rows if pk.startswith("object#") and sk == run.version)
        table = Table(_rows(state))
        try:
            table.update_item(
                Key={"pk": {"S": row[0]}, "sk": {"S": row[1]}},
                **{one: arguments[one] for one in ("UpdateExpression", "ConditionExpression")},
                ExpressionAttributeNames=arguments["ExpressionAttributeNames"],
                ExpressionAttributeValues=values,
            )
        except ClientError:
            return state, False
        return _with_rows(state, table.rows), True

    # ------------------------------------------------------------ owner and clock

    def _world(self, state: State) -> Iterator[Step]:
        for version in sorted({row[1] for row in state.rows if row[0].startswith("object#")}):
            if _is_claimed_alive(state, version):
                yield f"{version}: the claim expires", self._expired(state, version)
            row = _row(state, version) or {}
            if state.budget.retry and "finished_at" in row and row["status"]["S"] != "enhanced":
                attempt, one = int(row["attempt"]["N"]), _new_id(state)
                asked = state._replace(budget=state.budget.less("retry"), consent=state.consent | {(version, attempt)})
                if row["status"]["S"] == "superseded":
                    asked = asked._replace(superseded=asked.superseded | {(version, attempt)})
                yield f"{version}: the owner retries", _enqueue(asked, Msg(version, one, one, send_again=attempt))
        if state.budget.delete and "v1" not in state.gone:
            yield "v1: is deleted", state._replace(budget=state.budget.less("delete"), gone=state.gone | {"v1"})

    def _expired(self, state: State, version: str) -> State:
        """Functions that may hold the claim have ended by then."""
        rows = _rows(state)
        key = next(key for key in rows if key[0].startswith("object#") and key[1] == version)
        for flight in [one for one in state.flights if one.message.version == version]:
            others = list(state.flights)
            others.remove(flight)
            state = self._killed(state._replace(flights=tuple(others)), flight)
        return _with_rows(state, rows | {key: {**rows[key], "claim_expires": {"N": "0"}}})


# ---------------------------------------------------------------- what calls do


def _post(state: State, version: str) -> Iterator[tuple[str, Answer, State]]:
    attempt = _attempt(state, version)
    _check_may_send(state, version, attempt)
    for name, error in POSTS.items():
        changed = state
        if name == "unavailable":
            if not state.budget.unavailable:
                continue
            changed = state._replace(budget=state.budget.less("unavailable"))
        if "created" in name and "not" not in name:
            number = sum((one.version, one.attempt) == (version, attempt) for one in state.tasks)
            task = Task(version, attempt, f"task-{version}-{attempt}-{number}", name == "created")
            changed = changed._replace(tasks=tuple(sorted((*changed.tasks, task))))
            _check_paid_once(changed)
        if name.startswith("ambiguous"):
            changed = changed._replace(unclear=changed.unclear | {(version, attempt)})
        value = error() or f"task-{version}-{attempt}-0"
        yield name, Answer(f"post {'ambiguous' if name.startswith('ambiguous') else name}", value), changed


def _send(state: State, message: Msg, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Answer, State]]:
    named = {name: one["StringValue"] for name, one in arguments["MessageAttributes"].items()}
    one = Msg(
        message.version,
        _new_id(state),
        named.get("chain", message.chain),
        int(named["waits"]),
        int(named.get("send-again", 0)),
        named.get("task", ""),
    )
    yield "", Answer("sent", {}), _made(_enqueue(state, one), one, lost=False)
    if state.budget.lost:
        less = state._replace(budget=state.budget.less("lost"))
        silence = ReadTimeoutError(endpoint_url="https://sqs.test")
        yield "is accepted without an answer", Answer("silence", silence), _made(_enqueue(less, one), one, lost=True)


def _made(state: State, message: Msg, *, lost: bool) -> State:
    """Counts copies. A copy more than sends without an answer means that copies multiply."""
    if message.task:
        return state
    counts = {(chain, number): (made, silent) for chain, number, made, silent in state.made}
    made, silent = counts.get((message.chain, message.waits), (0, 0))
    counts[message.chain, message.waits] = (made + 1, silent + lost)
    if made > silent:
        raise Violation("copies of a message multiply")
    return state._replace(made=tuple(sorted((*key, *value) for key, value in counts.items())))


def _repeats(state: State, message: Msg) -> State:
    """A function that was killed after it had sent a copy sends another one when its message comes back."""
    made = [
        (chain, number, count, silent + ((chain, number) == (message.chain, message.waits + 1)))
        for chain, number, count, silent in state.made
    ]
    return state._replace(made=tuple(made))


def _start(state: State, version: str, arguments: Mapping[str, Any]) -> State:
    given = arguments["given"]
    if given["task"] is None and given["outcome"] is None:
        raise Violation("a workflow starts with neither task nor outcome")
    if any(run.name == arguments["name"] for run in state.runs):
        return state
    task = given["task"]["id"] if given["task"] else ""
    outcome = _text(given["outcome"]) if given["outcome"] else ""
    run = Run(arguments["name"], version, given["attempt"], task, outcome)
    return state._replace(runs=tuple(sorted((*state.runs, run))))


def _new_id(state: State) -> str:
    used = {one.id for one in state.queue} | {one.message.id for one in state.flights}
    used |= {one.chain for one in state.queue} | {one.message.chain for one in state.flights}
    used |= {pk.partition("#")[2] for pk, *_ in state.rows if pk.startswith("requeue#")}
    used |= {_item(text)["message_id"]["S"] for pk, _, text in state.rows if pk.startswith("requeue#")}
    return next(str(number) for number in range(1, 100) if str(number) not in used)


def _enqueue(state: State, message: Msg) -> State:
    return state._replace(queue=tuple(sorted((*state.queue, message))))


def _sorted_flights(flights: tuple[Flight, ...]) -> tuple[Flight, ...]:
    return tuple(sorted(flights, key=lambda one: (one.message, [answer.name for answer in one.answers])))


def _without_chains(state: State) -> State:
    """Without the rows of chains that have no message any more."""
    alive = {one.chain for one in state.queue} | {one.message.chain for one in state.flights}
    rows = tuple(row for row in state.rows if not row[0].startswith("requeue#") or row[0].partition("#")[2] in alive)
    return state._replace(rows=rows, made=tuple(one for one in state.made if one[0] in alive))


def _holds_claim(state: State, flight: Flight) -> bool:
    """Whether this function has claimed the upload. Its transactions claim and release by turns, a put records."""
    holds = False
    for answer in flight.answers:
        if answer.name == "transact_write_items {}":
            holds = not holds
        elif answer.name == "put_item {}":
            holds = False
    return holds and _status(state, flight.message.version) == "claimed"


def _outcome(code: str, **values: object) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(outcomes.outcome(code, **values))
    return made


def _is_unrecorded(state: State, task: Task) -> bool:
    row = _row(state, task.version) or {}
    return row.get("task_id", {}).get("S") != task.id and not any(run.task == task.id for run in state.runs)


# ---------------------------------------------------------------- the promises


def _check_paid_once(state: State) -> None:
    attempts = [(task.version, task.attempt) for task in state.tasks]
    if len(set(attempts)) < len(attempts):
        raise Violation("an attempt is paid for twice")


def _check_may_send(state: State, version: str, attempt: int) -> None:
    """Not after a submit without a clear answer, and not for a superseded upload."""
    before = [number for one, number in state.unclear if one == version]
    if any(number >= attempt or (version, number) not in state.consent for number in before):
        raise Violation("a photo is sent again after an ambiguous answer without the owner's consent")
    if (version, attempt - 1) in state.superseded:
        raise Violation("a superseded upload is sent again")


def _check_release(before: State, after: State) -> None:
    """A released claim restores all of the previous row, so that an upload that has ended is not reported again."""
    for version in {row[1] for row in after.rows if row[0].startswith("object#")}:
        row = _row(after, version) or {}
        is_released = _attempt(after, version) < _attempt(before, version)
        if is_released and row["status"]["S"] != "retrying" and "finished_at" not in row:
            raise Violation("a released claim loses how the last attempt ended")


def _check_watched(state: State, flight: Flight) -> None:
    """A function that ends well leaves no paid task without a workflow."""
    if flight.unwatched and flight.unwatched == _unwatched(state, flight.message.version):
        raise Violation("submit ends, and no workflow watches the paid task")


def _unwatched(state: State, version: str) -> str:
    """The paid task of this upload, if no workflow watches it."""
    row = _row(state, version)
    if row is None or row["status"]["S"] != "submitted":
        return ""
    task: str = row["task_id"]["S"]
    return "" if any(run.task == task for run in state.runs) else task


def check_rest(state: State) -> None:
    """Nothing more happens: each upload has one final status, with a photo or a report, and each task is watched."""
    for version in sorted({row[1] for row in state.rows if row[0].startswith("object#")}):
        row = _row(state, version) or {}
        status = row["status"]["S"]
        if "finished_at" not in row:
            raise Violation(f"an upload stays {status}")
        has_photo = any(one >= version for one in state.photos)  # its own or a newer one
        if has_photo == (version in state.reports):
            raise Violation(f"an upload that is {status} has {'both' if has_photo else 'neither'}")
        if status == "unknown" and not any(one == version for one, _ in state.unclear):
            raise Violation("an upload is unknown, although nothing was unclear")
    for task in state.tasks:
        if task.heard and not any(run.task == task.id for run in state.runs):
            raise Violation("a paid task is not watched")


def is_at_rest(state: State) -> bool:
    running = any(run.phase != "ended" for run in state.runs)
    return not (state.queue or state.flights or running)


# ---------------------------------------------------------------- exploring


class Result(NamedTuple):
    states: int
    transitions: int
    seconds: float
    violation: str
    trace: list[str]


def explore(first: State, explorer: Explorer, most: int = 10_000_000) -> Result:
    """Visits every state that can follow, breadth first, so the first violation has the shortest trace."""
    begun = time.monotonic()
    came: dict[State, tuple[State, str] | None] = {first: None}
    waiting, transitions = deque([first]), 0
    while waiting and len(came) < most:
        state = waiting.popleft()
        label = "at rest"
        try:
            if is_at_rest(state):
                check_rest(state)
            for label, following in explorer.steps(state):
                transitions += 1
                if following not in came:
                    came[following] = (state, label)
                    waiting.append(following)
        except Violation as violation:
            return Result(
                len(came),
                transitions,
                time.monotonic() - begun,
                str(violation),
                [*_trace(came, state), f"then, after {label}"],
            )
    return Result(len(came), transitions, time.monotonic() - begun, "", [])


def _trace(came: Mapping[State, tuple[State, str] | None], state: State) -> list[str]:
    labels: list[str] = []
    while found := came[state]:
        state, label = found
        labels.append(label)
    return labels[::-1]


def uploads(*versions: str, **budget: int) -> State:
    """Deliveries of these versions are in the queue, and so much may happen."""
    queue = [Msg(version, str(number), str(number)) for number, version in enumerate(versions, 1)]
    return State(Budget(**budget), queue=tuple(sorted(queue)))


SCENARIOS: dict[str, State] = {
    "two deliveries, a crash": uploads("v1", "v1", crash=1),
    "three deliveries": uploads("v1", "v1", "v1"),
    "two deliveries, deletion": uploads("v1", "v1", delete=1),
    "lost answers of the queue": uploads("v1", lost=1, unavailable=2),
    "another attempt, deletion, a crash": uploads("v1", delete=1, retryable=1, crash=1),
    "a retry by the owner, a crash": uploads("v1", retry=1, crash=1),
    "an unwritable ledger": uploads("v1", fault=1),
    "a blocked account, a crash": uploads("v1", unavailable=1, crash=1),
    "a newer version, a retry by the owner": uploads("v1", "v2", retry=1),
}
SMALL = {
    "a crash": uploads("v1", crash=1),
    "deletion, another attempt": uploads("v1", delete=1, retryable=1),
    "a retry by the owner": uploads("v1", retry=1),
    "an unwritable ledger": uploads("v1", fault=1),
    "a blocked account": uploads("v1", unavailable=2),
    "a newer version": uploads("v1", "v2"),
}
"""For `make test`."""


def run(name: str) -> tuple[str, Result]:
    return name, explore(SCENARIOS[name], Explorer())


def main(report: Callable[[str], None] = print) -> int:
    """Explores every scenario; 0 if all promises hold."""
    argparse.ArgumentParser(prog="python -m tests.model.explorer", description=__doc__).parse_args()
    results = []
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for name, found in processes.map(run, SCENARIOS):
            results.append(found)
            report(f"{name}: {found.states:,} states, {found.transitions:,} transitions, {found.seconds:.0f} s")
            if found.violation:
                report("\n  ".join([f"  {found.violation}:", *found.trace]))
    states, transitions = sum(one.states for one in results), sum(one.transitions for one in results)
    report(f"{states:,} states and {transitions:,} transitions in {len(results)} scenarios")
    return int(any(found.violation for found in results))


if __name__ == "__main__":
    raise SystemExit(main())
