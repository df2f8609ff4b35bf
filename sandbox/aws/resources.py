"""CloudFormation resources that moto lacks, or creates without some of their properties.

moto 5.2.5 finds the types that it can create among the subclasses of `CloudFormationModel`; the last one of a type
counts. Importing this module adds such subclasses.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.awslambda.models import EventSourceMapping, LambdaFunction, LayerVersion
from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.dynamodb.models.table import Table
from moto.iam.models import Role
from moto.s3.models import FakeBucket
from moto.sqs.models import sqs_backends

from sandbox.aws.deployment import Deployment, Properties

# Properties of an event source mapping that `event_source.Poller` does not support.
_UNSUPPORTED = {"FilterCriteria", "MaximumBatchingWindowInSeconds", "DestinationConfig"}


_current: Deployment | None = None


@contextmanager
def belonging_to(deployment: Deployment) -> Iterator[None]:
    """Let the resources that are created in this context belong to the deployment."""
    global _current
    _current = deployment
    try:
        yield
    finally:
        _current = None


def current_deployment() -> Deployment:
    """The deployment whose resources are being created."""
    assert _current is not None  # noqa: S101  # moto creates resources in `belonging_to` only
    return _current


class Provided:
    """A resource that moto can't create, in the shape that its CloudFormation expects."""

    def __init__(self, physical_resource_id: str, **attributes: str) -> None:
        self.physical_resource_id = physical_resource_id
        self._attributes = attributes

    def get_cfn_attribute(self, name: str) -> str:
        return self._attributes[name]

    def is_created(self) -> bool:
        return True

    def delete(self, account_id: str, region: str) -> None:
        """Keep the resource; it ends with the cloud."""


def _secret(stack: Deployment, name: str, properties: Properties) -> Provided:
    value = {name: properties[name] for name in ("SecretString", "Description", "KmsKeyId") if name in properties}
    if "GenerateSecretString" in properties:
        value["SecretString"] = _generate(properties["GenerateSecretString"])
    secret = stack.client("secretsmanager").create_secret(Name=properties.get("Name", name), **value)
    return Provided(secret["ARN"], Id=secret["ARN"])


def _generate(wanted: Properties) -> str:
    length = int(wanted.get("PasswordLength", 32))
    password = secrets.token_hex(length)[:length]
    if "GenerateStringKey" not in wanted:
        return password
    return json.dumps({**json.loads(wanted["SecretStringTemplate"]), wanted["GenerateStringKey"]: password})


def _queue_policy(stack: Deployment, name: str, properties: Properties) -> Provided:
    for url in properties["Queues"]:
        stack.client("sqs").set_queue_attributes(
            QueueUrl=url, Attributes={"Policy": json.dumps(properties["PolicyDocument"])}
        )
    return Provided(name)


def _bucket_policy(stack: Deployment, name: str, properties: Properties) -> Provided:
    stack.client("s3").put_bucket_policy(Bucket=properties["Bucket"], Policy=json.dumps(properties["PolicyDocument"]))
    return Provided(name)


def _alarm(stack: Deployment, name: str, properties: Properties) -> Provided:
    name = properties.get("AlarmName", name)
    stack.client("cloudwatch").put_metric_alarm(**{**properties, "AlarmName": name})
    return Provided(name, Arn=f"arn:aws:cloudwatch:{stack.region}:{stack.account}:alarm:{name}")


def _topic_policy(stack: Deployment, name: str, properties: Properties) -> Provided:
    for arn in properties["Topics"]:
        stack.client("sns").set_topic_attributes(
            TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(properties["PolicyDocument"])
        )
    return Provided(name)


def _subscription(stack: Deployment, _: str, properties: Properties) -> Provided:
    return Provided(stack.client("sns").subscribe(**properties, ReturnSubscriptionArn=True)["SubscriptionArn"])


def _saved_query(stack: Deployment, name: str, properties: Properties) -> Provided:
    stack.skipped.append(f"{name}: moto's CloudWatch Logs has no saved queries, such as {properties['Name']!r}.")
    return Provided(name)


def _state_machine(stack: Deployment, name: str, properties: Properties) -> Provided:
    # moto 5.2.5: creates it in a backend that does not execute it, and does not substitute. AWS: does both.
    definition = properties.get("DefinitionString") or json.dumps(properties["Definition"])
    substitutions = properties.get("DefinitionSubstitutions", {})
    definition = re.sub(r"\$\{(\w+)\}", lambda match: str(substitutions.get(match[1], match[0])), definition)
    name = properties.get("StateMachineName", name)
    arn = stack.client("stepfunctions").create_state_machine(
        name=name,
        definition=definition,
        roleArn=properties["RoleArn"],
        type=properties.get("StateMachineType", "STANDARD"),
    )["stateMachineArn"]
    stack.state_machines[arn] = properties
    return Provided(arn, Arn=arn, Name=name)


def _version(stack: Deployment, _: str, properties: Properties) -> Provided:
    description = properties.get("Description", "")
    version = stack.client("lambda").publish_version(FunctionName=properties["FunctionName"], Description=description)
    return Provided(version["FunctionArn"], Version=version["Version"], FunctionArn=version["FunctionArn"])


def _alias(stack: Deployment, _: str, properties: Properties) -> Provided:
    alias = stack.client("lambda").create_alias(**properties)
    return Provided(alias["AliasArn"], AliasArn=alias["AliasArn"])


