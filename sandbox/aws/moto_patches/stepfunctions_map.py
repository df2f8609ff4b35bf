"""Step Functions: Distributed Map."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, cast

from moto.stepfunctions.parser.api import HistoryEventType, MapRunFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_eval_s3 import (
    ResourceEvalS3,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.distributed_iteration_component import (
    DistributedIterationComponent,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor import (
    distributed_item_processor_worker as workers,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

from sandbox.aws.moto_patches.patching import Context, Replace

_Worker = workers.DistributedItemProcessorWorker
_Kind = StatesErrorNameType


def apply(replace: Replace, context: Context) -> None:
    """Apply the patches of this part."""
    _list_every_object(replace)
    _batch_items(replace)
    _authorize_children(replace, context.may)
    _fail_with_a_child(replace)
    _count_items(replace)


def _list_every_object(replace: Replace) -> None:
    # moto 5.2.5: reads the first thousand objects, fails on an empty bucket, and passes boto3's names and types on.
    # AWS: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html
    def read(env: Any, resource: Any, credentials: Any) -> None:
        client = ResourceEvalS3._get_s3_client(resource, credentials)
        pages = client.get_paginator("list_objects_v2").paginate(**env.stack.pop())
        env.stack.append([_listed(one) for page in pages for one in page.get("Contents", [])])

    replace(ResourceEvalS3, "_handle_list_objects_v2", staticmethod(read))


def _listed(found: dict[str, Any]) -> dict[str, Any]:
    modified: datetime = found["LastModified"]
    return {
        "Etag": found["ETag"],
        "Key": found["Key"],
        "LastModified": int(modified.timestamp()),
        "Size": found["Size"],
        "StorageClass": found["StorageClass"],
    }


def _batch_items(replace: Replace) -> None:
    # moto 5.2.5: rejects ItemBatcher and EXPRESS children, and never ends a run without children. AWS: supports them.
    parse, run = AmazonStateLanguageParser.parse, DistributedIterationComponent._map_run
    sizes: dict[str, int] = {}

    def parse_the_rest(definition: str) -> Any:
        if "ItemBatcher" not in definition:
            return parse(definition)
        parsed = json.loads(definition)
        for name, state in _states(parsed):
            if "ItemBatcher" in state:
                sizes[name] = state.pop("ItemBatcher")["MaxItemsPerBatch"]
                state["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = "STANDARD"
        return parse(json.dumps(parsed))

    def run_in_batches(self: Any, env: Any, eval_input: Any) -> None:
        if size := sizes.get(eval_input.state_name):
            items = env.stack.pop()
            env.stack.append([{"Items": items[at : at + size]} for at in range(0, len(items), size)])
        if env.stack[-1]:
            run(self, env, eval_input)

    replace(AmazonStateLanguageParser, "parse", staticmethod(parse_the_rest))
    replace(DistributedIterationComponent, "_map_run", run_in_batches)


def _states(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in definition["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from _states(state["ItemProcessor"])


def _authorize_children(replace: Replace, may: Callable[..., bool]) -> None:
    # moto 5.2.5: starts children without permissions. AWS: the role needs states:StartExecution on its own state
    # machine and states:DescribeExecution on the children.
    run = DistributedIterationComponent._map_run

    def run_if_allowed(self: Any, env: Any, eval_input: Any) -> None:
        role = env.aws_execution_details.role_arn
        machine = env.states.context_object.context_object_data["StateMachine"]["Id"]
        child = f"{machine.replace(':stateMachine:', ':execution:')}:child"
        for action, resource in (("states:StartExecution", machine), ("states:DescribeExecution", child)):
            if not may(role, action, resource):
                raise _failure(env, _Kind.StatesPermissions, f"{role} is not authorized to perform: {action}")
        run(self, env, eval_input)

    replace(DistributedIterationComponent, "_map_run", run_if_allowed)


def _fail_with_a_child(replace: Replace) -> None:
    # moto 5.2.5: a run succeeds although a child fails. AWS: it fails unless failures are tolerated.
    evaluate = _Worker._eval_job

    def evaluate_or_fail(self: Any, env: Any, job: Any) -> None:
        evaluate(self, env, job)
        if self._map_run_record.item_counter.failed.get():
            cause = "The specified tolerated failure threshold was exceeded"
            job.job_output = _failure(env, _Kind.StatesExceedToleratedFailureThreshold, cause)

    replace(_Worker, "_eval_job", evaluate_or_fail)


def _count_items(replace: Replace) -> None:
    # moto 5.2.5: DescribeMapRun counts batches. AWS: counts the items of each batch.
    evaluate = _Worker._eval_job

    def evaluate_and_count(self: Any, env: Any, job: Any) -> None:
        evaluate(self, env, job)
        counter = self._map_run_record.item_counter
        more = len(job.job_input["Items"]) - 1
        counter.total.count(more)
        (counter.failed if isinstance(job.job_output, Exception) else counter.succeeded).count(more)

    replace(_Worker, "_eval_job", evaluate_and_count)


def _failure(env: Any, kind: Any, cause: str) -> FailureEventException:
    name = StatesErrorName(typ=kind)
    details = {"mapRunFailedEventDetails": MapRunFailedEventDetails(error=name.error_name, cause=cause)}
    return FailureEventException(
        FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.MapRunFailed,
            event_details=cast(EventDetails, details),
        )
    )
