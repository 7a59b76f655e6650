"""Which processor cores: the measured servers have one, the load generator and the stores have the others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Set as AbstractSet
from pathlib import Path

_ALL = sorted(os.sched_getaffinity(0))
SERVER_CORE = {_ALL[0]}
OTHER_CORES = set(_ALL[1:]) or SERVER_CORE

NICE = -15
"""Before nearly all else."""


def pin(pid: int, cores: AbstractSet[int]) -> None:
    """A process with all its threads has these cores, and those that it starts later have them, too; and where that is
    allowed it goes before all else that the machine has to do, so that delays are not those of others."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), NICE)
    # Linux weighs sessions against each other, and only inside of one its processes (sched(7), "The autogroup feature").
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(NICE))
