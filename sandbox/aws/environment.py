"""The environment variables of the sandbox's process and of its functions."""

import contextlib
import os
from collections.abc import Iterator


def settings(region: str) -> dict[str, str]:
    """AWS settings that keep the user's own configuration, and with it any real account, out of reach."""
    return {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def isolated(account: str, region: str) -> Iterator[None]:
    """Replace the user's AWS settings in this process, and configure moto, until the context ends."""
    before = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "MOTO_"))}
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
