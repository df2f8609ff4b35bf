"""KMS: the private keys of keys."""

from typing import Any

from moto.kms import models
from moto.kms.utils import generate_private_key

from sandbox.aws.moto_patches.patching import Context, Replace


def apply(replace: Replace, _: Context) -> None:
    """Apply the patches of this service."""

    # moto 5.2.5: generates an RSA key pair, in up to 0.3 s, for symmetric keys too, such as that of each account's
    # tables. AWS: a symmetric key has no key pair.
    def generate_if_asymmetric(key_spec: str) -> Any:
        return None if key_spec == "SYMMETRIC_DEFAULT" else generate_private_key(key_spec)

    replace(models, "generate_private_key", generate_if_asymmetric)
