"""`python -m tests.model.explorer`: every interleaving of what can happen to an upload, breadth first.

The handler of `submit`, `decide`, and the ledger are the real ones. The updates of the workflow are read from its file.
A function can end before any of its calls. Everything else (queue, objects, vendor, owner, and clock) is a transition.

Equal states are explored once. So that more states are equal, messages have no IDs (deliveries are interchangeable),
and requeues count from the latest one of their chain. Steps that nothing else can notice follow immediately.
"""

from __future__ import annotations

import argparse
import os
import time
from array import array
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import ClientError, ReadTimeoutError

from lumendrop import images, outcomes
from lumendrop.storage import DeliveredObject, LostRace, Reusable
from lumendrop.upload_queue import Message
from lumendrop.uploads import Upload
from sandbox.aws.template import parse_yaml
from tests.model.ports import NOW, POSTS, Answer, Pending, Submit, gone
from tests.model.table import Item, Rows, Table

WORKFLOW = Path(__file__).resolve().parents[2] / "statemachines/enhance.asl.yaml"
MOST_ATTEMPTS = 3
REQUEUES = 5  # the requeue count of each message, as the handler sees it: it only compares counts
STALE = -2
NEWER = "v2"


class Msg(NamedTuple):
    """A message in the queue. `upload` is its name.

    `chain` numbers the chains of copies with more than one message, and `age` counts from its latest requeue: 0 is the
    newest copy. `is_holder` is true for the message that the row of the chain names.
    """

    upload: str
    chain: int = 0
    age: int = 0
    is_holder: bool = False
    send_again: int = 0
    pay: bool = False
    task: str = ""


class Flight(NamedTuple):
    """A function that handles a message. `node` is the number of what it did so far.

    `unwatched` is the paid task that had no workflow when it began, if there was one.
    """

    message: Msg
    unwatched: str
    node: int


class Run(NamedTuple):
    """An execution of the workflow, for a task, an outcome, or a photo that `submit` has copied."""

    name: str
    upload: str
    attempt: int
    task: str
    outcome: str
    phase: str = "running"


class Task(NamedTuple):
    """A task that the vendor created. `heard` is true if `submit` got its ID and was not killed before recording it."""

    upload: str
    attempt: int
    id: str
    heard: bool


class Photo(NamedTuple):
    """An object in the output bucket. `payer` is the upload whose task produced it."""

    key: str
    upload: str
    payer: str


class Chain(NamedTuple):
    """Copies of a message. `has_row` is true once one was requeued. `spare` has the copies, by number, that may exist
    twice: those that SQS took without an answer, or whose sender was killed; -1 after a copy that may not."""

    number: int
    has_row: bool
    spare: tuple[tuple[int, int], ...]


class Budget(NamedTuple):
    """How often something may still happen."""

    crash: int = 0
    fault: int = 0
    lost: int = 0
    delete: int = 0
    discard: int = 0
    retry: int = 0
    pay: int = 0
    stop: int = 0
    unseen: int = 0
    retryable: int = 0
    unavailable: int = 0

    def less(self, name: str) -> Budget:
        return self._replace(**{name: getattr(self, name) - 1})


class State(NamedTuple):
    """Everything that exists. `rows` is the number of the ledger's content (see Explorer.rows)."""

    budget: Budget
    rows: int = 0
    queue: tuple[Msg, ...] = ()
    flights: tuple[Flight, ...] = ()
    runs: tuple[Run, ...] = ()
    gone: frozenset[str] = frozenset()
    tasks: tuple[Task, ...] = ()
    photos: frozenset[Photo] = frozenset()
    delivered: frozenset[str] = frozenset()
    discarded: frozenset[str] = frozenset()
    reports: frozenset[str] = frozenset()
    consent: frozenset[tuple[str, int]] = frozenset()
    superseded: frozenset[tuple[str, int]] = frozenset()
    unclear: frozenset[tuple[str, int]] = frozenset()
    chains: tuple[Chain, ...] = ()


class Fact(NamedTuple):
    """What the promises need of a row."""

    status: str
    attempt: int
    is_alive: bool
    is_finished: bool
    task: str


NO_ROW = Fact("", 0, False, False, "")


class Violation(Exception):
    """A promise does not hold after `step`."""

    step = "at rest"


Step = tuple[str, State]

ABORTED = (
    '{"status":"failed","code":"execution_aborted","message":"It was stopped.","advice":"fetch","may_have_cost":true}'
)
"""The outcome of an execution that ended early, as LoadFailedExecution makes it."""


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


@cache
def upload(name: str) -> Upload:
    """`v1` and `v2` are versions of one key; the name of an upload with another key begins with another letter."""
    key = "photo.jpg" if name[0] == "v" else f"{name[0]}.jpg"
    return Upload("in", key, name, name[1:], 9, "")


def _is_same_key(one: str, other: str) -> bool:
    return one[0] == other[0]


@cache
def _name(correlation_id: str) -> str:
    return next(name for name in ("v1", "v2", "c1") if upload(name).correlation_id == correlation_id)


@cache
def _message(name: str, send_again: int, pay: bool, task: str) -> Message:
    about = upload(name)
    key, version = about.key, about.version_id
    photo = {"key": key, "version-id": version, "size": about.size, "sequencer": about.sequencer}
    event = {"time": "", "detail": {"bucket": {"name": about.bucket}, "object": photo}}
    attributes = {"waits": REQUEUES, "send-again": send_again, "pay": int(pay), "chain": "chain", "task": task}
    named = {one: {"stringValue": str(value)} for one, value in attributes.items() if value}
    return msgspec.convert({"messageId": "this", "body": _text(event), "messageAttributes": named}, Message)


