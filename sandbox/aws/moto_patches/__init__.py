"""Patches that make moto behave as AWS does, one module per service, undone when the cloud closes.

Each patch names the moto version that it was checked against, what moto does, and what AWS does.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sandbox.aws.moto_patches import (
    change_sets,
    cloudformation,
    core,
    dynamodb,
    events,
    iam,
    kms,
    lambda_,
    logs,
    s3,
    sqs,
    stepfunctions,
    stepfunctions_jsonata,
    stepfunctions_map,
)
from sandbox.aws.moto_patches.patching import Context, Replace, replacing
from sandbox.aws.template import Template

__all__ = ["Replace", "apply", "replacing"]

_SERVICES = (
    core,
    cloudformation,
    change_sets,
    stepfunctions,
    stepfunctions_jsonata,
    stepfunctions_map,
    s3,
    events,
    sqs,
    dynamodb,
    iam,
    kms,
    lambda_,
    logs,
)


@contextlib.contextmanager
def apply(
    invoke: Callable[..., bytes],
    service_client: Callable[[str, str], Any],
    may: Callable[..., bool],
    deploy: Callable[[Template, str], None],
    is_closing: Callable[[], bool],
    folder: Path,
    account: str,
    region: str,
) -> Iterator[None]:
    """Apply every patch until the context ends; for the arguments, see `patching.Context`."""
    context = Context(invoke, service_client, may, deploy, is_closing, folder, account, region)
    with replacing() as replace:
        for service in _SERVICES:
            service.apply(replace, context)
        yield
