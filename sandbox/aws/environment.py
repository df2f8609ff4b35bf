"""The environment variables of the sandbox's process and of its functions."""

import contextlib
import os
from collections.abc import Iterator


def settings(region: str) -> dict[str, str]:
    """Settings that keep the user's own configuration, and with it any real account or proxy, out of reach."""
    return {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",  # everything is on loopback, which a proxy can't reach
    }


@contextlib.contextmanager
def isolated(account: str, region: str) -> Iterator[None]:
    """Replace the user's settings of AWS and proxies in this process, and configure moto, until the context ends."""
    before = {name: value for name, value in os.environ.items() if _is_users(name)}
    for name in before:
        del os.environ[name]
    replaced = {
        **settings(region),
        # Code is not uploaded to S3, where moto would look for it.
        "VALIDATE_LAMBDA_S3": "false",
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        # Without it, moto searches the access keys of every account and partition for each request.
        "MOTO_ACCOUNT_ID": account,
    }
    os.environ.update(replaced)
    try:
        yield
    finally:
        for name in replaced:
            os.environ.pop(name, None)
        os.environ.update(before)


def _is_users(name: str) -> bool:
    return name.startswith(("AWS_", "MOTO_")) or name.lower().endswith("_proxy")