class Node:
    """What a function did so far: its message and the answers to its calls. `following` is what it does next."""

    __slots__ = ("after", "answers", "following", "has_sent", "holds_claim", "key", "number")

    def __init__(self, number: int, key: tuple[Any, ...], answers: tuple[Answer, ...]) -> None:
        self.number = number
        self.key = key
        self.answers = answers
        self.after: dict[str, Node] = {}
        self.following: Pending | Exception | None = None
        self.holds_claim = False
        self.has_sent = False


class Explorer:
    """Steps from one state to the next ones, and checks the promises on the way."""

    def __init__(self, submit: Submit | None = None, *, retries_ambiguous: bool = False) -> None:
        self.submit = submit or Submit()
        self.nodes: list[Node] = []
        self.rows: list[dict[tuple[str, str], Item]] = [{}]
        self._retries_ambiguous = retries_ambiguous
        self._roots: dict[tuple[Any, ...], Node] = {}
        self._row_numbers: dict[Hashable, int] = {(): 0}
        self._facts: list[dict[str, Fact]] = [{}]
        self._known: dict[tuple[int, int], tuple[Answer, int]] = {}
        self._known_updates: dict[tuple[int, str, int, str, str], tuple[int, bool]] = {}
        self._states: dict[str, dict[str, Any]] = parse_yaml(WORKFLOW.read_text())["States"]

    # ------------------------------------------------------------ functions and rows, each made once

    def _first(self, message: Msg) -> Node:
        key = (message.upload, message.send_again, message.pay, message.task)
        if key not in self._roots:
            self._roots[key] = self._new_node(key, ())
        return self._roots[key]

    def _new_node(self, key: tuple[Any, ...], answers: tuple[Answer, ...]) -> Node:
        node = Node(len(self.nodes), key, answers)
        node.following = self.submit.run(_message(*key), answers)
        self.nodes.append(node)
        return node

    def _next(self, node: Node, answer: Answer) -> Node:
        found = node.after.get(answer.name)
        if found is None:
            found = node.after[answer.name] = self._new_node(node.key, (*node.answers, answer))
            found.holds_claim, found.has_sent = node.holds_claim, node.has_sent or answer.name == "sent"
            if answer.name == "transact_write_items {}":  # these claim and release by turns
                found.holds_claim = not node.holds_claim
            elif answer.name == "put_item {}" and not _is_requeue(node.following):
                found.holds_claim = False
        return found

    def _number(self, rows: Mapping[tuple[str, str], Item]) -> int:
        """The number of this content of the ledger, without the daily counter."""
        kept = {key: item for key, item in rows.items() if not key[0].startswith("day#")}
        text = tuple(sorted((*key, _text(item)) for key, item in kept.items()))
        if text not in self._row_numbers:
            self._row_numbers[text] = len(self.rows)
            self.rows.append(kept)
            self._facts.append({sk: _fact(item) for (pk, sk), item in kept.items() if pk.startswith("object#")})
        return self._row_numbers[text]

    def fact(self, state: State, name: str) -> Fact:
        return self._facts[state.rows].get(name, NO_ROW)

    # ------------------------------------------------------------ steps

    def steps(self, state: State) -> Iterator[Step]:
        if steps := self._independent(state):
            for label, following in steps:
                yield label, self._forgotten(following)
            return
        for message in dict.fromkeys(state.queue):
            yield from self._delivered(state, message)
        for flight in dict.fromkeys(state.flights):
            yield from self._flight(state, flight)
        for run in state.runs:
            if run.phase != "ended":
                yield from self._workflow(state, run)
        for name in self._facts[state.rows]:
            yield from self._row(state, name)
        yield from self._world(state)

    def enhanced(self, name: str) -> State:
        """The state after this upload alone was enhanced: the first step of each state is the one without a fault."""
        state = uploads(name)
        while not is_at_rest(state):
            state = next(following for _, following in self.steps(state))
        assert self.fact(state, name).status == "enhanced"
        return state

    def _independent(self, state: State) -> list[Step]:
        """The steps of a newer version, if it has any, unless its photo can be delivered now.

        Only its photo matters for the older version, whose steps matter nothing for the newer one. They share the
        number of crashes, but one that happens earlier to the newer version leaves the same states. So it is enough to
        explore these steps first.
        """
        if self.shares_photos or any(_waits_for_task(run) and run.upload == NEWER for run in state.runs):
            return []
        steps: list[Step] = []
        for message in dict.fromkeys(state.queue):
            if message.upload == NEWER:
                steps += self._delivered(state, message)
        for flight in dict.fromkeys(state.flights):
            if flight.message.upload == NEWER:
                steps += self._flight(state, flight)
        for run in state.runs:
            if run.upload == NEWER and run.phase != "ended":
                steps += self._workflow(state, run)
        return steps + list(self._claim(state, NEWER))

    def _forgotten(self, state: State) -> State:
        """The state without a newer version that has ended, except for its photo."""
        active = [one.upload for one in state.queue] + [one.message.upload for one in state.flights]
        active += [run.upload for run in state.runs if run.phase != "ended"]
        if NEWER in active or not self.fact(state, NEWER).is_finished:
            return state
        self._check_end(state, NEWER)
        rows = {key: item for key, item in self.rows[state.rows].items() if key[1] != NEWER}
        return state._replace(
            rows=self._number(rows),
            runs=tuple(run for run in state.runs if run.upload != NEWER),
            tasks=tuple(task for task in state.tasks if task.upload != NEWER),
            reports=state.reports - {NEWER},
            unclear=frozenset(one for one in state.unclear if one[0] != NEWER),
        )

    @property
    def shares_photos(self) -> bool:
        return bool(self.submit.module.SETTINGS.same_photo == "reuse")

    def _delivered(self, state: State, message: Msg) -> Iterator[Step]:
        """A message is received, and the function reads the row."""
        left = list(state.queue)
        left.remove(message)
        flight = Flight(message, self._unwatched(state, message.upload), self._first(message).number)
        after = state._replace(queue=tuple(left))
        yield from self._settled(f"{message.upload}: a message is received", *self._hurried(after, flight, first=True))

    def _flight(self, state: State, flight: Flight) -> Iterator[Step]:
        name, others = flight.message.upload, list(state.flights)
        others.remove(flight)
        rest = state._replace(flights=tuple(others))
        if state.budget.crash:
            less = rest._replace(budget=rest.budget.less("crash"))
            yield f"{name}: submit is killed", self._killed(less, flight)
        node = self.nodes[flight.node]
        assert isinstance(node.following, Pending)
        try:
            for label, answer, changed, message in self._call(rest, flight, node, node.following):
                after = Flight(message, flight.unwatched, self._next(node, answer).number)
                text = f"{name}: {node.following.port} {label}".strip()
                yield from self._settled(text, *self._hurried(changed, after))
        except Violation as violation:
            violation.step = f"{name}: {node.following.port}"
            raise

    def _settled(self, label: str, state: State, flight: Flight) -> Iterator[Step]:
        """The state with this function, or after its end: its message is acknowledged, or comes back."""
        following = self.nodes[flight.node].following
        if isinstance(following, Pending):
            yield label, state._replace(flights=tuple(sorted((*state.flights, flight))))
            return
        if isinstance(following, Exception):
            yield f"{label}, and submit fails", _enqueue(state, flight.message)
            return
        if flight.unwatched and flight.unwatched == self._unwatched(state, flight.message.upload):
            raise Violation("submit ends, and no workflow watches the paid task")
        yield label, _without_chains(state)
        if state.budget.crash:
            less = state._replace(budget=state.budget.less("crash"))
            yield f"{label}, and submit is killed", self._killed(less, flight)

    def _hurried(self, state: State, flight: Flight, *, first: bool = False) -> tuple[State, Flight]:
        """The function after calls that nothing else can influence or notice, whose interleavings are all the same.

        After a crash between them, the message comes back as if they had not been made.
        """
        while True:
            node = self.nodes[flight.node]
            call = node.following
            if not isinstance(call, Pending) or not (first or self._is_alone(state, flight, call)):
                return state, flight
            first = False
            ((_, answer, state, message),) = self._call(state, flight, node, call)
            flight = Flight(message, flight.unwatched, self._next(node, answer).number)

    def _is_alone(self, state: State, flight: Flight, call: Pending) -> bool:
        budget = state.budget
        if call.port == "get_item":
            return bool(call.arguments["Key"]["pk"]["S"].startswith("upload#"))
        if call.port == "inspect":
            return not budget.delete
        if call.port == "start":
            return any(run.name == call.arguments["name"] for run in state.runs)
        if _is_requeue(call):
            return not (flight.message.chain or budget.fault or budget.lost)
        if call.port == "send":
            others = sum(one.chain == flight.message.chain for one in state.queue)
            others += sum(one.message.chain == flight.message.chain for one in state.flights)
            return not (others or budget.lost)
        return call.port == "key"

    def _killed(self, state: State, flight: Flight) -> State:
        """The message comes back. A claim without an answer is unclear from now on."""
        name, node = flight.message.upload, self.nodes[flight.node]
        fact = self.fact(state, name)
        if node.holds_claim and fact.status == "claimed":
            tasks = tuple(
                one._replace(heard=False) if (one.upload, one.attempt) == (name, fact.attempt) else one
                for one in state.tasks
            )
            state = state._replace(tasks=tasks, unclear=state.unclear | {(name, fact.attempt)})
        if node.has_sent and flight.message.chain:
            state = _spared(state, flight.message, flight.message.age + 1, 1)
        return _enqueue(state, flight.message)

    def _call(
        self, state: State, flight: Flight, node: Node, call: Pending
    ) -> Iterator[tuple[str, Answer, State, Msg]]:
        message, name = flight.message, flight.message.upload
        same: Iterator[tuple[str, Answer, State]] = iter(())
        if _is_requeue(call):
            yield from self._requeued(state, message, call)
        elif call.port in ("get_item", "put_item", "transact_write_items"):
            same = self._ledger(state, flight, node, call)
        elif call.port == "send":
            yield from _send(state, message, call.arguments)
        elif call.port == "inspect":
            is_gone = name in state.gone
            same = iter([("finds nothing", Answer("gone", gone()), state) if is_gone else ("", Answer("good"), state)])
        elif call.port == "key":
            same = iter([("", Answer("key"), state)])
        elif call.port == "post":
            same = self._post(state, name)
        elif call.port == "start":
            same = iter([("", Answer("started"), _start(state, name, call.arguments))])
        elif call.port == "find":
            same = iter([_find(state, call.arguments)])
        elif call.port == "copy":
            same = iter([_copy(state, name, call.arguments)])
        elif call.port == "look":
            same = iter([_look(state, name)])
        elif call.port == "unreport":
            same = iter([("", Answer("removed"), _without_reports(state, name))])
        for label, answer, changed in same:
            yield label, answer, changed, message

    def _ledger(self, state: State, flight: Flight, node: Node, call: Pending) -> Iterator[tuple[str, Answer, State]]:
        known = (state.rows, node.number)
        if known not in self._known:
            table = Table(dict(self.rows[state.rows]))
            try:
                value: Any = getattr(table, call.port)(**call.arguments)
                label = f"{call.port} {_text(value)}"
            except ClientError as error:
                value, label = error, f"{call.port} failed {_text(error.response)}"
            self._known[known] = Answer(label, value), self._number(table.rows)
        answer, rows = self._known[known]
        changed = state if rows == state.rows else state._replace(rows=rows)
        if call.port == "transact_write_items":
            self._check_transaction(state, changed, flight.message)
        is_refused = isinstance(answer.value, Exception)
        yield "is refused" if is_refused else "", answer, changed
        if call.port == "put_item" and state.budget.fault:
            denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "PutItem")
            yield "is denied", Answer("denied", denied), state._replace(budget=state.budget.less("fault"))
        if call.port == "put_item" and state.budget.lost and not is_refused:
            silence = ReadTimeoutError(endpoint_url="https://dynamodb.test")
            yield "has no answer", Answer("silence", silence), changed._replace(budget=state.budget.less("lost"))

    def _requeued(self, state: State, message: Msg, call: Pending) -> Iterator[tuple[str, Answer, State, Msg]]:
        """The row of the chain, with the real condition. Then all ages count from the new number."""
        chain = _chain(state, message.chain)
        rows: Rows = {}
        if chain.has_row:
            count, holder = {"N": str(REQUEUES - message.age)}, {"S": "this" if message.is_holder else "another"}
            key = {"pk": {"S": "requeue#chain"}, "sk": {"S": "requeue"}}
            rows["requeue#chain", "requeue"] = {**key, "requeue_count": count, "message_id": holder}
        try:
            Table(rows).put_item(**call.arguments)
        except ClientError as error:
            yield "is refused", Answer("put_item failed", error), state, message
        else:
            yield "", Answer("put_item {}", {}), *_advanced(state, message, chain)
        if state.budget.fault:
            denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "PutItem")
            yield "is denied", Answer("denied", denied), state._replace(budget=state.budget.less("fault")), message

    def _post(self, state: State, name: str) -> Iterator[tuple[str, Answer, State]]:
        attempt = self.fact(state, name).attempt
        self._check_may_send(state, name, attempt)
        for label, error in POSTS.items():
            changed = state
            if label == "unavailable":
                if not state.budget.unavailable:
                    continue
                changed = state._replace(budget=state.budget.less("unavailable"))
            if label in ("created", "ambiguous, created"):
                if any((one.upload, one.attempt) == (name, attempt) for one in state.tasks):
                    raise Violation("an attempt is paid for twice")
                task = Task(name, attempt, f"task-{name}-{attempt}", label == "created")
                changed = changed._replace(tasks=tuple(sorted((*changed.tasks, task))))
            if label.startswith("ambiguous"):
                changed = changed._replace(unclear=changed.unclear | {(name, attempt)})
            value = error() or f"task-{name}-{attempt}"
            yield label, Answer(f"post {'ambiguous' if label.startswith('ambiguous') else label}", value), changed

    # ------------------------------------------------------------ the workflow

    def _workflow(self, state: State, run: Run) -> Iterator[Step]:
        name, others = run.upload, [one for one in state.runs if one != run]

        def become(phase: str, changed: State = state, outcome: str | None = None) -> State:
            kept = "" if phase == "ended" else run.outcome if outcome is None else outcome
            after = run._replace(phase=phase, outcome=kept)
            return changed._replace(runs=tuple(sorted([*others, after])))

        if state.budget.stop and run.phase not in ("stopped", "lost"):
            less = state._replace(budget=state.budget.less("stop"))
            yield f"{name}: the execution is stopped", become("stopped", less)
        if state.budget.unseen and _waits_for_task(run):
            less = state._replace(budget=state.budget.less("unseen"))
            yield f"{name}: the execution is stopped, and the event about it is lost", become("lost", less)
        if run.phase == "lost":
            yield f"{name}: is overdue, and the backfill sends it", self._overdue(become("ended"), name)
        elif run.phase == "stopped":
            yield f"{name}: the rule starts an execution", self._after_stop(state, run, become)
        elif run.phase == "sending":
            yield f"{name}: the workflow requeues", _enqueue(become("ended"), Msg(name))
        elif run.phase == "delivered":
            yield f"{name}: the photo is recorded", self._updated(become("ended"), run, "RecordEnhanced")[0]
        elif run.outcome:
            yield f"{name}: the workflow reports", self._reported(become("ended"), run)
        else:
            yield from self._task_ends(state, run, become)

    def _task_ends(self, state: State, run: Run, become: Callable[..., State]) -> Iterator[Step]:
        name = run.upload
        if any(_is_same_key(photo.upload, name) and photo.upload > name for photo in state.photos):
            yield f"{name}: is superseded", become("running", outcome=_outcome("newer_upload_delivered"))
        else:
            delivered = _without_reports(_with_photo(state, name, name), name)
            yield f"{name}: is enhanced", become("delivered", delivered)
        failed = _outcome("deadline_passed", deadline="then", remark="")
        yield f"{name}: the task fails", become("running", outcome=failed)
        if state.budget.retryable and run.attempt < MOST_ATTEMPTS:
            less = state._replace(budget=state.budget.less("retryable"))
            changed, held = self._updated(less, run, "RecordRetrying", failed)
            after = become("sending", changed) if held else become("running", changed, outcome=failed)
            yield f"{name}: the task fails for a temporary reason", after

    def _after_stop(self, state: State, run: Run, become: Callable[..., State]) -> State:
        """ExecutionFailureRule starts the workflow with the status change. It reports what has no end yet."""
        if not run.task and not run.outcome:
            return become("delivered")
        changed, held = self._updated(state, run, "MarkEndedEarly")
        return become("running", changed, outcome=run.outcome or ABORTED) if held else become("ended", changed)

    def _reported(self, state: State, run: Run) -> State:
        """No report is written next to the photo of this version or of a newer one."""
        if not any(_is_same_key(one.upload, run.upload) and one.upload >= run.upload for one in state.photos):
            state = state._replace(reports=state.reports | {run.upload})
        return self._updated(state, run, "RecordNotEnhanced", run.outcome)[0]

    def _updated(self, state: State, run: Run, name: str, outcome: str = "{}") -> tuple[State, bool]:
        """The state after this update of the workflow, and whether its condition held."""
        known = (state.rows, run.upload, run.attempt, name, outcome)
        if known not in self._known_updates:
            self._known_updates[known] = self._update(state.rows, run, name, msgspec.json.decode(outcome))
        rows, held = self._known_updates[known]
        return state._replace(rows=rows), held

    def _update(self, number: int, run: Run, name: str, outcome: Mapping[str, Any]) -> tuple[int, bool]:
        arguments = self._states[name]["Arguments"]
        texts = {field: {"S": str(outcome.get(field))} for field in ("status", "code", "message", "advice")}
        output = {"bucket": {"S": "out"}, "key": {"S": upload(run.upload).key}}
        computed: dict[str, Any] = {
            ":attempt": {"N": str(run.attempt)},
            ":now": {"S": "now"},
            ":day": {"S": "today"},
            ":status": {"S": outcome.get("status")},
            ":report_key": {"S": "errors/"},
            ":outcome": {"M": texts | {"may_have_cost": {"BOOL": bool(outcome.get("may_have_cost"))}}},
            ":output": {"M": output},
        }
        values = {given: computed.get(given, value) for given, value in arguments["ExpressionAttributeValues"].items()}
        rows = self.rows[number]
        pk, sk = next(key for key in rows if key[0].startswith("object#") and key[1] == run.upload)
        table = Table(dict(rows))
        try:
            table.update_item(
                Key={"pk": {"S": pk}, "sk": {"S": sk}},
                **{one: arguments[one] for one in ("UpdateExpression", "ConditionExpression")},
                ExpressionAttributeNames=arguments.get("ExpressionAttributeNames", {}),
                ExpressionAttributeValues=values,
            )
        except ClientError:
            return number, False
        return self._number(table.rows), True

    # ------------------------------------------------------------ owner and clock

    def _row(self, state: State, name: str) -> Iterator[Step]:
        """What can happen to an upload that has a row: its claim expires, or the owner sends it again."""
        yield from self._claim(state, name)
        fact, budget = self.fact(state, name), state.budget
        if not fact.is_finished:
            return
        consent = state.consent | {(name, fact.attempt)}
        if budget.retry and name != NEWER and fact.status != "enhanced":
            asked = state._replace(budget=budget.less("retry"), consent=consent)
            if fact.status == "superseded":
                asked = asked._replace(superseded=asked.superseded | {(name, fact.attempt)})
            yield f"{name}: the owner retries", _enqueue(asked, Msg(name, send_again=fact.attempt))
        if budget.pay:
            asked = state._replace(budget=budget.less("pay"), consent=consent)
            yield f"{name}: the owner pays again", _enqueue(asked, Msg(name, send_again=fact.attempt, pay=True))

    def _claim(self, state: State, name: str) -> Iterator[Step]:
        if self.fact(state, name).is_alive and not self._has_claimant(state, name):
            yield f"{name}: the claim expires", self._expired(state, name)

    def _has_claimant(self, state: State, name: str) -> bool:
        return any(one.message.upload == name and self.nodes[one.node].holds_claim for one in state.flights)

    def _expired(self, state: State, name: str) -> State:
        """The function that made the claim has ended."""
        return self._changed(state, name, claim_expires={"N": str(int(NOW))})

    def _overdue(self, state: State, name: str) -> State:
        """An hour after the deadline of a task whose execution ended without a trace."""
        return _enqueue(self._changed(state, name, deadline={"N": "1"}), Msg(name))

    def _changed(self, state: State, name: str, **attributes: Item) -> State:
        rows = dict(self.rows[state.rows])
        key = next(key for key in rows if key[0].startswith("object#") and key[1] == name)
        rows[key] = {**rows[key], **attributes}
        return state._replace(rows=self._number(rows))

    def _world(self, state: State) -> Iterator[Step]:
        if state.budget.delete and "v1" not in state.gone:
            yield "v1: is deleted", state._replace(budget=state.budget.less("delete"), gone=state.gone | {"v1"})
        if state.budget.discard:
            for photo in sorted(state.photos):
                less = state._replace(budget=state.budget.less("discard"), photos=state.photos - {photo})
                yield f"{photo.upload}: its photo is deleted", less._replace(discarded=state.discarded | {photo.upload})

    # ------------------------------------------------------------ the promises

    def _check_may_send(self, state: State, name: str, attempt: int) -> None:
        """Not after a submit without a clear answer, and not for a superseded upload."""
        before = [number for one, number in state.unclear if one == name]
        without_consent = [number for number in before if number >= attempt or (name, number) not in state.consent]
        if len(without_consent) > self._retries_ambiguous:
            raise Violation("a photo is sent again after an ambiguous answer without the owner's consent")
        if (name, attempt - 1) in state.superseded:
            raise Violation("a superseded upload is sent again")

    def _check_transaction(self, before: State, after: State, message: Msg) -> None:
        """A released claim restores the previous row, so that an upload that has ended is not reported again. The same
        photo is not claimed while another upload of it is in progress or enhanced."""
        name = message.upload
        old, new = self.fact(before, name), self.fact(after, name)
        is_unreported = new.status == "retrying" or (new.status == "unknown" and self._retries_ambiguous)
        if new.attempt < old.attempt and not (new == NO_ROW or new.is_finished or is_unreported):
            raise Violation("a released claim loses how the last attempt ended")
        if not self.shares_photos or message.pay or new.status != "claimed" or new.attempt <= old.attempt:
            return
        for other in self._facts[before.rows]:
            status = self.fact(before, other).status
            has_photo = status == "enhanced" and any(photo.upload == other for photo in before.photos)
            is_unclear = any(one == other for one, _ in before.unclear)
            if other != name and not is_unclear and (status in ("claimed", "submitted", "retrying") or has_photo):
                raise Violation("the same photo is paid for twice")

    def _unwatched(self, state: State, name: str) -> str:
        """The paid task of this upload, if no workflow watches it."""
        fact = self.fact(state, name)
        if fact.status != "submitted":
            return ""
        return "" if any(run.task == fact.task for run in state.runs) else fact.task

    def check_rest(self, state: State) -> None:
        """Nothing more happens: each upload has one final status and a photo or a report, and each task is watched."""
        for name in self._facts[state.rows]:
            self._check_end(state, name)

    def _check_end(self, state: State, name: str) -> None:
        fact = self.fact(state, name)
        if not fact.is_finished:
            raise Violation(f"an upload stays {fact.status}")
        photos = [one for one in state.delivered if _is_same_key(one, name) and one >= name]  # its own or newer
        has_report = name in state.reports
        if bool(photos) == has_report and not state.discarded.intersection(photos):
            raise Violation(f"an upload that is {fact.status} has {'both' if has_report else 'neither'}")
        if fact.status == "unknown" and not any(one == name for one, _ in state.unclear):
            raise Violation("an upload is unknown, although nothing was unclear")
        runs = [run.task for run in state.runs]
        if any(task.heard and task.upload == name and task.id not in runs for task in state.tasks):
            raise Violation("a paid task is not watched")


