"""The minute of `make faults` that every build plays: L1–L5 on every kind of store.

A failure prints its story; `python -m tests.faults --seed 1 --stage …` plays more of the same.
"""

from __future__ import annotations

import pytest

from tests.faults.run import play

pytestmark = [pytest.mark.faults, pytest.mark.integration, pytest.mark.timeout(180)]

SEED = 1
ALONE = ("node and store killed", "store killed", "disk full", "clients half-open")
SHARED = ("lost reply: write", "node killed", "store killed", "store cut off")
FAILOVER = ("primary killed, its tail rolled back",)


@pytest.mark.parametrize(
    ("stage", "seconds", "only"),
    [
        ("embedded", 8, ALONE),
        ("single", 8, SHARED),
        ("sentinel", 1, FAILOVER),
        # What it promises is in every build in tests/integration/test_failover.py.
        pytest.param("replicated", 1, ("primary killed",), marks=pytest.mark.slow),
        ("cluster", 1, FAILOVER),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_L4_nothing_acknowledged_is_lost_doubled_reordered_or_changed(
    stage: str, seconds: float, only: tuple[str, ...]
) -> None:
    story: list[str] = []
    report = await play(stage, seconds, SEED, story.append, only=only)
    told = "\n".join([*story, *report.lines(), *map(str, report.violations)])
    assert report.faults.total() >= 1, told
    assert report.acknowledged >= 20, told
    assert not report.violations, told
