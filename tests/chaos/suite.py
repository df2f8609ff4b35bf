"""The parts of the suite. Each opens its own sandbox, runs uploads in it, and checks the promises."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from tests.chaos import fault_plan, promises, uploads
from tests.chaos.evidence import collect, receive_dead_letters
from tests.chaos.faults import Plan
from tests.chaos.promises import Finding
from tests.chaos.proxy import OUTAGE_SECONDS
from tests.chaos.run import Run, start_run
from tests.chaos.uploads import seeded

STOP_RATE = 0.03
STOP_SECONDS = 60
EARLY_STOP_SECONDS = 3
CREDITS_PER_TASK = 12
CONCURRENT_SUBMITS = 5
UPLOADS_PER_KEY = 12
OUTAGE_PAUSE_SECONDS = 30
BLOCKED_SECONDS = 1800
DAY = 86_400


def random_faults(seed: int, count: int, keys: int, seconds: float) -> list[Finding]:
    """`count` uploads of `keys` keys with all kinds of faults; takes at most `seconds` of real time per phase."""
    crashing = max(1, keys // 100)
    with start_run(fault_plan.random_faults(seed)) as run:
        run.enhancer("faults", fault_plan.enhancer_faults(seed))
        run.stop_some_executions(seeded(seed), STOP_RATE, STOP_SECONDS)
        run.proxy.start_outages(seeded(seed), OUTAGE_PAUSE_SECONDS)
        run.upload(uploads.mixed(seeded(seed), count, keys, crashing))
        run.run_until_idle(seconds)
        dead = receive_dead_letters(run)
        run.faults.plan = replace(run.faults.plan, crash_prefix="")
        for message in dead:
            run.client("sqs").send_message(QueueUrl=run.outputs["UploadQueueUrl"], MessageBody=message["Body"])
        run.run_until_idle(seconds)
        evidence = collect(run, dead)
        return [_fault_counts(run), *promises.check_all(run, evidence, _key(run))]


def stopped_executions(seed: int, count: int, seconds: float) -> list[Finding]:
    """`count` uploads while the owner stops half of the executions."""
    finding = Finding("1. an upload whose execution the owner stops has a report, and its photo if it was delivered")
    with start_run(Plan(seed=seed, duplicates=fault_plan.DUPLICATES, late_seconds=fault_plan.LATE_SECONDS)) as run:
        run.stop_some_executions(seeded(seed), 0.5, EARLY_STOP_SECONDS)
        run.upload(uploads.photos(seeded(seed), count))
        run.run_until_idle(seconds)
        evidence = collect(run, receive_dead_letters(run))
    for other in (promises.every_upload_ends_once(run, evidence), promises.charges_match(run, evidence)):
        finding.broken += other.broken
        finding.figures |= other.figures
    if not run.stopped_executions:
        finding.broken.append("no execution was stopped")
    return [finding]


def concurrent_overwrites(seed: int, count: int, seconds: float) -> list[Finding]:
    """`count` concurrent uploads of few keys, with frequently slow responses from S3."""
    finding = Finding("3. of concurrent uploads of a key, the newest wins")
    plan = Plan(seed=seed, duplicates=fault_plan.DUPLICATES, late_seconds=1, slow={"s3": 0.5})
    with start_run(plan) as run:
        run.upload(uploads.overwrites(seeded(seed), count, max(1, count // UPLOADS_PER_KEY)))
        run.run_until_idle(seconds)
        evidence = collect(run, receive_dead_letters(run))
    for other in (promises.newest_upload_wins(run, evidence), promises.every_upload_ends_once(run, evidence)):
        finding.broken += other.broken
        finding.figures |= other.figures
    return [finding]


def empty_balance(seed: int, count: int, seconds: float) -> list[Finding]:
    """The balance covers a third of `count` uploads, stays empty for half an hour, and is topped up."""
    finding = Finding("5. an empty balance loses no upload, fails no upload, and causes few calls")
    paid = count // 3
    # No late events: uploads must be waiting during the whole time without balance.
    plan = Plan(seed=seed, duplicates=fault_plan.DUPLICATES, late_seconds=1)
    with start_run(plan, credits=paid * CREDITS_PER_TASK) as run:
        run.upload(uploads.photos(seeded(seed), count))
        empty_at = run.clock.now()
        run.run_until_idle(seconds, until=empty_at + BLOCKED_SECONDS)
        blocked = [submit for submit in run.enhancer("submits") if not submit["task_id"]]
        times = sorted(run.clock_time(submit["at"]) for submit in blocked)
        meanwhile = collect(run, [])
        statuses = Counter(row["status"] for row in meanwhile.rows.values())
        if statuses != {"enhanced": paid} or meanwhile.reports:
            finding.broken.append(f"while blocked: {dict(statuses)}, {len(meanwhile.reports)} reports")
        peak = max((sum(at <= other < at + 1 for other in times) for at in times), default=0)
        if peak > CONCURRENT_SUBMITS:
            finding.broken.append(f"{peak} calls within a second from {CONCURRENT_SUBMITS} warm functions")
        if not blocked:
            finding.broken.append("the balance was never empty")
        run.enhancer("account", {"credits": count * CREDITS_PER_TASK})
        topped_up_at = run.clock.now()
        run.run_until_idle(seconds)
        after = collect(run, receive_dead_letters(run))
        enhanced = sum(row["status"] == "enhanced" for row in after.rows.values())
        if enhanced != count or after.dead or after.reports:
            finding.broken.append(f"after the top-up: {enhanced} of {count} enhanced, {len(after.reports)} reports")
        finding.figures = {
            "uploads": Counter({"all": count, "enough credits for": paid}),
            f"in {BLOCKED_SECONDS // 60} minutes without balance": Counter(
                {
                    "calls": len(blocked),
                    f"in a second from {CONCURRENT_SUBMITS} warm functions": peak,
                    "reports": len(meanwhile.reports),
                }
            ),
            "after the top-up": Counter(
                {"enhanced": enhanced, "minutes": math.ceil((run.clock.now() - topped_up_at) / 60)}
            ),
        }
    return [finding]


def daily_limit(seed: int, count: int, limit: int, seconds: float) -> list[Finding]:
    """`count` uploads at noon with a limit of `limit` tasks a day and with faults; then the following days."""
    finding = Finding("6. the daily limit is never exceeded, and processing continues the next day")
    plan = Plan(
        seed=seed,
        duplicates=fault_plan.DUPLICATES,
        late_seconds=fault_plan.LATE_SECONDS,
        throttles={"dynamodb": fault_plan.THROTTLE_RATE},
        lost_responses={"dynamodb": fault_plan.LOST_RESPONSE_RATE},
    )
    tasks: list[int] = []
    with start_run(plan, {"DailyTaskLimit": str(limit)}) as run:
        run.advance(_until_midnight(run) + DAY / 2)
        run.enhancer("faults", {"seed": seed, "submit": fault_plan.enhancer_faults(seed)["submit"]})
        run.upload(uploads.photos(seeded(seed), count))
        while not run.run_until_idle(seconds, until=run.clock.now() + BLOCKED_SECONDS) and len(tasks) < count:
            tasks.append(len(run.enhancer("tasks")) - sum(tasks))
            run.advance(_until_midnight(run))
        tasks.append(len(run.enhancer("tasks")) - sum(tasks))
        evidence = collect(run, receive_dead_letters(run))
    if max(tasks) > limit or max(evidence.days.values()) > limit:
        finding.broken.append(f"tasks a day: {tasks}, counted: {evidence.days}, limit {limit}")
    finding.broken += promises.every_upload_ends_once(run, evidence).broken
    finding.broken += promises.no_upload_is_paid_for_twice(run, evidence).broken
    finding.broken += promises.charges_match(run, evidence).broken
    finding.broken += promises.daily_counters_match(evidence).broken
    finding.figures = {
        "uploads": Counter({"all": count, "allowed per day": limit}),
        "tasks": Counter({f"on day {day}": created for day, created in enumerate(tasks, 1)}),
    }
    return [finding]


def repeated_failures(seed: int, count: int, seconds: float) -> list[Finding]:
    """`count` uploads while most tasks fail with a retryable code."""
    finding = Finding("2. a task with a retryable failure is repeated, three tasks at most")
    with start_run(Plan(seed=seed, duplicates=fault_plan.DUPLICATES, late_seconds=fault_plan.LATE_SECONDS)) as run:
        run.enhancer("faults", fault_plan.failing_tasks(seed))
        run.upload(uploads.photos(seeded(seed), count))
        run.run_until_idle(seconds)
        evidence = collect(run, receive_dead_letters(run))
    for other in (promises.every_upload_ends_once(run, evidence), promises.no_upload_is_paid_for_twice(run, evidence)):
        finding.broken += other.broken
        finding.figures |= other.figures
    return [finding]


def ambiguous_submits(seed: int, count: int, seconds: float) -> list[Finding]:
    """`count` uploads with AmbiguousSubmit: retry while half of the submits are ambiguous."""
    finding = Finding("2. with AmbiguousSubmit: retry, an ambiguous submit is repeated once")
    plan = Plan(seed=seed, duplicates=fault_plan.DUPLICATES, late_seconds=fault_plan.LATE_SECONDS)
    with start_run(plan, {"AmbiguousSubmit": "retry"}) as run:
        run.enhancer("faults", fault_plan.ambiguous_submits(seed))
        run.upload(uploads.photos(seeded(seed), count))
        run.run_until_idle(seconds)
        evidence = collect(run, receive_dead_letters(run))
    sequences = Counter("".join("?" if one["fault"] else "+" for one in calls) for calls in evidence.submits.values())
    finding.broken += [f"submits: {sequence}" for sequence in sequences if sequence not in ("+", "?+", "??")]
    for other in (promises.every_upload_ends_once(run, evidence), promises.daily_counters_match(evidence)):
        finding.broken += other.broken
    finding.figures = {"uploads by their submits (+ clear, ? ambiguous)": sequences}
    return [finding]


def _fault_counts(run: Run) -> Finding:
    enhancer = run.enhancer("faults")
    figures = {
        "calls to the enhancer": Counter(enhancer["calls"]),
        "calls with a fault": Counter(enhancer["hits"]),
        f"outages of {OUTAGE_SECONDS} s": Counter({"enhancer": run.proxy.outages}),
        "faults around the functions": Counter(dict(sorted(run.faults.counts.items()))),
    }
    return Finding("injected faults", figures)


def _key(run: Run) -> str:
    secret = run.client("secretsmanager").get_secret_value(SecretId=run.outputs["KeySecretArn"])
    return str(secret["SecretString"])


def _until_midnight(run: Run) -> float:
    """Seconds until a second after the next midnight."""
    return DAY - run.clock.now() % DAY + 1
