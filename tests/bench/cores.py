"""Which processor cores: the measured servers have one, the load generator and the stores have the others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

_ALL = sorted(os.sched_getaffinity(0))
SERVER_CORE = {_ALL[0]}
OTHER_CORES = set(_ALL[1:]) or SERVER_CORE

NICE = -15
"""Before nearly all else."""


def pin(pid: int, cores: AbstractSet[int]) -> None:
    """A process, of a session of its own, has these cores with all its threads, and so have those it starts later. Where
    that is allowed it goes before all else that the machine has to do, so that delays are not those of others."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), NICE)
    _weigh_session(pid, NICE)


@contextlib.contextmanager
def ahead() -> Iterator[None]:
    """Our own session goes before others for as long: people and databases are made before anything is measured."""
    _weigh_session(os.getpid(), NICE)
    try:
        yield
    finally:
        _weigh_session(os.getpid(), 0)


def _weigh_session(pid: int, nice: int) -> None:
    """Linux weighs sessions against each other, and only inside of one its processes (sched(7), "The autogroup feature").
    Kernels without that have no such file."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
