"""The function of the nested stack."""

import os
from typing import Any


def handler(event: Any, context: Any) -> str:
    return os.environ["NAMES"]
