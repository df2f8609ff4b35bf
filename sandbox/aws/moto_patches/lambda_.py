"""Lambda: invocations, and the state of event source mappings."""

from typing import Any

from moto.awslambda.models import EventSourceMapping, LambdaFunction
from moto.sqs.models import sqs_backends

from sandbox.aws.moto_patches.patching import Context, Replace


def apply(replace: Replace, context: Context) -> None:
    """Apply the patches of this service."""
    _invoke_in_the_sandbox(replace, context)
    _disable_after_the_last_receive(replace)


def _invoke_in_the_sandbox(replace: Replace, context: Context) -> None:
    # moto 5.2.5: runs each invocation in a new Docker container, and every error is "Handled". AWS: keeps execution
    # environments warm, and errors are "Unhandled".
    def invoke(self: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
        return context.invoke(self.function_name, body, request_headers, response_headers)

    replace(LambdaFunction, "invoke", invoke)


def _disable_after_the_last_receive(replace: Replace) -> None:
    # moto 5.2.5: a mapping is Disabled at once. AWS: it is Disabling as long as its poller may still receive.
    # `receiving` is set by `event_source.Poller`, which a change of the mapping wakes.
    configuration = EventSourceMapping.get_configuration

    def get(self: Any) -> dict[str, Any]:
        found = configuration(self)
        return found | {"State": "Disabling"} if found["State"] == "Disabled" and self.receiving else found

    def set_enabled(self: Any, enabled: Any) -> None:
        vars(self)["enabled"] = enabled
        queue = sqs_backends[self.account_id][self.region].queues.get(self.event_source_arn.rpartition(":")[2])
        if queue:
            with queue._messages_lock:
                queue._messages_lock.notify_all()

    replace(EventSourceMapping, "receiving", False)
    replace(EventSourceMapping, "get_configuration", get)
    replace(EventSourceMapping, "enabled", property(lambda self: vars(self)["enabled"], set_enabled))
