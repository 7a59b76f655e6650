"""A child process of a process that has threads and much memory.

uvloop's own subprocesses are made by `fork`, and the copy runs the interpreter before it becomes another program. Both cost:
the page tables of all our memory are copied (tens of milliseconds with thousands of clients), and a lock that another thread
held at that moment is never released in the copy. It waits for it for ever, and our event loop waits for the copy. That was
seen: with libfaketime below it, a node whose store had died stood still.

`subprocess` uses `vfork` on Linux: nothing is copied, and no code of ours or of the interpreter's runs in between.
"""

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO


class Child:
    """One process, the first of its own session. Belongs to the event loop that is running."""

    def __init__(
        self, arguments: Sequence[str], *, env: Mapping[str, str], sink: IO[bytes], pass_fds: Sequence[int]
    ) -> None:
        """Starts it; what it prints goes to `sink`. By the thread that calls: on Linux a child may ask for a signal when
        that thread ends. Raises OSError, and RuntimeError when there can be no thread that waits for its end; then it
        does not run."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self.pid = self._process.pid
        try:
            threading.Thread(target=self._watch, name=f"end of {self.pid}", daemon=True).start()
        except RuntimeError:
            self._process.kill()
            self._process.wait()
            raise

    @property
    def returncode(self) -> int | None:
        """None while it runs; a signal that ended it is a negative number."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """For its end: its return code."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """SIGTERM. Nothing when it has ended."""
        self._process.terminate()

    def _watch(self) -> None:
        code = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self._loop.call_soon_threadsafe(self._ended.set_result, code)
