"""The layer contains boto3, pinned and trimmed to the services that the functions call."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lumendrop import clients
from tests.template.reading import ROOT

MOST_UNPACKED_BYTES = 20_000_000  # tests/package.py checks the build itself
MAKEFILE = ROOT / "layers/Makefile"
CALLS = """
import boto3
from lumendrop import clients
print(boto3.__file__)
s3 = clients.s3("123456789012")  # moto's account
s3.create_bucket(Bucket="photos")
s3.put_object(Bucket="photos", Key="photo.jpg", Body=b"photo")
assert s3.get_object(Bucket="photos", Key="photo.jpg")["Body"].read() == b"photo"
assert "X-Amz-Signature" in s3.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "x"})
queue = clients.sqs().create_queue(QueueName="uploads")["QueueUrl"]
clients.sqs().send_message(QueueUrl=queue, MessageBody="{}")
assert clients.dynamodb().list_tables()["TableNames"] == []
secret = clients.secretsmanager().create_secret(Name="key", SecretString="x")["ARN"]
assert clients.secretsmanager().get_secret_value(SecretId=secret)["SecretString"] == "x"
assert clients.stepfunctions().list_state_machines()["stateMachines"] == []
"""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layer's packages, trimmed as in the build. The packages are those of this environment."""
    artifacts = tmp_path_factory.mktemp("layer")
    python = artifacts / "python"
    locked = (ROOT / "layers/requirements.txt").read_text()
    for package in re.findall(r"^([a-z][\w.-]*)==", locked, re.MULTILINE):
        for file in importlib.metadata.files(package) or []:
            if file.suffix != ".pyc" and ".." not in file.parts:
                (python / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), python / file)
    shutil.copytree(ROOT / "layers/lumendrop", python / "lumendrop", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["make", "-s", "-f", str(MAKEFILE), "trim", f"ARTIFACTS_DIR={artifacts}"], check=True)
    return python


def test_the_layer_keeps_only_the_services_that_the_functions_call(layer: Path) -> None:
    (kept,) = re.findall(r"^SERVICES := (.+)$", MAKEFILE.read_text(), re.MULTILINE)
    data = layer / "botocore/data"
    assert sorted(kept.split()) == clients._SERVICES == sorted(one.name for one in data.iterdir() if one.is_dir())
    # Endpoints, partitions, and the defaults of retries and timeouts.
    files = {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}
    assert files <= {one.name for one in data.iterdir() if one.is_file()}
    assert not (layer / "boto3/data").exists()


def test_the_layer_is_small(layer: Path) -> None:
    """The bytecode, which the build adds, is about as large as the sources."""
    sources = sum(path.stat().st_size for path in layer.rglob("*.py"))
    whole = sum(path.stat().st_size for path in layer.rglob("*") if path.is_file())
    assert whole + sources <= MOST_UNPACKED_BYTES


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server does not start")


def test_the_docs_have_the_limits_that_the_build_checks() -> None:
    source = (ROOT / "tests/package.py").read_text(encoding="utf-8")
    names = ("MOST_LAYER_BYTES", "MOST_UNPACKED_LAYER_BYTES", "CODE_STORAGE_BYTES")
    most, unpacked, storage = (int(re.findall(rf"^{name} = ([\d_]+)", source, re.M)[0]) for name in names)
    limits, contributing = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/limits.md", "CONTRIBUTING.md"))
    kept = f"keeps less than {most // 10**6} MB permanently, so {storage // most:,} fit into {storage // 10**9} GB"
    assert kept in limits
    sizes = f"stays below {most // 10**6} MB zipped and {unpacked // 10**6} MB unpacked"
    assert sizes in " ".join(contributing.split())


@pytest.mark.enable_socket
def test_every_client_works_with_nothing_but_the_layer(layer: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A process of its own, because moto has one state per process.
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        environment = {
            "PATH": os.defpath,
            "HOME": str(tmp_path),
            "PYTHONPATH": str(layer),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
        }
        # -S leaves out the packages of this environment.
        command = [sys.executable, "-S", "-P", "-c", CALLS]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        server.terminate()
        server.wait()
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(layer)
