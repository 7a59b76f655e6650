"""How late the event loop comes to what is due."""

from __future__ import annotations

import asyncio
import time

import pytest

from signaling import lateness
from signaling.lateness import BEAT_S
from tests.support.condition import until

pytestmark = pytest.mark.unit


async def test_a_loop_that_did_not_turn_is_seen() -> None:
    """`telementor_loop_late_seconds`: however a pause lies between two beats, all of it but one beat is seen."""
    held_up_s = 3 * BEAT_S
    found: list[float] = []
    watching = asyncio.create_task(lateness.watch(found.append))
    await until(lambda: found, "a beat")
    assert all(late_s >= 0 for late_s in found)
    before = len(found)
    time.sleep(held_up_s)  # noqa: ASYNC251 - what must never happen
    await until(lambda: len(found) > before, "the next beat")
    assert found[before] >= held_up_s - BEAT_S
    watching.cancel()
