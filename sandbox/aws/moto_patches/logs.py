"""CloudWatch Logs: the ARN of a log group."""

from moto.logs.models import LogGroup

from sandbox.aws.moto_patches.patching import Context, Replace


def apply(replace: Replace, _: Context) -> None:
    """Apply the patches of this service."""
    # moto 5.2.5: Fn::GetAtt gives the group's own ARN. AWS: its ARN ends in :*, which covers the streams.
    attribute = LogGroup.get_cfn_attribute

    def get(self: LogGroup, name: str) -> str:
        return f"{attribute(self, name)}:*" if name == "Arn" else attribute(self, name)

    replace(LogGroup, "get_cfn_attribute", get)