def _fact(item: Item) -> Fact:
    status = item["status"]["S"]
    is_alive = status == "claimed" and int(item["claim_expires"]["N"]) > NOW
    task = item.get("task_id", {}).get("S", "")
    return Fact(status, int(item["attempt"]["N"]), is_alive, "finished_at" in item, task)


# ---------------------------------------------------------------- what calls do


def _is_requeue(call: Pending | Exception | None) -> bool:
    if not isinstance(call, Pending) or call.port != "put_item":
        return False
    return bool(call.arguments["Item"]["pk"]["S"].startswith("requeue#"))


def _chain(state: State, number: int) -> Chain:
    return next((one for one in state.chains if one.number == number), Chain(number, False, ()))


def _with_chain(state: State, chain: Chain) -> State:
    others = [one for one in state.chains if one.number != chain.number]
    return state._replace(chains=tuple(sorted([*others, chain])))


def _numbered(state: State, message: Msg) -> Msg:
    """The message with a number of its chain."""
    if message.chain:
        return message
    used = {one.chain for one in state.queue} | {one.message.chain for one in state.flights}
    return message._replace(chain=next(number for number in range(1, 100) if number not in used))


def _advanced(state: State, message: Msg, chain: Chain) -> tuple[State, Msg]:
    """This message is the holder of its chain, and the copy that it sends is the newest one."""
    message, shift = _numbered(state, message), message.age + 1

    def older(one: Msg) -> Msg:
        if one.chain != message.chain:
            return one
        return one._replace(age=max(one.age - shift, STALE), is_holder=False)

    spare = tuple((number - shift, spare) for number, spare in chain.spare if number >= shift)
    state = state._replace(
        queue=tuple(sorted(map(older, state.queue))),
        flights=tuple(sorted(one._replace(message=older(one.message)) for one in state.flights)),
    )
    return _with_chain(state, Chain(message.chain, True, spare)), message._replace(age=-1, is_holder=True)


