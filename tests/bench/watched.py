"""A `telementor` whose event loop is watched: `python -m tests.bench.watched FILE serve …` writes a line of JSON for each
time that the loop came late to what was due.

A timer of the loop beats each 2 ms. A thread looks whether it does: while it is late, the stack of the loop's thread is
noted again and again. Collections of garbage are timed apart, as nothing else runs in them. Of the time that passed it is
told how long the thread stood ready and had no processor (Linux: the second number of /proc/PID/task/TID/schedstat): that is
the machine's doing. A system call that blocks and waiting for the interpreter's lock are not, and count.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import TextIO

from signaling import cli
from signaling.app import Node

BEAT_S = 0.002
LATE_S = 0.005
"""Later than this is written down."""

ROOT = str(Path(__file__).parents[2])
FRAMES = 3
"""Functions of ours that are named of each stack, the innermost last."""


class Watch:
    """Of the thread that makes it."""

    def __init__(self, sink: TextIO) -> None:
        self._sink = sink
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        self._due_s = 0.0
        self._before_ns = 0
        self._stacks: Counter[str] = Counter()
        self._collecting_s = 0.0
        self._collected_s = 0.0
        gc.callbacks.append(self._collects)
        threading.Thread(target=self._look, daemon=True).start()
        self._wait()

    def _beat(self) -> None:
        now_s = time.monotonic()
        late_s = now_s - self._due_s
        if late_s > LATE_S:
            stood_s = (self._stood_ns() - self._before_ns) / 1e9
            said = {"at_s": now_s, "late_s": late_s, "stood_s": stood_s, "gc_s": self._collected_s}
            self._sink.write(json.dumps({**said, "stacks": self._stacks.most_common(5)}) + "\n")
            self._sink.flush()
        self._wait()

    def _wait(self) -> None:
        self._stacks.clear()
        self._collected_s = 0.0
        self._before_ns = self._stood_ns()
        self._due_s = time.monotonic() + BEAT_S
        self._loop.call_later(BEAT_S, self._beat)

    def _stood_ns(self) -> int:
        """For how long the loop's thread stood ready, since it began."""
        return int(os.pread(self._schedstat, 64, 0).split()[1])

    def _collects(self, phase: str, _: dict[str, int]) -> None:
        if threading.get_ident() == self._thread:
            now_s = time.monotonic()
            if phase == "start":
                self._collecting_s = now_s
            else:
                self._collected_s += now_s - self._collecting_s

    def _look(self) -> None:
        """The thread's."""
        while True:
            time.sleep(BEAT_S)
            if time.monotonic() > self._due_s + LATE_S:
                self._stacks[_ours(sys._current_frames()[self._thread])] += 1


def _ours(frame: FrameType | None) -> str:
    names: list[str] = []
    while frame and len(names) < FRAMES:
        code = frame.f_code
        if code.co_filename.startswith(ROOT) and code.co_filename != __file__:
            names.append(f"{Path(code.co_filename).stem}.{code.co_qualname}")
        elif not names:
            names.append(f"({Path(code.co_filename).stem}.{code.co_qualname})")
        frame = frame.f_back
    return " > ".join(reversed(names))


def main() -> None:
    """As `telementor`."""
    sink = Path(sys.argv[1]).open("w")  # noqa: SIM115 - for as long as the process lives
    run = Node.run

    async def watched(node: Node) -> None:
        Watch(sink)
        await run(node)

    Node.run = watched  # type: ignore[method-assign]
    sys.exit(cli.main(sys.argv[2:]))


if __name__ == "__main__":
    main()
