"""What a verb gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from msgspec import Struct

from rooms.pushes import Done
from signaling.packets import pack


class Reply(Struct, frozen=True):
    """What is acknowledged, and what may happen only once that is on its way."""

    payload: bytes
    then: Callable[[], None] | None = None


class Light(Struct, frozen=True, gc=False):
    """A request that waits for nothing but answers of the store: an errand, not a task (`errand.py`)."""

    work: Coroutine[Any, None, Reply]


Answer: TypeAlias = Reply | Light | Awaitable[Reply]
"""At once, as an errand, or as a task."""

DONE = Reply(pack(Done(ok=True)))
