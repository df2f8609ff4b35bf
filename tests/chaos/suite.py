"""The suite's parts. Each has a sandbox of its own, and judges what came of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from tests.chaos import promises, uploads, weather
from tests.chaos.evidence import dead_letters, gathered
from tests.chaos.faults import Plan
from tests.chaos.gate import SHUT_SECONDS
from tests.chaos.promises import Finding
from tests.chaos.run import Run, started
from tests.chaos.uploads import seeded

ABORTS = 0.03
ABORT_SECONDS = 60
CREDITS_A_TASK = 12
SUBMITS_AT_ONCE = 5
UPLOADS_A_KEY = 12
OUTAGE_PAUSE_SECONDS = 30
BLOCKED_SECONDS = 1800
DAY = 86_400


def storm(seed: int, count: int, keys: int, seconds: float) -> list[Finding]:
    """`count` uploads of `keys` keys while everything goes wrong; at most so many real seconds."""
    doomed = max(1, keys // 100)
    with started(weather.functions(seed)) as run:
        run.enhancer("faults", weather.enhancer(seed))
        run.abort_some(seeded(seed), ABORTS, ABORT_SECONDS)
        run.gate.go_down_at_times(seeded(seed), OUTAGE_PAUSE_SECONDS)
        run.drop(uploads.drops(seeded(seed), count, keys, doomed))
        run.settle(seconds)
        dead = dead_letters(run)
        run.faults.plan = replace(run.faults.plan, doomed="")
        for message in dead:
            run.client("sqs").send_message(QueueUrl=run.outputs["UploadQueueUrl"], MessageBody=message["Body"])
        run.settle(seconds)
        evidence = gathered(run, dead)
        return [_faults(run), *promises.judged(run, evidence, _key(run))]


def rivals(seed: int, count: int, seconds: float) -> list[Finding]:
    """`count` uploads of few keys at the same time, with an S3 that is often slow."""
    finding = Finding("3. of uploads that race for a key, the newest wins")
    plan = Plan(seed=seed, duplicates=weather.DUPLICATES, late_seconds=1, slow={"s3": 0.5})
    with started(plan) as run:
        run.drop(uploads.rivals(seeded(seed), count, max(1, count // UPLOADS_A_KEY)))
        run.settle(seconds)
        evidence = gathered(run, dead_letters(run))
    for judged in (promises.the_newest_wins(run, evidence), promises.every_upload_ends_once(run, evidence)):
        finding.broken += judged.broken
        finding.figures |= judged.figures
    return [finding]


def balance(seed: int, count: int, seconds: float) -> list[Finding]:
    """The balance lasts for a third of `count` uploads, is empty for half an hour, and is topped up."""
    finding = Finding("5. an empty balance loses nothing, fails nothing, and is asked about once a second at the most")
    paid = count // 3
    # All at once, so that there is somebody to ask all the time.
    plan = Plan(seed=seed, duplicates=weather.DUPLICATES, late_seconds=1)
    with started(plan, credits=paid * CREDITS_A_TASK) as run:
        run.drop(uploads.photos(seeded(seed), count))
        empty_at = run.clock.now()
        run.settle(seconds, until=empty_at + BLOCKED_SECONDS)
        blocked = [submit for submit in run.enhancer("submits") if not submit["task_id"]]
        times = sorted(run.clock_time(submit["at"]) for submit in blocked)
        meanwhile = gathered(run, [])
        statuses = Counter(row["status"] for row in meanwhile.rows.values())
        if statuses != {"enhanced": paid} or meanwhile.reports:
            finding.broken.append(f"while blocked: {dict(statuses)}, {len(meanwhile.reports)} reports")
        peak = max((sum(at <= other < at + 1 for other in times) for at in times), default=0)
        if peak > SUBMITS_AT_ONCE:
            finding.broken.append(f"{peak} calls within a second, from {SUBMITS_AT_ONCE} warm functions")
        if not blocked:
            finding.broken.append("the balance was never empty")
        run.enhancer("account", {"credits": count * CREDITS_A_TASK})
        topped_up_at = run.clock.now()
        run.settle(seconds)
        after = gathered(run, dead_letters(run))
        enhanced = sum(row["status"] == "enhanced" for row in after.rows.values())
        if enhanced != count or after.dead or after.reports:
            finding.broken.append(f"after the top-up: {enhanced} of {count} enhanced, {len(after.reports)} reports")
        finding.figures = {
            "uploads": Counter({"all": count, "enough credits for": paid}),
            f"in {BLOCKED_SECONDS // 60} minutes without balance": Counter(
                {
                    "calls": len(blocked),
                    f"in a second from {SUBMITS_AT_ONCE} warm functions": peak,
                    "reports": len(meanwhile.reports),
                }
            ),
            "after the top-up": Counter(
                {"enhanced": enhanced, "minutes": math.ceil((run.clock.now() - topped_up_at) / 60)}
            ),
        }
    return [finding]


def daily_limit(seed: int, count: int, limit: int, seconds: float) -> list[Finding]:
    """`count` uploads at noon with room for `limit` a day, in bad weather; then the next days."""
    finding = Finding("6. the daily limit is never exceeded, and work goes on the next day")
    plan = Plan(
        seed=seed,
        duplicates=weather.DUPLICATES,
        late_seconds=weather.LATE_SECONDS,
        throttles={"dynamodb": weather.THROTTLE_RATE},
        lost_answers={"dynamodb": weather.LOST_ANSWER_RATE},
    )
    tasks: list[int] = []
    with started(plan, {"DailyTaskLimit": str(limit)}) as run:
        run.move(_to_midnight(run) + DAY / 2)
        run.enhancer("faults", {"seed": seed, "submit": weather.enhancer(seed)["submit"]})
        run.drop(uploads.photos(seeded(seed), count))
        while not run.settle(seconds, until=run.clock.now() + BLOCKED_SECONDS) and len(tasks) < count:
            tasks.append(len(run.enhancer("tasks")) - sum(tasks))
            run.move(_to_midnight(run))
        tasks.append(len(run.enhancer("tasks")) - sum(tasks))
        evidence = gathered(run, dead_letters(run))
    if max(tasks) > limit or max(evidence.days.values()) > limit:
        finding.broken.append(f"tasks a day: {tasks}, counted: {evidence.days}, limit {limit}")
    finding.broken += promises.every_upload_ends_once(run, evidence).broken
    finding.broken += promises.nothing_is_paid_for_twice(run, evidence).broken
    finding.broken += promises.the_books_balance(run, evidence).broken
    finding.broken += promises.the_days_are_counted(evidence).broken
    finding.figures = {
        "uploads": Counter({"all": count, "allowed a day": limit}),
        "tasks": Counter({f"on day {day}": created for day, created in enumerate(tasks, 1)}),
    }
    return [finding]


def relapses(seed: int, count: int, seconds: float) -> list[Finding]:
    """`count` uploads while most tasks fail for a passing reason."""
    finding = Finding("2. a failed task is tried again where that may help, three tasks at most")
    with started(Plan(seed=seed, duplicates=weather.DUPLICATES, late_seconds=weather.LATE_SECONDS)) as run:
        run.enhancer("faults", weather.failing(seed))
        run.drop(uploads.photos(seeded(seed), count))
        run.settle(seconds)
        evidence = gathered(run, dead_letters(run))
    for judged in (promises.every_upload_ends_once(run, evidence), promises.nothing_is_paid_for_twice(run, evidence)):
        finding.broken += judged.broken
        finding.figures |= judged.figures
    return [finding]


def second_chances(seed: int, count: int, seconds: float) -> list[Finding]:
    """`count` uploads while half of the submits are ambiguous, and the owner wants those sent again."""
    finding = Finding("2. with AmbiguousSubmit: retry, an ambiguous submit is sent again, once")
    plan = Plan(seed=seed, duplicates=weather.DUPLICATES, late_seconds=weather.LATE_SECONDS)
    with started(plan, {"AmbiguousSubmit": "retry"}) as run:
        run.enhancer("faults", weather.ambiguous(seed))
        run.drop(uploads.photos(seeded(seed), count))
        run.settle(seconds)
        evidence = gathered(run, dead_letters(run))
    answers = Counter("".join("?" if one["fault"] else "+" for one in calls) for calls in evidence.submits.values())
    finding.broken += [f"submits went {answer}" for answer in answers if answer not in ("+", "?+", "??")]
    for judged in (promises.every_upload_ends_once(run, evidence), promises.the_days_are_counted(evidence)):
        finding.broken += judged.broken
    finding.figures = {"uploads by their submits (+ answered, ? ambiguous)": answers}
    return [finding]


def _faults(run: Run) -> Finding:
    played = run.enhancer("faults")
    figures = {
        "asked of the enhancer": Counter(played["calls"]),
        "of these faulty": Counter(played["hits"]),
        f"the enhancer was down for {SHUT_SECONDS} s": Counter({"times": run.gate.outages}),
        "around the functions": Counter(dict(sorted(run.faults.counts.items()))),
    }
    return Finding("what went wrong", figures)


def _key(run: Run) -> str:
    secret = run.client("secretsmanager").get_secret_value(SecretId=run.outputs["KeySecretArn"])
    return str(secret["SecretString"])


def _to_midnight(run: Run) -> float:
    """Seconds until a second after the next midnight."""
    return DAY - run.clock.now() % DAY + 1