def _complete_bucket(stack: Deployment, bucket: FakeBucket, properties: Properties) -> None:
    s3 = stack.client("s3")
    if "VersioningConfiguration" in properties:
        s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration=properties["VersioningConfiguration"])
    if "PublicAccessBlockConfiguration" in properties:
        s3.put_public_access_block(
            Bucket=bucket.name,
            PublicAccessBlockConfiguration=properties["PublicAccessBlockConfiguration"],
        )
    bridge = properties.get("NotificationConfiguration", {}).get("EventBridgeConfiguration", {})
    if str(bridge.get("EventBridgeEnabled", bool(bridge))).lower() == "true":
        s3.put_bucket_notification_configuration(
            Bucket=bucket.name, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )


def _complete_function(stack: Deployment, function: LambdaFunction, properties: Properties) -> None:
    stack.functions[function.function_name] = properties
    stack.code[function.function_name] = stack.template.code(properties["Code"])


def _complete_layer(stack: Deployment, layer: LayerVersion, properties: Properties) -> None:
    # moto 5.2.5: Ref gives a layer's name. AWS: its ARN.
    layer.physical_resource_id = layer.arn  # type: ignore[attr-defined]  # Ref returns it
    stack.layers[layer.arn] = stack.template.code(properties["Content"])


def _complete_mapping(stack: Deployment, mapping: EventSourceMapping, properties: Properties) -> None:
    # moto 5.2.5: SendMessage itself invokes the function, once. AWS: polls the queue, as `event_source.Poller` does.
    for queue in sqs_backends[mapping.account_id][mapping.region].queues.values():
        queue.lambda_event_source_mappings.pop(mapping.function_arn, None)
    stack.mappings.append(mapping)
    stack.skipped += [
        f"{name} of the event source of {mapping.function_name}: the sandbox does not support it."
        for name in sorted(_UNSUPPORTED & set(properties))
    ]


def _complete_role(stack: Deployment, role: Role, properties: Properties) -> None:
    for arn in properties.get("ManagedPolicyArns", []):
        stack.client("iam").attach_role_policy(RoleName=role.name, PolicyArn=arn)


def _complete_table(stack: Deployment, table: Table, properties: Properties) -> None:
    recovery = properties.get("PointInTimeRecoverySpecification")
    if recovery:
        stack.client("dynamodb").update_continuous_backups(
            TableName=table.name, PointInTimeRecoverySpecification=recovery
        )
    expiry = properties.get("TimeToLiveSpecification")
    if expiry:
        stack.client("dynamodb").update_time_to_live(TableName=table.name, TimeToLiveSpecification=expiry)


def _register(kind: str, make: Callable[..., Any], name_property: str = "") -> None:
    class Model(CloudFormationModel):
        @staticmethod
        def cloudformation_type() -> str:
            return kind

        @staticmethod
        def cloudformation_name_type() -> str:
            return name_property

        @classmethod
        def has_cfn_attr(cls, attr: str) -> bool:  # noqa: ARG003  # moto's signature; the resource decides
            return True

        @classmethod
        def create_from_cloudformation_json(cls, *args: Any, **kwargs: Any) -> Any:
            return make(*args, **kwargs)

    _MODELS.append(Model)  # type: ignore[type-abstract]  # moto does not instantiate it


def _provide(make: Callable[[Deployment, str, Properties], Provided]) -> Callable[..., Provided]:
    def create(name: str, resource: dict[str, Any], *_: object, **__: object) -> Provided:
        return make(current_deployment(), name, resource["Properties"])

    return create


def _extend(model: Any, complete: Callable[[Deployment, Any, Properties], None]) -> Callable[..., Any]:
    def create(name: str, resource: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        made = model.create_from_cloudformation_json(name, resource, *args, **kwargs)
        complete(current_deployment(), made, resource["Properties"])
        return made

    return create


# Without a reference, Python removes a class from the list of its base's subclasses.
_MODELS: list[type[CloudFormationModel]] = []

_register("AWS::SecretsManager::Secret", _provide(_secret), "Name")
_register("AWS::SQS::QueuePolicy", _provide(_queue_policy))
_register("AWS::S3::BucketPolicy", _provide(_bucket_policy))
_register("AWS::SNS::TopicPolicy", _provide(_topic_policy))
_register("AWS::SNS::Subscription", _provide(_subscription))
_register("AWS::Logs::QueryDefinition", _provide(_saved_query))
_register("AWS::CloudWatch::Alarm", _provide(_alarm), "AlarmName")
_register("AWS::Lambda::Version", _provide(_version))
_register("AWS::Lambda::Alias", _provide(_alias))
_register("AWS::StepFunctions::StateMachine", _provide(_state_machine), "StateMachineName")
_register("AWS::S3::Bucket", _extend(FakeBucket, _complete_bucket), "BucketName")
_register("AWS::Lambda::Function", _extend(LambdaFunction, _complete_function), "FunctionName")
_register("AWS::Lambda::LayerVersion", _extend(LayerVersion, _complete_layer), "LayerName")
_register("AWS::Lambda::EventSourceMapping", _extend(EventSourceMapping, _complete_mapping))
_register("AWS::DynamoDB::Table", _extend(Table, _complete_table), "TableName")
_register("AWS::IAM::Role", _extend(Role, _complete_role), "RoleName")
for cached in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
    cached.cache_clear()
