"""The clock of one server process: libfaketime, steered by a file."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.needs import needs


class Clock:
    """`program` stands for `telementor` when a server is started. What that starts keeps the machine's clock."""

    START = """
import os, select, sys, time
del os.environ["LD_PRELOAD"]
# libfaketime 0.9.10 takes the absolute monotonic time of CPython's own sleep for one of the wall clock.
time.sleep = lambda seconds: select.select([], [], [], seconds)
from signaling.cli import main
sys.exit(main())
"""

    def __init__(self, file: Path) -> None:
        self._file = file
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        needs("the library of the program 'faketime'", library)
        variables = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": file,
            "FAKETIME_CACHE_DURATION": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
            "NO_FAKE_STAT": 1,
        }
        self.program = ["env", *(f"{name}={value}" for name, value in variables.items())]
        self.program += [sys.executable, "-c", self.START]
        self.set_ahead(0)

    def set_ahead(self, seconds: int) -> None:
        """From a second later at most it shows that much more."""
        self._file.write_text(f"{seconds:+}s")

    def set_back(self, seconds: int) -> None:
        """From a second later at most it shows that much less."""
        self.set_ahead(-seconds)

    @staticmethod
    def forget(pid: int) -> None:
        """What libfaketime of a process that was killed leaves behind would be taken for another's of the same id."""
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            (Path("/dev/shm") / name).unlink(missing_ok=True)
