"""A network namespace of the tests' own, so that media never touch the machine's interfaces.

The calling thread moves in; every process and socket it makes from then on lives there (also Playwright's
driver, browsers and servers), with no prefix commands. Nothing has to be removed afterwards: the kernel drops
a namespace with its last process. Beside loopback there is one plain interface with a default route, because
Firefox and aioice gather no candidates without one.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.needs import needs, needs_program

CLONE_NEWNET = 0x40000000
ADDRESS = "10.77.0.1"
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


def _plumb(ip: str) -> None:
    for words in (
        "link set lo up",
        "link add tm0 type veth peer name tm1",
        f"addr add {ADDRESS}/24 dev tm0",
        "link set tm0 up",
        "link set tm1 up",
        "route add default via 10.77.0.2 dev tm0",
    ):
        subprocess.run([ip, *words.split()], check=True, capture_output=True)


@contextmanager
def private_network() -> Iterator[None]:
    """Inside the block this thread has a network of its own. Needs root and iproute2."""
    ip = needs_program("ip")
    needs("root, to make a network namespace", os.geteuid() == 0)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _checked(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            _plumb(ip)
            yield
        finally:
            _checked(_libc.setns(home, CLONE_NEWNET), "setns")
    finally:
        os.close(home)
