"""What AWS requires of a role before it creates a resource that uses the role."""

from sandbox.aws.deployment import Deployment
from sandbox.aws.errors import CloudError
from sandbox.aws.permissions import Permissions

# Lambda requires these before it polls a queue.
_POLLING = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
# Step Functions requires these before it logs.
_LOG_DELIVERY = (
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
)
# Both require these before they trace, and Step Functions requires _SAMPLING too.
_TRACING = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")
_SAMPLING = ("xray:GetSamplingRules", "xray:GetSamplingTargets")


def check_roles(deployment: Deployment, permissions: Permissions) -> None:
    """Check every role that a function, an event source mapping, or a state machine uses. Raises CloudError."""
    for properties in deployment.functions.values():
        require_trust(permissions, properties["Role"], "lambda.amazonaws.com")
        if properties.get("TracingConfig", {}).get("Mode") == "Active":
            require_permissions(permissions, properties["Role"], _TRACING, "*")
    for mapping in deployment.mappings:
        role = deployment.functions[mapping.function_arn.split(":")[6]]["Role"]
        require_permissions(permissions, role, _POLLING, mapping.event_source_arn)
    for properties in deployment.state_machines.values():
        require_trust(permissions, properties["RoleArn"], "states.amazonaws.com")
        if properties.get("LoggingConfiguration", {}).get("Level", "OFF") != "OFF":
            require_permissions(permissions, properties["RoleArn"], _LOG_DELIVERY, "*")
        if properties.get("TracingConfiguration", {}).get("Enabled"):
            require_permissions(permissions, properties["RoleArn"], (*_TRACING, *_SAMPLING), "*")


def require_trust(permissions: Permissions, role: str, service: str) -> None:
    """Raise CloudError if the service may not assume the role, given by ARN."""
    if not permissions.trusts(role, service):
        raise CloudError(f"{role} cannot be assumed by {service}: its AssumeRolePolicyDocument does not allow it")


def require_permissions(permissions: Permissions, role: str, actions: tuple[str, ...], resource: str) -> None:
    """Raise CloudError if the role, given by ARN, may not perform one of the actions on the resource."""
    missing = [action for action in actions if not permissions.may(role, action, resource)]
    if missing:
        raise CloudError(
            f"{role} lacks {', '.join(missing)} on {resource}, without which AWS does not create the stack"
        )
