"""Makes moto's queues and workflows follow a skipping clock instead of the machine's."""

import contextlib
import datetime
from collections.abc import Callable, Iterator
from datetime import UTC
from types import SimpleNamespace

from jsonata.timebox import Timebox
from moto.awslambda.models import LambdaBackend, lambda_backends
from moto.sqs import models as queues
from moto.sqs.models import Queue, sqs_backends
from moto.stepfunctions.parser import models as state_machines
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

from sandbox.aws.event_source import DEFAULT_CONCURRENCY
from sandbox.aws.moto_patches import Replace, replacing
from sandbox.aws.moto_patches.sqs_messages import messages_of
from tests.chaos.clock import Clock, FairSemaphore

_CONCURRENT_EXECUTIONS = 8


@contextlib.contextmanager
def apply(clock: Clock, account: str, region: str, asleep: Callable[[str], int]) -> Iterator[None]:
    """Makes every wait and timestamp in moto follow `clock`. `asleep` counts the runs of a function that sleep."""
    with replacing() as replace:
        _patch_queue_time(replace, clock)
        _patch_workflow_waits(replace, clock)
        _patch_workflow_time(replace, clock)
        _count_executions(replace, clock)
        clock.add_timer(
            lambda: _next_message(account, region, clock.now(), asleep), lambda: _wake_receivers(account, region)
        )
        yield


def _patch_queue_time(replace: Replace, clock: Clock) -> None:
    # Moto uses this function for delays and visibility timeouts only; long polls stay real.
    replace(queues, "unix_time_millis", lambda: clock.now() * 1000)
    wait = Queue.wait_for_messages

    def rest(self: Queue, timeout: int) -> None:
        with clock.resting():
            wait(self, timeout)

    replace(Queue, "wait_for_messages", rest)


def _next_message(account: str, region: str, now: float, asleep: Callable[[str], int]) -> float | None:
    """When the next message becomes available in a queue with a dead-letter queue, which has a consumer.

    While all concurrent runs of the consumer sleep, it receives nothing.
    """
    times: list[float] = []
    for queue in sqs_backends[account][region].queues.values():
        if queue.redrive_policy and not _is_consumer_asleep(lambda_backends[account][region], queue, asleep):
            with queue._messages_lock:  # moto's
                moment = messages_of(queue).next_time()
            times += [] if moment is None else [moment / 1000]
    return max(now, min(times)) if times else None


def _is_consumer_asleep(functions: LambdaBackend, queue: Queue, asleep: Callable[[str], int]) -> bool:
    return any(
        asleep(mapping.function_arn)
        >= int((mapping.scaling_config or {}).get("MaximumConcurrency", DEFAULT_CONCURRENCY))
        for mapping in functions.list_event_source_mappings(queue.queue_arn, "")
    )


def _wake_receivers(account: str, region: str) -> None:
    for queue in sqs_backends[account][region].queues.values():
        with queue._messages_lock:  # moto's
            queue._messages_lock.notify_all()  # moto's


def _patch_workflow_waits(replace: Replace, clock: Clock) -> None:
    # Hundreds of concurrent executions would spend their time on thread switches.
    semaphore = FairSemaphore(_CONCURRENT_EXECUTIONS, clock)
    execute: Callable[[ExecutionWorker], None] = ExecutionWorker._execution_logic  # moto's

    def execute_with_limit(self: ExecutionWorker) -> None:
        with semaphore:
            execute(self)

    def wait(seconds: float, needed: Callable[[], bool] = lambda: True) -> None:
        semaphore.release()
        clock.wait(seconds, needed)
        semaphore.acquire()

    replace(ExecutionWorker, "_execution_logic", execute_with_limit)
    replace(WaitFunction, "_wait_interval", lambda _, env, wait_seconds: wait(wait_seconds, env.is_running))
    replace(retrier_decl, "time", SimpleNamespace(sleep=wait))


def _patch_workflow_time(replace: Replace, clock: Clock) -> None:
    replace(Timebox, "current_milli_time", staticmethod(lambda: round(clock.now() * 1000)))
    patched = SimpleNamespace(now=lambda tz: datetime.datetime.fromtimestamp(clock.now(), tz))
    replace(state_machines, "datetime", SimpleNamespace(datetime=patched, timezone=SimpleNamespace(utc=UTC)))


def _count_executions(replace: Replace, clock: Clock) -> None:
    start, terminated = Execution.start, BaseExecutionWorkerCommunication.terminated

    def start_work(self: Execution) -> None:
        clock.start_work()
        start(self)

    def end_work(self: BaseExecutionWorkerCommunication) -> None:
        try:
            terminated(self)
        finally:
            clock.end_work()

    replace(Execution, "start", start_work)
    replace(BaseExecutionWorkerCommunication, "terminated", end_work)
