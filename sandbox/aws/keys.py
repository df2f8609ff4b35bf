"""The account's own KMS keys: which key encrypts a resource, and the permissions on it that using the resource needs.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/service-integration.html and each service's own page on
encryption at rest.
"""

from collections.abc import Iterator
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.kms.models import Key, kms_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from sandbox.aws.policies import Statement, statements

_READ, _WRITE = ("kms:Decrypt",), ("kms:GenerateDataKey",)
# Actions on the key that the caller of an action on the encrypted resource needs.
DEMANDS = {
    "s3:GetObject": _READ,
    "s3:GetObjectVersion": _READ,
    "s3:PutObject": _WRITE,
    "sqs:ReceiveMessage": _READ,
    "sqs:SendMessage": (*_WRITE, *_READ),
    "sns:Publish": (*_WRITE, *_READ),
    "secretsmanager:GetSecretValue": _READ,
    **{f"dynamodb:{verb}Item": _READ for verb in ("Get", "Put", "Update", "Delete")},
    "dynamodb:Query": _READ,
}


def key_of(resource: str, account: str, region: str) -> str | None:
    """The ARN of the account's own key that encrypts a resource, given by ARN; None if AWS's own key does."""
    _, _, service, _, _, name = resource.split(":", 5)
    found = _KEYS[service](name, account, region) if service in _KEYS else None
    key = _key(found, account, region) if found else None
    # The policies of AWS's own keys allow everybody in the account who may use the service.
    return key.arn if key and not any(alias.startswith("alias/aws/") for alias in key.aliases) else None


def policy(key: str, account: str, region: str) -> Iterator[Statement]:
    """The statements of a key's policy, without those that leave the decision to the policies of the roles."""
    found = _key(key, account, region)
    for one in statements(found.policy) if found else []:
        if not str(one["Principal"].get("AWS", "") if isinstance(one["Principal"], dict) else "").endswith(":root"):
            yield one


def _key(id_: str, account: str, region: str) -> Key | None:
    backend = kms_backends[account][region]
    return backend.keys.get(backend.any_id_to_key_id(id_))


def _of_bucket(name: str, account: str, _: str) -> Any:
    bucket = s3_backends[account]["aws"].buckets.get(name.partition("/")[0])
    rule = bucket.encryption["Rule"] if bucket and bucket.encryption else {}
    return (
        (rule[0] if isinstance(rule, list) else rule)
        .get("ApplyServerSideEncryptionByDefault", {})
        .get("KMSMasterKeyID")
    )


def _of_queue(name: str, account: str, region: str) -> Any:
    queue = sqs_backends[account][region].queues.get(name)
    return getattr(queue, "kms_master_key_id", None)


def _of_topic(name: str, account: str, region: str) -> Any:
    topic = sns_backends[account][region].topics.get(f"arn:aws:sns:{region}:{account}:{name}")
    return topic.kms_master_key_id if topic else None


def _of_table(name: str, account: str, region: str) -> Any:
    table = dynamodb_backends[account][region].tables.get(name.removeprefix("table/").partition("/")[0])
    return (table.sse_specification or {}).get("KMSMasterKeyId") if table else None


def _of_secret(name: str, account: str, region: str) -> Any:
    secret = secretsmanager_backends[account][region].secrets.get(f"arn:aws:secretsmanager:{region}:{account}:{name}")
    return getattr(secret, "kms_key_id", None)


_KEYS = {"s3": _of_bucket, "sqs": _of_queue, "sns": _of_topic, "dynamodb": _of_table, "secretsmanager": _of_secret}
