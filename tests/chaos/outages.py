"""Outages: the enhancer, its network, or one of AWS's services fails every call for a while.

The promise: at most `MaxConcurrentSubmits` uploads are unknown when an outage starts, and one more for each pause. No
upload reaches the dead-letter queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tests.chaos import fault_plan, promises, uploads
from tests.chaos.evidence import Evidence, collect, receive_dead_letters
from tests.chaos.faults import Plan
from tests.chaos.promises import Finding
from tests.chaos.run import Run, start_run
from tests.chaos.uploads import Object, seeded

Json = dict[str, Any]

CONCURRENT_SUBMITS = 5
SHORTEST_MINUTES, LONGEST_MINUTES = 5, 60
# Of the pauses after ambiguous answers: docs/architecture.md.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2, 900
SQS_MINUTES = 5  # five receives of a message that can't be deleted take half an hour
# The part of an outage in which its uploads arrive.
ARRIVAL = 0.8


@dataclass(frozen=True)
class Outage:
    """A kind of outage. `start` begins it in a run, `end` ends it. `minutes` is fixed if not None."""

    name: str
    start: Callable[[Run], Any]
    end: Callable[[Run], Any]
    minutes: int | None = None


def _at_enhancer(name: str, fault: Json) -> Outage:
    return Outage(name, lambda run: run.enhancer("faults", {"outages": [{"fault": fault}]}), _repair_enhancer)


def _repair_enhancer(run: Run) -> None:
    run.enhancer("faults", {})


def _in_network(name: str, kind: str) -> Outage:
    return Outage(
        name, lambda run: run.faults.break_network(kind, run.proxy.port), lambda run: run.faults.mend_network()
    )


def _at_aws(service: str, minutes: int | None = None) -> Outage:
    def start(run: Run) -> None:
        run.faults.plan = replace(run.faults.plan, throttles={service: 1.0})

    def end(run: Run) -> None:
        run.faults.plan = replace(run.faults.plan, throttles={})

    return Outage(f"{service} throttled", start, end, minutes)


def _update_stack(run: Run) -> None:
    for name in ("SubmitFunction", "CheckStatusFunction", "DeliverFunction"):
        run.running.cloud.update_function(name, {"CHAOS_VERSION": "2"})


VENDOR = (
    _at_enhancer("502", {"kind": "http", "status": 502, "body": "html"}),
    _at_enhancer("503 with HTML", {"kind": "http", "status": 503, "body": "html"}),
    *(_at_enhancer(f"{status}", {"kind": "http", "status": status, "body": "html"}) for status in range(520, 527)),
    _at_enhancer("timeouts, with tasks created", {"kind": "hang", "seconds": 0.5, "created": True}),
    _at_enhancer("resets", {"kind": "reset"}),
    _at_enhancer("hangs", {"kind": "hang", "seconds": 0.5}),
    _at_enhancer("slow headers", {"kind": "slow_headers", "seconds": 1}),
    _at_enhancer("404 with HTML", {"kind": "http", "status": 404, "body": "html"}),
    _at_enhancer("500", {"kind": "http", "status": 500}),
    Outage(
        "submits fail, free requests succeed",
        lambda run: run.enhancer(
            "faults", {"outages": [{"routes": ["submit"], "fault": {"kind": "http", "status": 502}}]}
        ),
        _repair_enhancer,
    ),
    _in_network("expired certificate", "tls"),
    _in_network("names not resolved", "dns"),
)
OTHERS = (
    Outage(
        "account blocked",
        lambda run: run.enhancer("account", {"key_valid": False}),
        lambda run: run.enhancer("account", {"key_valid": True}),
    ),
    Outage("stack updated", _update_stack, lambda _: None, SHORTEST_MINUTES),
    *map(_at_aws, ("s3", "dynamodb", "states", "secretsmanager")),
    _at_aws("sqs", SQS_MINUTES),
)


def most_unknown(seconds: float) -> int:
    """The promised maximum of unknown uploads for an outage of this length: one for each pause, and the first ones."""
    pauses, passed = 0, 0.0
    while passed <= seconds:
        pauses += 1
        passed += min(FIRST_PAUSE_SECONDS * (2 ** (pauses - 1) - 1), LONGEST_PAUSE_SECONDS)
    return CONCURRENT_SUBMITS + pauses


def outages(
    seed: int,
    count: int,
    seconds: float,
    kinds: Sequence[Outage] = (*VENDOR, *OTHERS),
    longest_minutes: int = LONGEST_MINUTES,
) -> list[Finding]:
    """`count` uploads, which arrive during outages of all kinds, one after another in one stack."""
    random = seeded(seed)
    finding = Finding("8. an outage leaves few uploads unknown: those in progress, and one for each pause")
    ordered = random.sample(kinds, len(kinds))
    photos = uploads.photos(random, count)
    unknown: Counter[str] = Counter()
    minutes: Counter[str] = Counter()
    with start_run(Plan(seed=seed, duplicates=fault_plan.DUPLICATES)) as run:
        for place, kind in enumerate(ordered):
            minutes[kind.name] = kind.minutes or random.randint(SHORTEST_MINUTES, longest_minutes)
            first = len(run.uploads)
            own = photos[place * count // len(ordered) : (place + 1) * count // len(ordered)]
            dead = _run_through(run, kind, own, minutes[kind.name] * 60, seconds)
            if dead:
                finding.broken.append(f"{kind.name}: {dead} messages in the dead-letter queue")
            rows = collect(run, []).rows
            versions = [upload.version_id for upload in run.uploads[first:]]
            unknown[kind.name] = sum(rows.get(version, {}).get("status") == "unknown" for version in versions)
            most = most_unknown(minutes[kind.name] * 60) if kind in VENDOR else 0
            if unknown[kind.name] > most:
                finding.broken.append(
                    f"{kind.name}: {unknown[kind.name]} of {len(own)} unknown after {minutes[kind.name]} minutes, "
                    f"at most {most}"
                )
        evidence = collect(run, [])
    finding.broken += _other_promises(run, evidence)
    finding.figures = {
        "uploads": Counter({"all": count, **Counter(str(row["status"]) for row in evidence.rows.values())}),
        "minutes": minutes,
        "unknown": unknown,
    }
    return [finding]


def _run_through(run: Run, kind: Outage, photos: Sequence[Object], length: float, seconds: float) -> int:
    """Returns the number of messages in the dead-letter queue."""
    begun = run.clock.now()
    with run.clock.working():
        kind.start(run)
        run.faults.plan = replace(run.faults.plan, late_seconds=length * ARRIVAL)
        run.upload(photos)
    while run.clock.now() < begun + length:
        if run.run_until_idle(seconds, until=begun + length):
            run.advance(max(0.001, begun + length - run.clock.now()))
    kind.end(run)
    run.run_until_idle(seconds)
    return len(receive_dead_letters(run))


def _minutes(timestamp: str, begun: float) -> float:
    return (datetime.fromisoformat(timestamp).timestamp() - begun) / 60


def _other_promises(run: Run, evidence: Evidence) -> list[str]:
    found = (
        promises.every_upload_ends_once(run, evidence),
        promises.no_upload_is_paid_for_twice(run, evidence),
        promises.charges_match(run, evidence),
        promises.daily_counters_match(evidence),
    )
    return [problem for one in found for problem in one.broken]


def one_outage(name: str, count: int, minutes: int, seconds: float) -> Json:
    """What one outage of the enhancer does to `count` uploads that arrive meanwhile.

    `final` has the minute in which each upload ended, counted from the start of the outage, and its status.
    """
    kind = next(one for one in VENDOR if one.name == name)
    with start_run(Plan(seed=1)) as run:
        begun = run.clock.now()
        _run_through(run, kind, uploads.photos(seeded(1), count), minutes * 60, seconds)
        rows = collect(run, []).rows.values()
        submits = run.enhancer("submits")
        final = sorted((round(_minutes(row["finished_at"], begun), 1), str(row["status"])) for row in rows)
        return {
            "outage": name,
            "minutes": minutes,
            "uploads": count,
            "statuses": Counter(status for _, status in final),
            "submits": len(submits),
            "submits during the outage": sum(run.clock_time(one["at"]) < begun + minutes * 60 for one in submits),
            "most unknown": most_unknown(minutes * 60),
            "final": final,
        }
