"""IAM: AWS's managed policies."""

from functools import cached_property
from typing import Any

from moto.iam.models import IAMBackend

from sandbox.aws.moto_patches.patching import Context, Replace


def apply(replace: Replace, _: Context) -> None:
    """Apply the patches of this service."""
    # moto 5.2.5: parses 5 MB of managed policies when an account is first used, if it is to have them at all. AWS: has
    # them in every account. Here they are parsed when the first of them is used.
    init, load, index = IAMBackend.__init__, IAMBackend._init_aws_policies, IAMBackend._init_managed_policies

    def init_without_policies(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        del self.aws_managed_policies, self.managed_policies

    replace(IAMBackend, "_init_aws_policies", lambda _: [])
    replace(IAMBackend, "__init__", init_without_policies)
    for name, compute in (("aws_managed_policies", load), ("managed_policies", index)):
        policies: Any = cached_property(compute)
        policies.__set_name__(IAMBackend, name)
        replace(IAMBackend, name, policies)