def _spared(state: State, message: Msg, number: int, change: int) -> State:
    chain = _chain(state, message.chain)
    spare = dict(chain.spare)
    spare[number] = spare.get(number, 0) + change
    return _with_chain(state, chain._replace(spare=tuple(sorted((one, left) for one, left in spare.items() if left))))


def _send(state: State, message: Msg, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Answer, State, Msg]]:
    named = {name: one["StringValue"] for name, one in arguments["MessageAttributes"].items()}
    sender = _numbered(state, message)
    number = sender.age + 1
    copy = sender._replace(
        age=number,
        is_holder=False,
        send_again=int(named.get("send-again", 0)),
        pay=named.get("pay") == "1",
        task=named.get("task", ""),
    )
    if not copy.task and dict(_chain(state, sender.chain).spare).get(number, 0) < 0:
        raise Violation("copies of a message multiply")
    sent = state._replace(queue=tuple(sorted((*state.queue, copy))))
    counted = 0 if copy.task else -1
    yield "", Answer("sent", {}), _spared(sent, sender, number, counted), sender
    if state.budget.lost:
        less = sent._replace(budget=state.budget.less("lost"))
        silence = ReadTimeoutError(endpoint_url="https://sqs.test")
        yield "has no answer", Answer("silence", silence), _spared(less, sender, number, counted + 1), sender


