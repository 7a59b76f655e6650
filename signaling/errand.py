"""Running a coroutine that waits for nothing but futures, without a task.

A task costs a message about as much as its whole way through the rules of a room: what the event loop writes down when it
begins, wakes up and ends. An errand has no `current_task`: no `asyncio.timeout`, no `TaskGroup` and no lock may be on its
way. Whatever needs one (redis-py does) runs in a task of its own, and the errand waits for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Errand(Generic[Result]):
    """Begins at once. `done(result)` is called when the coroutine has returned, `failed(error)` when it raised."""

    __slots__ = ("_done", "_failed", "_work")

    def __init__(
        self,
        work: Coroutine[Any, None, Result],
        done: Callable[[Result], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._work = work
        self._done = done
        self._failed = failed
        self._step()

    def _step(self, _: object = None) -> None:
        try:
            future = self._work.send(None)
        except StopIteration as end:
            self._done(end.value)
        except asyncio.CancelledError:  # of what it waited for: nobody can cancel an errand
            self._failed(ConnectionError("what was waited for was given up"))
        except Exception as error:  # noqa: BLE001 - whoever sent it has to know, whatever it is
            self._failed(error)
        else:
            # As a task does it (asyncio.futures, "isfuture" and "__await__").
            future._asyncio_future_blocking = False
            future.add_done_callback(self._step)
