"""Seeds that failed once, each under the name of what it found."""

from __future__ import annotations

import pytest

from tests.faults.run import play

pytestmark = [pytest.mark.faults, pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.mark.slow  # tests/integration/test_failover.py has the cause of it in every build
async def test_L5_a_primary_that_comes_back_beside_its_successor_is_healed() -> None:
    """For seconds a node's connections lead to both: a join is answered by the old one, pushes come from the new one.
    Whoever does not hold `prev` against what it heard takes both logs for one."""
    report = await play("sentinel", 1, 5, print, only=("primary stalled",))
    assert report.failovers == 1
    assert not report.violations, [str(violation) for violation in report.violations]