def _start(state: State, name: str, arguments: Mapping[str, Any]) -> State:
    given = arguments["given"]
    if not (given["task"] or given["outcome"] or "delivery" in given):
        raise Violation("a workflow starts with neither task nor outcome")
    if any(run.name == arguments["name"] for run in state.runs):
        return state
    task = given["task"]["id"] if given["task"] else ""
    outcome = _text(given["outcome"]) if given["outcome"] else ""
    phase = "delivered" if "delivery" in given else "running"
    run = Run(arguments["name"], name, given["attempt"], task, outcome, phase)
    return state._replace(runs=tuple(sorted((*state.runs, run))))


def _find(state: State, arguments: Mapping[str, Any]) -> tuple[str, Answer, State]:
    payer, key = _name(arguments["payer"]), arguments["output"]["key"]
    photo = next((one for one in state.photos if one.key == key and payer in (one.upload, one.payer)), None)
    if photo is None:
        return "nothing", Answer("found nothing"), state
    etag = f"{photo.upload} {photo.payer}"
    found = Reusable("out", key, etag, 9, images.JPEG, {"task-id": f"of {photo.payer}"})
    return "", Answer(f"found {key} {etag}", found), state


def _copy(state: State, name: str, arguments: Mapping[str, Any]) -> tuple[str, Answer, State]:
    """A conditional copy inside the output bucket. A newer photo is kept."""
    source, payer = arguments["photo"], _name(arguments["same_as"])
    key = upload(name).key
    if any(one.key == key and one.upload > name for one in state.photos):
        return "is superseded", Answer("newer"), state
    delivered = Answer("copied", DeliveredObject("out", key, "", 9, "jpeg"))
    if any(one.key == key and one.upload == name for one in state.photos):
        return "exists", delivered, state
    if Photo(source.key, *source.etag.split()) not in state.photos:
        return "finds no source", Answer("lost race", LostRace("the photo was replaced")), state
    return "", delivered, _with_photo(state, name, payer)


