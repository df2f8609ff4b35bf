"""What tasks cost."""

from __future__ import annotations

from lumendrop_cli.stack import Stack

# USD, as listed on the vendor's model page. The parameter TaskPriceUsd has the same default.
_DEFAULT_PRICE = 0.12
# A task with profiles costs 0.15 instead of 0.12 USD there.
_PROFILES_FACTOR = 1.25
# USD a month, without a photo: docs/benchmarks.md, Cost. A key of the account's own is listed at KMS.
_FIXED_PRICE = 2.86
_KEY_PRICE = 1.0


def monthly_usd(*, own_key: bool) -> float:
    """What a stack costs in a month without photos."""
    return _FIXED_PRICE + (_KEY_PRICE if own_key else 0)


def price_usd(stack: Stack, *, profiles: bool | None = None) -> float:
    """The price of a task, with the stack's options unless `profiles` is given; 0 if it is not known."""
    has_profiles = bool(stack.parameters.get("ProfileIds")) if profiles is None else profiles
    price = float(stack.parameters.get("TaskPriceUsd", _DEFAULT_PRICE))
    return round(price * (_PROFILES_FACTOR if has_profiles else 1), 4)


def cost_usd(stack: Stack, tasks: int) -> float:
    """The price of a number of tasks."""
    return round(tasks * price_usd(stack), 2)


def describe(stack: Stack, tasks: int, kind: str = "", usd: float | None = None) -> str:
    """Such as `2 new tasks, about 0.24 USD`. `usd` is the cost of tasks with options of their own."""
    noun = "task" if tasks == 1 else "tasks"
    if not price_usd(stack):
        return f"{tasks:,} {kind}{noun}"
    return f"{tasks:,} {kind}{noun}, about {cost_usd(stack, tasks) if usd is None else usd:,.2f} USD"
