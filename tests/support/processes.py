"""Looking at processes through /proc: who belongs to a data folder, who is a zombie."""

from __future__ import annotations

import os
import signal
from pathlib import Path

STORE_NAMES = ("valkey-server", "redis-server")


def command_line(pid: int) -> list[str]:
    """Empty for a process that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _working_folder(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def _executable(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def stores_of(data: Path) -> list[int]:
    """The store processes (Valkey or Redis) that work for this data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        pid = int(entry.name)
        words = " ".join(command_line(pid))
        if not words or not (
            _executable(pid).startswith(STORE_NAMES) or any(n in words for n in STORE_NAMES)
        ):
            continue
        if str(data) in words or _working_folder(pid).startswith(str(data)):
            found.append(pid)
    return found


def send_signal(pid: int, number: signal.Signals) -> None:
    """A signal to one process that we started; one that is gone already is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