def _look(state: State, name: str) -> tuple[str, Answer, State]:
    """Looks for the photo of this upload."""
    key = upload(name).key
    if any(one.key == key and one.upload == name for one in state.photos):
        return "", Answer("looked", DeliveredObject("out", key, "", 9, "jpeg")), state
    return "finds nothing", Answer("looked, found nothing"), state


def _with_photo(state: State, name: str, payer: str) -> State:
    key = upload(name).key
    photos = frozenset(one for one in state.photos if one.key != key) | {Photo(key, name, payer)}
    return state._replace(photos=photos, delivered=state.delivered | {name}, discarded=state.discarded - {name})


def _without_reports(state: State, name: str) -> State:
    """Without the reports about this upload and older ones of its key."""
    kept = frozenset(one for one in state.reports if not (_is_same_key(one, name) and one <= name))
    return state._replace(reports=kept)


def _enqueue(state: State, message: Msg) -> State:
    return _without_chains(state._replace(queue=tuple(sorted((*state.queue, message)))))


def _without_chains(state: State) -> State:
    """Without chains that have one message that may continue, which is like a new one, or no message."""
    if not state.chains:
        return state
    chained = [one for one in state.queue if one.chain] + [one.message for one in state.flights if one.message.chain]
    for chain in state.chains:
        members = [one for one in chained if one.chain == chain.number]
        if len(members) > 1 or any(one.age < (-1 if one.is_holder else 0) for one in members):
            continue
        state = state._replace(chains=tuple(one for one in state.chains if one.number != chain.number))
        if members:
            state = _renewed(state, members[0])
    return state


