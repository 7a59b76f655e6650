"""Looking at processes through /proc: who belongs to a data folder, who is a zombie."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psutil

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
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in processes if _is_store(pid) and _works_for(pid, data)]


def _is_store(pid: int) -> bool:
    words = " ".join(command_line(pid))
    return bool(words) and (_executable(pid) in STORE_NAMES or any(name in words for name in STORE_NAMES))


def _works_for(pid: int, data: Path) -> bool:
    return str(data) in " ".join(command_line(pid)) or _working_folder(pid).startswith(str(data))


def send_signal(pid: int, number: signal.Signals) -> None:
    """A signal to one process that we started; one that is gone already is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def family(pid: int) -> list[str]:
    """A line for each of a process and what came from it: its id, its state, what its first thread waits for in the kernel,
    its command."""
    try:
        process = psutil.Process(pid)
        return [_told(one) for one in (process, *process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return [f"{pid} is gone"]


def _told(process: psutil.Process) -> str:
    try:
        wait = Path(f"/proc/{process.pid}/wchan").read_text()
    except OSError:
        wait = "?"
    try:
        return (
            f"{process.pid} {process.status()} {wait} {' '.join(' '.join(process.cmdline()).split())[:100]}"
        )
    except psutil.Error as error:
        return f"{process.pid} {error}"


def with_us() -> list[str]:
    """A prefix that ends a program when the test process is killed, where util-linux has it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
