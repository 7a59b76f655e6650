"""Python's collector of garbage, kept from pausing a node.

A full collection walks through everything that there is: with 10,000 sockets a third of a second, in which nothing else
happens, and it finds nothing. So whatever has outlived one is out of its sight from then on (`gc.freeze`), and each walks
only through what has come since the last. What is out of sight is freed as ever when nobody refers to it any more, but its
cycles would stay: what lives long cuts its cycles when it ends, and in a quiet moment everything is looked at after all.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import NoReturn

THRESHOLDS = (2_000, 2, 1)
"""About 18,000 new objects, those of 600 sockets, bring a full collection, which is every ninth: it takes some 10 ms, and
most of what it walks through would have been walked through once in any case."""

LOOK_S = 10.0
EVERYTHING_EVERY_S = 86_400.0


def begin() -> None:
    """What is there now stays to the end."""
    gc.set_threshold(*THRESHOLDS)
    if _collected not in gc.callbacks:
        gc.callbacks.append(_collected)
    _look_at_everything()


def _look_at_everything() -> None:
    """Twice: Python waits with the next full collection until a quarter as much is new as the last one left, and the second
    leaves nothing."""
    gc.unfreeze()
    gc.collect()
    gc.collect()


def _collected(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()


async def run(is_quiet: Callable[[], bool]) -> NoReturn:
    """Looks at everything once a day, when nobody is there who would notice."""
    loop = asyncio.get_running_loop()
    since_s = loop.time()
    while True:
        await asyncio.sleep(LOOK_S)
        if loop.time() > since_s + EVERYTHING_EVERY_S and is_quiet():
            _look_at_everything()
            since_s = loop.time()
