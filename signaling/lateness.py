"""How late the event loop comes to what is due: whatever holds it up, everybody on this node waits for that long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn

BEAT_S = 0.2
"""A pause of this length is seen in any case, at least in part, and of shorter ones so many as are long. To be woken is what
costs a node that has nothing to do: 20 beats a second were half of that."""


async def watch(late: Callable[[float], None]) -> NoReturn:
    """Calls `late(seconds)` for each beat, for as long as the node runs."""
    while True:
        due_s = time.monotonic() + BEAT_S
        await asyncio.sleep(BEAT_S)
        late(max(0.0, time.monotonic() - due_s))