def _renewed(state: State, message: Msg) -> State:
    new = message._replace(chain=0, age=0, is_holder=False)
    queue = tuple(sorted(new if one == message else one for one in state.queue))
    flights = (one._replace(message=new) if one.message == message else one for one in state.flights)
    return state._replace(queue=queue, flights=tuple(sorted(flights)))


@cache
def _outcome(code: str, **values: object) -> str:
    return _text(msgspec.to_builtins(outcomes.outcome(code, **values)))


def _waits_for_task(run: Run) -> bool:
    return bool(run.task and not run.outcome and run.phase == "running")


def is_at_rest(state: State) -> bool:
    return not (state.queue or state.flights or any(run.phase != "ended" for run in state.runs))


# ---------------------------------------------------------------- exploring


class Result(NamedTuple):
    """`seconds` is the time of the processor."""

    states: int
    transitions: int
    seconds: float
    violation: str
    trace: list[str]


class Visited:
    """The states in the order of their distance from the first one, each as the numbers of its parts."""

    def __init__(self) -> None:
        self.states: list[tuple[int, ...]] = []
        self.parents = array("l")
        self._indexes: dict[tuple[int, ...], int] = {}
        self._parts: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def add(self, state: State, parent: int) -> tuple[int, bool]:
        """The index of the state, and whether it is new."""
        numbers = self._numbers
        packed = tuple([numbers.get((at, part)) or self._number((at, part)) for at, part in enumerate(state)])
        index = self._indexes.get(packed)
        if index is not None:
            return index, False
        index = self._indexes[packed] = len(self.states)
        self.states.append(packed)
        self.parents.append(parent)
        return index, True

    def _number(self, part: Any) -> int:
        self._parts.append(part[1])
        return self._numbers.setdefault(part, len(self._parts))

    def state(self, index: int) -> State:
        return State(*[self._parts[number - 1] for number in self.states[index]])

    def trace(self, index: int, explorer: Explorer) -> list[str]:
        labels = []
        while (parent := self.parents[index]) >= 0:
            after = self.state(index)
            labels.append(next(label for label, state in explorer.steps(self.state(parent)) if state == after))
            index = parent
        return labels[::-1]


