"""The AWS CLI with its own endpoint and credentials, independent of this machine's settings."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

AWS = Path(sys.executable).with_name("aws")
LIMITS = ("--cli-connect-timeout", "5", "--cli-read-timeout", "30")
SECONDS = 60


class Cli:
    """Runs `aws` against `endpoint`; `home` is an empty folder."""

    def __init__(self, endpoint: str, home: Path) -> None:
        self._endpoint = endpoint
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONUTF8": "1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_RETRY_MODE": "standard",
            "AWS_MAX_ATTEMPTS": "2",
        }

    def __call__(self, *arguments: str) -> Any:
        """Returns the output, parsed if it is JSON; raises AssertionError if the command fails."""
        done = subprocess.run(
            [AWS, "--endpoint-url", self._endpoint, *LIMITS, "--output", "json", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"aws {' '.join(arguments)}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout
