"""A cloud serves nobody until everything in it runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.aws.gate import Gate

STACK = Path(__file__).with_name("stack") / "template.yaml"
REPO = STACK.parents[3]

# In a program of its own, because only one cloud is open in a process.
POLL_WHILE_STARTING = f"""
import json, socket, threading, time
from pathlib import Path
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from sandbox.aws.cloud import Cloud

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
keys = dict(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
stacks = boto3.client("cloudformation", endpoint_url=f"http://127.0.0.1:{{port}}", **keys,
                      config=Config(retries={{"total_max_attempts": 1}}))
answers, started = [], threading.Event()

def poll():
    while not answers:
        try:
            answers.append(stacks.describe_stacks(StackName="polled")["Stacks"][0].get("Outputs", []))
        except (BotoCoreError, ClientError):
            time.sleep(0.01)

def listening():
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False

def poll_from_the_start():
    while not listening():
        time.sleep(0.001)
    started.set()
    threads = [threading.Thread(target=poll) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

poller = threading.Thread(target=poll_from_the_start)
poller.start()
completed = []
with Cloud(Path({str(STACK)!r}), "polled", port=port, prepare=lambda _: started.wait(10) and time.sleep(0.3),
           complete=lambda cloud: completed.append([dict(cloud.outputs), len(answers)])) as cloud:
    poller.join(30)
    bucket = {{o["OutputKey"]: o["OutputValue"] for o in answers[0]}}["BucketName"]
    cloud.client("s3").put_object(Bucket=bucket, Key="in/photo", Body=b"photo")
    deadline = time.monotonic() + 30
    while not (found := cloud.client("dynamodb").scan(TableName=cloud.resources["Table"])["Items"]):
        assert time.monotonic() < deadline, "the upload was not processed"
        time.sleep(0.05)
    early = completed[0][1]
    print(json.dumps([len(found), early, bool(completed[0][0])]))
"""


def test_a_client_that_polls_while_the_cloud_starts_waits_for_it() -> None:
    program = subprocess.run(
        [sys.executable, "-c", POLL_WHILE_STARTING],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert program.returncode == 0, program.stderr
    items, answered_early, had_outputs = json.loads(program.stdout)
    assert items == 1
    assert not answered_early
    assert had_outputs


@pytest.mark.parametrize("closed", [True, False])
def test_a_client_that_waits_too_long_is_told_to_come_back(closed: bool) -> None:
    """Also a client that waits when the cloud can't be created."""
    gate = Gate(lambda *_: pytest.fail("it is not open"), lambda _: False, seconds=60 if closed else 0.01)
    if closed:
        gate.close()
    answered: list[tuple[str, dict[str, str]]] = []
    body = gate({"REQUEST_METHOD": "GET"}, lambda status, headers: answered.append((status, dict(headers))))
    ((status, headers),) = answered
    assert list(body) == []
    assert (status, headers["Retry-After"]) == ("503 Service Unavailable", "1")
