"""What has to be done although the store is away: one worker tries all of it again until it is back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import structlog

from rooms.errors import Conflict, Unavailable

log = structlog.get_logger()

Work = Callable[[], Awaitable[Any]]

AGAIN_S = 1.0
INSIST_S = 5.0
"""Between two rounds: the first, and the longest wait."""

AT_ONCE = 64
"""Works that are under way at once in a round."""


class Unfinished:
    """Work by its key; of two with one key only the newer is done. Beyond `most` the oldest is given up; without it the
    number is for those to bound who add to it."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._work: dict[Hashable, Work] = {}
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._work)

    async def attempt(self, key: Hashable, work: Work, again: Work | None = None) -> None:
        """Does it now; when it raises `Unavailable` or `Conflict`, `again` (if it is not the same) is done later."""
        self._work.pop(key, None)
        if await _done(work) or key in self._work:  # or a newer one waits already
            return
        if self._most is not None and len(self._work) >= self._most:
            self._work.pop(next(iter(self._work)))
        self._work[key] = again or work
        if self._worker is None:
            self._worker = asyncio.create_task(self._run(), name="what is unfinished")

    async def _run(self) -> None:
        delay_s = AGAIN_S
        while self._work:
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, INSIST_S)
            work = list(self._work.items())
            for start in range(0, len(work), AT_ONCE):
                await asyncio.gather(*(self._again(*one) for one in work[start : start + AT_ONCE]))
        self._worker = None

    async def _again(self, key: Hashable, work: Work) -> None:
        if self._work.get(key) is work:
            await self.attempt(key, work)

    async def stop(self) -> None:
        """Gives up on all of it."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)


async def _done(work: Work) -> bool:
    try:
        await work()
    except (Unavailable, Conflict):
        return False
    except Exception:  # what cannot be done is found by the next look at the room
        log.exception("gave up on what had to be done")
    return True
