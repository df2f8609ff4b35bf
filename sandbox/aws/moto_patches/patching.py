"""What every patch uses: attributes that are replaced for a while, and the cloud that the patches serve."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sandbox.aws.template import Template

Replace = Callable[[Any, str, Any], None]
"""Sets an attribute of a module or class, or an item of a dictionary."""


@dataclass(frozen=True)
class Context:
    """The cloud that the patches serve.

    `invoke` answers Lambda's Invoke: it takes the function's name, the body, the request's headers, and a dictionary
    for the response's headers, and returns the response's body. `service_client` makes a boto3 client by service name
    and role ARN; "" stands for the owner of the account. `may` decides whether a principal (a role's ARN or a
    service's name) may perform an action on a resource, given condition keys in lower case as keyword arguments.
    `deploy` creates a stack of a template under a name. `folder` is removed when the cloud closes.
    `is_closing` tells whether the cloud is being closed, so that its endpoint may be gone.
    """

    invoke: Callable[..., bytes]
    service_client: Callable[[str, str], Any]
    may: Callable[..., bool]
    deploy: Callable[[Template, str], None]
    is_closing: Callable[[], bool]
    folder: Path
    account: str
    region: str


@contextlib.contextmanager
def replacing() -> Iterator[Replace]:
    """Yield a function that replaces attributes, or items of a dictionary; restore them when the context ends."""
    with contextlib.ExitStack() as stack:

        def replace(holder: Any, name: str, value: Any) -> None:
            is_dict = isinstance(holder, dict)
            put = holder.__setitem__ if is_dict else partial(setattr, holder)
            delete = holder.__delitem__ if is_dict else partial(delattr, holder)
            # Not getattr, which unwraps static methods and finds inherited attributes.
            own = holder if is_dict else vars(holder)
            stack.callback(*((put, name, own[name]) if name in own else (delete, name)))
            put(name, value)

        yield replace
