"""`python -m tests.faults`: a fault run from the command line. The exit code is 1 when a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from pathlib import Path

from tests.faults.run import Report, play
from tests.faults.stages import STAGES

SHOWN = 40
"""Violations printed of one run."""


def main() -> int:
    """Read the command line, play, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of faults, over all stages (default 600)")
    parser.add_argument("--seed", type=int, help="repeats the schedule of an earlier run")
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument(
        "--only", action="append", default=[], metavar="FAULT", help="this kind of fault, and no other"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the nodes' logs")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    stages = list(STAGES) if given.stage == "all" else [given.stage]
    reports = []
    for stage in stages:
        say(f"{stage}: {given.seconds / len(stages):.0f} s, seed {seed}")
        reports.append(
            asyncio.run(play(stage, given.seconds / len(stages), seed, say, only=given.only, keep=given.keep))
        )
        show(reports[-1])
    broken = sum(len(report.violations) for report in reports)
    faults = sum(report.faults.total() for report in reports)
    acknowledged = sum(report.acknowledged for report in reports)
    say(f"{faults} faults, {acknowledged} acknowledged requests, {broken} violations, seed {seed}")
    return 1 if broken else 0


def show(report: Report) -> None:
    """The summary, and what was broken."""
    for line in report.lines():
        say(line)
    for violation in report.violations[:SHOWN]:
        say(f"  BROKEN: {violation}")
    if len(report.violations) > SHOWN:
        say(f"  … and {len(report.violations) - SHOWN} more")


def say(line: str) -> None:
    """At once, also into a pipe."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
