"""The checker: its event decides what it does and how it ends."""

import os
import time
from pathlib import Path
from typing import Any

from shared_by_both import WORD


class Refused(Exception):
    pass


class Flaky(Exception):
    pass


calls = 0


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    global calls
    calls += 1
    match event.get("do"):
        case "sleep":
            time.sleep(event["seconds"])
        case "wait":
            while not Path(event["until"]).exists():
                time.sleep(0.01)
        case "exit":
            if event["code"] < 0:
                os.kill(os.getpid(), -event["code"])
            os._exit(event["code"])
        case "print":
            print(event["text"])
        case "refuse":
            raise Refused("no")
        case "flaky" if calls == 1:
            raise Flaky("once")
        case "environment":
            return dict(os.environ)
    return {
        "word": WORD,
        "pid": os.getpid(),
        "calls": calls,
        "remaining": context.get_remaining_time_in_millis(),
        "request": context.aws_request_id,
        "arn": context.invoked_function_arn,
    }
