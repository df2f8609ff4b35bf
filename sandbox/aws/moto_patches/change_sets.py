"""CloudFormation: change sets of packaged SAM templates."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

from moto.cloudformation import models, responses
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Event, Stack

from sandbox.aws.moto_patches.patching import Context, Replace
from sandbox.aws.packaged import from_url, unpack
from sandbox.aws.template import Template, TemplateError, evaluate, load

_NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


def apply(replace: Replace, context: Context) -> None:
    """Apply the patches of change sets."""
    _read_templates_from_urls(replace, context)
    _translate(replace, context)
    _review_once(replace)
    _execute(replace, context)


def _read(context: Context, bucket: str, key: str) -> bytes:
    content: bytes = context.service_client("s3", "").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def _read_templates_from_urls(replace: Replace, context: Context) -> None:
    # moto 5.2.5: takes the host's first label as the bucket unless the host is AWS's. AWS: accepts S3's path style.
    def read(template_url: str, **_: Any) -> str:
        return _read(context, *from_url(template_url)).decode()

    replace(responses, "get_stack_from_s3_url", read)


def _translate(replace: Replace, context: Context) -> None:
    # moto 5.2.5: compares templates as they are written. AWS: compares what they are after their transform, without
    # the resources whose condition is false.
    def parse(self: Any) -> None:
        try:
            folder = Path(mkdtemp(dir=context.folder))
            path = unpack(self.template, lambda bucket, key: _read(context, bucket, key), folder)
            self.translated = load(path, self.parameters, context.region)
        except TemplateError as error:
            raise ValidationError(message=str(error)) from error
        self.template_dict = self.translated.body

    def diff(self: Any) -> list[Change]:
        before = getattr(self.stack, "translated", None)
        return list(_changes(before, self.translated))

    replace(ChangeSet, "_parse_template", parse)
    replace(ChangeSet, "diff", diff)


def _changes(before: Template | None, after: Template) -> Iterator[Change]:
    old, new = _resources(before) if before else {}, _resources(after)
    values = before.parameters if before else {}
    changed = {name for name, value in after.parameters.items() if values.get(name) != value}
    for name in {**old, **new}:
        resource = new.get(name) or old[name]
        if name not in new or name not in old:
            yield _change("Add" if name in new else "Remove", name, resource)
        elif old[name] != resource or _uses(resource, changed):
            yield _change("Modify", name, resource)


def _change(action: str, name: str, resource: Mapping[str, Any]) -> Change:
    change: Any = Change(action, name, resource["Type"])
    change.policy_action = resource.get("DeletionPolicy", "Delete") if action == "Remove" else None
    return cast(Change, change)


def _resources(template: Template) -> Mapping[str, Any]:
    """The resources that exist with the template's parameters."""
    conditions = template.body.get("Conditions", {})
    return {
        name: one
        for name, one in template.body["Resources"].items()
        if "Condition" not in one or evaluate(conditions[one["Condition"]], template.parameters, conditions)
    }


def _uses(resource: Mapping[str, Any], parameters: set[str]) -> bool:
    text = json.dumps(resource)
    return any(f'"Ref": "{name}"' in text or f"${{{name}}}" in text for name in parameters)


def _review_once(replace: Replace) -> None:
    # moto 5.2.5: creates a second stack of the same name for another change set of type CREATE, and finds no changes
    # only in a template that is written the same way. AWS: uses the stack in review, and compares the resources.
    create = CloudFormationBackend.create_change_set

    def create_in_review(self: Any, stack_name: str, *rest: Any, **more: Any) -> tuple[str, str]:
        for stack in [one for one in self.stacks.values() if one.name == stack_name]:
            if more["change_set_type"] == "CREATE" and stack.status != "REVIEW_IN_PROGRESS":
                raise ValidationError(message=f"Stack [{stack_name}] already exists and cannot be created again.")
            if more["change_set_type"] == "CREATE":
                del self.stacks[stack.stack_id]
        arn, stack_id = create(self, stack_name, *rest, **more)
        change_set = self.change_sets[arn]
        if not change_set.changes:
            change_set.status, change_set.execution_status = "FAILED", "UNAVAILABLE"
            change_set.status_reason = _NO_CHANGES
        return arn, stack_id

    replace(CloudFormationBackend, "create_change_set", create_in_review)


def _execute(replace: Replace, context: Context) -> None:
    # moto 5.2.5: creates the resources in a stack that was parsed without them, and has no events of resources. AWS:
    # creates the stack that is in review, with events; if that fails, it rolls it back. The sandbox updates no stacks.
    reserved: dict[str, str] = {}
    generate = vars(models)["generate_stack_id"]

    def execute(self: Any, change_set_name: str, stack_name: str | None = None) -> None:  # noqa: ARG001  # moto's
        change_set: Any = self.describe_change_set(change_set_name)
        review = change_set.stack
        if change_set.change_set_type != "CREATE":
            raise ValidationError(message="The sandbox creates stacks, and does not update them.")
        reserved[review.name] = self.stacks.pop(review.stack_id).stack_id
        try:
            context.deploy(change_set.translated, review.name)
        except Exception as error:  # noqa: BLE001  # whatever it is, the stack is rolled back
            self.stacks[review.stack_id] = review
            review._add_stack_event("CREATE_FAILED", resource_status_reason=str(error))
            review._add_stack_event("ROLLBACK_COMPLETE")
            review.status = "ROLLBACK_COMPLETE"
            return
        change_set.execution_status = "EXECUTE_COMPLETE"
        stack = self.stacks[review.stack_id]
        stack.events[:] = [*review.events, *stack.events[:-1], *_resource_events(stack), stack.events[-1]]

    replace(models, "generate_stack_id", lambda name, *rest: reserved.pop(name, None) or generate(name, *rest))
    replace(CloudFormationBackend, "execute_change_set", execute)


def _resource_events(stack: Stack) -> Iterator[Event]:
    for one in stack.stack_resources:
        found: Any = responses.StackResourceDTO(stack, one)
        place = (found.logical_resource_id, found.physical_resource_id, found.resource_type)
        yield Event(stack.stack_id, stack.name, *place, "CREATE_COMPLETE", None, None)
