"""The bucket that CloudFormation reads the template and the code from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from lumendrop_cli.errors import AWS_ERROR, CliError, error_code
from lumendrop_cli.photo_files import sha256_of
from lumendrop_cli.printer import Progress
from lumendrop_cli.stack import Account

_PREFIX = "lumendrop/"
_MISSING, _FORBIDDEN = frozenset({"404", "NoSuchBucket"}), frozenset({"403", "AccessDenied"})
_OTHER_HOSTS = re.compile(r"^https://s3(-fips)?(\.dualstack)?\.(aws-global\.)?")
_UNSET = frozenset(
    {
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchBucketPolicy",
    }
)
_DEFAULT_REGION = "us-east-1"  # of S3: a location that must not be named


def default_bucket(account: Account) -> str:
    """The name of the bucket that all Lumendrop stacks of an account and region share."""
    return f"lumendrop-artifacts-{account.number}-{account.region}"


def open_bucket(account: Account, name: str | None) -> str:
    """Takes the bucket that the user names, or else the default one, which is created if it is missing.

    The default bucket is encrypted, private, and requires TLS. Raises CliError for a bucket of another account or
    region, and for one that the user names and that doesn't exist.
    """
    bucket = name or default_bucket(account)
    if _exists(account, bucket):
        if name is None:  # an interrupted command can have created it without the settings
            _protect(account, bucket)
        return bucket
    if name is not None:
        advice = "Create it, or leave out --artifact-bucket: then lumendrop creates one."
        raise CliError(f"There is no bucket {bucket}. {advice}", AWS_ERROR)
    location = {"CreateBucketConfiguration": {"LocationConstraint": account.region}}
    account.client("s3").create_bucket(Bucket=bucket, **(location if account.region != _DEFAULT_REGION else {}))
    _protect(account, bucket)
    return bucket


def _exists(account: Account, bucket: str) -> bool:
    try:
        found = account.client("s3").head_bucket(Bucket=bucket, ExpectedBucketOwner=account.number)
    except ClientError as error:
        if error_code(error) in _MISSING:
            return False
        if error_code(error) in _FORBIDDEN:
            raise CliError(
                f"The bucket {bucket} belongs to another account, or these credentials can't use it. Choose another "
                "one with --artifact-bucket.",
                AWS_ERROR,
            ) from None
        raise
    region = found.get("BucketRegion", account.region)
    if region != account.region:
        raise CliError(
            f"The bucket {bucket} is in {region}, and the stack in {account.region}. CloudFormation needs both in one "
            "region: choose another bucket with --artifact-bucket.",
            AWS_ERROR,
        )
    return True


def _protect(account: Account, bucket: str) -> None:
    """Sets what the bucket lacks. Its owner can have set another key, or a policy with more statements."""
    s3, owned = account.client("s3"), {"Bucket": bucket, "ExpectedBucketOwner": account.number}
    everything = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    blocked = _setting(partial(s3.get_public_access_block, **owned)).get("PublicAccessBlockConfiguration")
    if blocked != everything:
        s3.put_public_access_block(**owned, PublicAccessBlockConfiguration=everything)
    if not _setting(partial(s3.get_bucket_encryption, **owned)):
        by_default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        s3.put_bucket_encryption(**owned, ServerSideEncryptionConfiguration={"Rules": [by_default]})
    if not _setting(partial(s3.get_bucket_policy, **owned)):
        s3.put_bucket_policy(**owned, Policy=_only_tls(account, bucket))


def _setting(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A setting of the bucket, empty if it has none, or if the credentials can't read it."""
    try:
        return read()
    except ClientError as error:
        if error_code(error) in {*_UNSET, *_FORBIDDEN}:
            return {}
        raise


def _only_tls(account: Account, bucket: str) -> str:
    arn = f"arn:{account.partition}:s3:::{bucket}"
    statement = {
        "Sid": "RequireTLS",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def upload_missing(account: Account, bucket: str, files: Mapping[str, bytes], progress: Progress) -> list[str]:
    """Uploads the files that the bucket doesn't have with the same content, and returns the names of these."""
    uploaded = []
    for number, (name, content) in enumerate(files.items(), 1):
        expected = sha256_of([content])
        owned = {"Bucket": bucket, "Key": key_of(name), "ExpectedBucketOwner": account.number}
        if _checksum(account, owned) != expected:
            progress(f"Uploading {name.partition('-')[0]} ({number} of {len(files)}, {len(content):,} bytes) …")
            account.client("s3").put_object(**owned, Body=content, ChecksumAlgorithm="SHA256", ChecksumSHA256=expected)
            uploaded.append(name)
    return uploaded


def key_of(name: str) -> str:
    """The key of a file, whose name contains its hash."""
    return f"{_PREFIX}{name}"


def url_of(account: Account, bucket: str) -> str:
    """The bucket's URL, in the style that works at every endpoint. Not that of FIPS or dual-stack."""
    usual = _OTHER_HOSTS.sub("https://s3.", account.client("s3").meta.endpoint_url)
    return f"{usual}/{bucket}"


def _checksum(account: Account, owned: dict[str, Any]) -> str | None:
    """The SHA-256 that S3 stores of an object, or None. Without it, the object can be something else."""
    try:
        found: str | None = account.client("s3").head_object(**owned, ChecksumMode="ENABLED").get("ChecksumSHA256")
    except ClientError as error:
        if error_code(error) in {*_MISSING, *_FORBIDDEN}:  # 403: a missing object, without s3:ListBucket
            return None
        raise
    return found
