"""Which processor cores: the measured servers have one, all else has the others."""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet
from pathlib import Path

_ALL = sorted(os.sched_getaffinity(0))
SERVER_CORE = {_ALL[0]}
OTHER_CORES = set(_ALL[1:]) or SERVER_CORE


def pin(pid: int, cores: AbstractSet[int]) -> None:
    """All threads of a process; those that they start later go with them."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
