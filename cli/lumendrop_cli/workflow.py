"""The executions of the workflow: one per upload and attempt."""

from __future__ import annotations

import hashlib
import re

from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack


def execution_arn(stack: Stack, row: Row) -> str:
    """The execution that submit starts for a row's present attempt; named as in layers/lumendrop/workflow.py."""
    tail = re.sub(r"[^A-Za-z0-9]+", "-", row["key"])[-30:].strip("-")
    name = f"{tail or 'upload'}-{correlation_id(row)}-{row['attempt']}"
    return f"{stack.output('WorkflowArn').replace(':stateMachine:', ':execution:')}:{name}"


def correlation_id(row: Row) -> str:
    """What an upload is called in all logs; made as in layers/lumendrop/uploads.py."""
    return hashlib.sha256("\0".join([row["bucket"], row["key"], row["version_id"]]).encode()).hexdigest()[:32]