def explore(first: State, explorer: Explorer) -> Result:
    """Visits every state that can follow, breadth first, so the first violation has the shortest trace."""
    begun, visited = time.process_time(), Visited()
    visited.add(first, -1)
    sources, targets, ends = array("l"), array("l"), []

    def result(violation: str = "", trace: list[str] | None = None) -> Result:
        return Result(len(visited.states), len(sources), time.process_time() - begun, violation, trace or [])

    index = 0
    while index < len(visited.states):
        state = visited.state(index)
        try:
            if is_at_rest(state):
                explorer.check_rest(state)
                ends.append(index)
            for _, following in explorer.steps(state):
                target, _ = visited.add(following, index)
                sources.append(index)
                targets.append(target)
        except Violation as violation:
            return result(str(violation), [*visited.trace(index, explorer), violation.step])
        index += 1
    endless = _cannot_reach(ends, sources, targets, len(visited.states))
    if endless is not None:
        return result("an upload never ends", visited.trace(endless, explorer))
    return result()


def _cannot_reach(ends: list[int], sources: array[int], targets: array[int], states: int) -> int | None:
    """The first state from which no end can be reached."""
    before: list[list[int]] = [[] for _ in range(states)]
    for source, target in zip(sources, targets, strict=True):
        before[target].append(source)
    reached, waiting = bytearray(states), deque(ends)
    for end in ends:
        reached[end] = 1
    while waiting:
        for source in before[waiting.popleft()]:
            if not reached[source]:
                reached[source] = 1
                waiting.append(source)
    found = reached.find(0)
    return None if found < 0 else found


def uploads(*names: str, **budget: int) -> State:
    """Deliveries of these uploads are in the queue, and so much may happen."""
    return State(Budget(**budget), queue=tuple(sorted(Msg(name) for name in names)))


class Scenario(NamedTuple):
    """With `before`, this upload is enhanced before anything else happens."""

    first: State
    same_photo: str = "pay"
    ambiguous_submit: str = "park"
    before: str = ""

    def explorer(self) -> Explorer:
        submit = Submit(self.ambiguous_submit, self.same_photo)
        return Explorer(submit, retries_ambiguous=self.ambiguous_submit == "retry")

    def explore(self, explorer: Explorer | None = None) -> Result:
        explorer = explorer or self.explorer()
        if not self.before:
            return explore(self.first, explorer)
        return explore(
            explorer.enhanced(self.before)._replace(budget=self.first.budget, queue=self.first.queue), explorer
        )


ENHANCED_BEFORE = Scenario(uploads("v1", "v1", crash=1, delete=1), "reuse", before="c1")

SCENARIOS: dict[str, Scenario] = {
    "three deliveries, a newer version, a crash, deletion, a retry by the owner": Scenario(
        uploads("v1", "v1", "v1", "v2", crash=1, delete=1, retry=1)
    ),
    "the same photo, a crash": Scenario(uploads("v1", "c1", crash=1), "reuse"),
    "the same photo, two deliveries": Scenario(uploads("v1", "v1", "c1"), "reuse"),
    "the same photo is enhanced, two deliveries, a crash, deletion": ENHANCED_BEFORE,
    "the same photo, deleted with its result": Scenario(uploads("v1", "c1", discard=1, delete=1), "reuse"),
    "another attempt, a crash, deletion": Scenario(uploads("v1", "v2", crash=1, delete=1, retryable=1)),
    "a stopped execution, a crash, a retry by the owner": Scenario(uploads("v1", crash=1, stop=1, retry=1)),
    "an execution without a trace, a crash": Scenario(uploads("v1", "v1", crash=1, unseen=1)),
}
SMALL: dict[str, Scenario] = {
    "a crash": Scenario(uploads("v1", "v1", crash=1)),
    "deletion, another attempt": Scenario(uploads("v1", delete=1, retryable=1)),
    "a retry by the owner, a stopped execution": Scenario(uploads("v1", retry=1, stop=1)),
    "an unwritable ledger": Scenario(uploads("v1", fault=1)),
    "a blocked account, lost answers": Scenario(uploads("v1", unavailable=2, lost=1)),
    "a newer version": Scenario(uploads("v1", "v2")),
    "an execution ends without a trace": Scenario(uploads("v1", "v1", unseen=1)),
    "the same photo": Scenario(uploads("v1", "c1", unavailable=1), "reuse"),
    "the same photo is enhanced, two deliveries, a crash, deletion": ENHANCED_BEFORE,
    "an ambiguous submit is repeated": Scenario(uploads("v1", retry=1, unavailable=1), ambiguous_submit="retry"),
}
"""For `make test`."""


def run(name: str) -> tuple[str, Result]:
    scenario = SCENARIOS[name]
    return name, scenario.explore()


def results() -> Iterator[tuple[str, Result]]:
    """Every scenario, one in each process."""
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        yield from processes.map(run, SCENARIOS)


def main(arguments: list[str] | None = None, report: Callable[[str], None] = print) -> int:
    """Explores every scenario; 0 if all promises hold."""
    argparse.ArgumentParser(prog="python -m tests.model.explorer", description=__doc__).parse_args(arguments)
    begun, states, transitions, seconds, violations = time.monotonic(), 0, 0, 0.0, 0
    for name, found in results():
        states, transitions = states + found.states, transitions + found.transitions
        seconds += found.seconds
        report(f"{name}: {found.states:,} states, {found.transitions:,} transitions, {found.seconds:.0f} s")
        if found.violation:
            violations += 1
            report("\n  ".join([f"  {found.violation}:", *found.trace]))
    spent = f"{seconds:.0f} s of the processors and {time.monotonic() - begun:.0f} s in all"
    report(f"{states:,} states and {transitions:,} transitions, {spent}")
    return int(violations > 0)


if __name__ == "__main__":
    raise SystemExit(main())
