"""`python -m tests.bench`: measures, and prints Markdown."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.bench.nodes import measure


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="for each row (default 10)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        asyncio.run(measure(Path(folder), given.seconds, lambda line: print(line, flush=True)))  # noqa: T201


if __name__ == "__main__":
    main()
