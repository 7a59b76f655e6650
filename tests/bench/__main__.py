"""`python -m tests.bench [PART …]`: measures, and prints Markdown."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench import acks, echo, nodes, people, sockets, store
from tests.bench.page import Say, machine

PREFACE = """# What it costs, measured

`make bench` prints this page; it asserts nothing. Figures are **CPU time**, because the machine did other things meanwhile.
Delays and rates are of this one machine, on which clients, nodes and stores share the cores: information only. Processes
share caches as well, so between two runs a figure differs by a fifth: compare those of one table. Few messages at once make
each dearer than many: waking up, and syncing the file, are paid for each time."""

Part = Callable[[Path, float, Say], Awaitable[None]]

PARTS: dict[str, Part] = {
    "nodes": nodes.measure,
    "sockets": sockets.measure,
    "store": store.measure,
    "acks": acks.measure,
    "people": people.measure,
    "echo": echo.measure,
}


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=12, help="for each row (default 12)")
    given = parser.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    _print(f"{PREFACE}\n\n{machine()} {given.seconds:.0f} s for each row.")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        asyncio.run(_measure(given.parts or list(PARTS), Path(folder), given.seconds))


async def _measure(names: list[str], folder: Path, seconds: float) -> None:
    for name in names:
        await PARTS[name](folder, seconds, _print)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
