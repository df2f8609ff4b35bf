"""Links to AWS's console."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from lumendrop_cli.stack import Account

# By partition. Others have a console too, but AWS publishes no address of a page in it.
_HOSTS = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def creation_url(account: Account, stack: str, template_url: str, parameters: Mapping[str, str]) -> str | None:
    """CloudFormation's quick-create link for a new stack. None where there is no console, as in the sandbox."""
    host = _HOSTS.get(account.partition)
    if host is None or not template_url.startswith("https://"):
        return None
    shown = {"templateURL": template_url, "stackName": stack}
    shown |= {f"param_{name}": value for name, value in parameters.items()}
    page = f"https://{account.region}.{host}/cloudformation/home?region={account.region}"
    return f"{page}#/stacks/create/review?{urlencode(shown, quote_via=quote, safe='')}"
