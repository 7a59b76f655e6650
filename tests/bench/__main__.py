"""`python -m tests.bench [PART …]`: measures, and prints Markdown."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench import crowd, echo, pauses, people, scoreboard, sockets, store
from tests.bench.cores import ahead
from tests.bench.page import Say, machine
from tests.bench.side_by_side import FULL, QUICK, compete

PREFACE = """# What it costs, measured

`make bench` prints this page; it asserts nothing. Figures are **CPU time**, because the machine did other things meanwhile.
Delays and rates are of this one machine, on which clients, nodes and stores share the cores: information only. Processes
share caches as well, so between two runs a figure differs by a fifth: compare those of one table."""

Part = Callable[[Path, float, Say], Awaitable[None]]


async def side_by_side(folder: Path, seconds: float, say: Say) -> None:
    """Telementor and the others; a whole run is kept beside the code."""
    del seconds  # as long as it takes to be comparable
    results = await compete(folder, FULL)
    scoreboard.keep(results)
    say(f"\n## Side by side\n\n{scoreboard.written(results)}")


PARTS: dict[str, Part] = {
    "side_by_side": side_by_side,
    "crowd": crowd.measure,
    "pauses": pauses.measure,
    "sockets": sockets.measure,
    "store": store.measure,
    "people": people.measure,
    "echo": echo.measure,
}

LONG = ("crowd", "pauses")
"""Only when they are asked for."""


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(PARTS)} (default: all but {' and '.join(LONG)})",
    )
    parser.add_argument("--seconds", type=float, default=12, help="for each row of `echo` (default 12)")
    parser.add_argument("--quick", action="store_true", help="chat, reconnect and relay side by side, once")
    given = parser.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    _print(f"{PREFACE}\n\n{machine()}")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ahead():
        if given.quick:
            _print("\n" + scoreboard.written(asyncio.run(compete(Path(folder), QUICK))))
        else:
            asyncio.run(
                _measure(
                    given.parts or [name for name in PARTS if name not in LONG], Path(folder), given.seconds
                )
            )


async def _measure(names: list[str], folder: Path, seconds: float) -> None:
    for name in names:
        place = folder / name
        place.mkdir()
        await PARTS[name](place, seconds, _print)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
