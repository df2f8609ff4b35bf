"""What tasks cost."""

from __future__ import annotations

from lumendrop_cli.stack import Stack

# USD per task, without and with profiles, as listed on the vendor's model page.
_PRICE, _PRICE_WITH_PROFILES = 0.12, 0.15


def price_usd(stack: Stack) -> float:
    """The price of a task with the stack's options."""
    return _PRICE_WITH_PROFILES if stack.parameters.get("ProfileIds") else _PRICE


def cost_usd(stack: Stack, tasks: int) -> float:
    """The price of a number of tasks."""
    return round(tasks * price_usd(stack), 2)


def describe(stack: Stack, tasks: int, kind: str = "") -> str:
    """Such as `2 new tasks, about 0.24 USD`."""
    noun = "task" if tasks == 1 else "tasks"
    return f"{tasks:,} {kind}{noun}, about {cost_usd(stack, tasks):,.2f} USD"
