"""`lumendrop upgrade`: updates a stack to the release in this installation, and shows what is new."""

from __future__ import annotations

import typer

from lumendrop_cli.deploy import (
    BucketOption,
    ConfigOption,
    DryRunOption,
    ParameterOption,
    YesOption,
    apply_release,
    find_deployed,
)
from lumendrop_cli.errors import AWS_ERROR, CliError
from lumendrop_cli.printer import printer
from lumendrop_cli.release import as_numbers, load_release
from lumendrop_cli.stack import open_account
from lumendrop_cli.template_parameters import read_parameters

# Versions before 0.2.0 do not state theirs.
_FIRST = "0.1.0"


def upgrade(
    context: typer.Context,
    parameter: ParameterOption = None,
    config: ConfigOption = None,
    artifact_bucket: BucketOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Update an existing stack to this version. Shows the change log since its version, then does what deploy does.

    Parameters that are not given keep their values.
    """
    release, stack = load_release(), context.obj.stack
    values = read_parameters(parameter, config, release.parameters)
    account = open_account(context)
    deployed = find_deployed(account, stack)
    if deployed.kind == "CREATE":
        raise CliError(
            f"There is no stack {stack} in {account.region}. Create it with `lumendrop deploy`, or choose another one "
            "with --stack and --region.",
            AWS_ERROR,
        )
    version = deployed.version or _FIRST
    if as_numbers(version) > as_numbers(release.version):
        raise CliError(
            f"The stack {stack} has version {version}, and this command is version {release.version}. Install "
            "its wheel: `pipx install --force`. To go back to this version, use `lumendrop deploy`."
        )
    out = printer(context)
    for line in release.changes_since(version).splitlines():
        out.note(line)
    apply_release(context, release, account, deployed, values, artifact_bucket, dry_run=dry_run, yes=yes)
