"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02
WAIT_S = 20.0
"""A bound on what never comes, not a promise of ours: a machine that does other things as well needs its time."""


async def until(
    condition: Callable[[], T] | Callable[[], Awaitable[T]], what: str, *, timeout_s: float = WAIT_S
) -> T:
    """The first true value of `condition`, asked again and again; TimeoutError names `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s in vain: {what}")
        await asyncio.sleep(POLL_S)
