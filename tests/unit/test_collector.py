"""The collector of garbage looks only at what is new, and what ends leaves it nothing to find."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from signaling import collector
from tests.support.condition import until

pytestmark = pytest.mark.unit


@pytest.fixture
def collecting() -> Iterator[None]:
    """As on a node; afterwards as it was."""
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    collector.begin()
    yield
    gc.callbacks[:] = callbacks
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class Kept:
    """Something that refers to something."""

    def __init__(self) -> None:
        self.other: Kept | None = None


@pytest.mark.usefixtures("collecting")
def test_a_full_collection_walks_only_through_what_has_come_since_the_last() -> None:
    """No pause grows with the number of those who are there."""
    kept = [Kept() for _ in range(1_000)]
    assert _seen(kept[0])
    gc.collect()
    assert not any(map(_seen, kept)), "what outlived one collection is not looked at by the next"
    new = Kept()
    assert _seen(new)
    lost = Kept()
    lost.other = Kept()
    lost.other.other = lost
    gone = weakref.ref(lost)
    del lost
    gc.collect()
    assert gone() is None, "a cycle that is new is found"


@pytest.mark.usefixtures("collecting")
def test_what_is_out_of_sight_is_freed_when_nobody_refers_to_it() -> None:
    kept = Kept()
    gc.collect()
    gone = weakref.ref(kept)
    del kept
    assert gone() is None


@pytest.mark.usefixtures("collecting")
def test_what_a_full_collection_walks_through_does_not_grow_with_what_is_kept() -> None:
    walked: list[int] = []

    def count(phase: str, info: dict[str, int]) -> None:
        if (phase, info["generation"]) == ("start", 2):
            walked.append(len(gc.get_objects()))

    gc.callbacks.append(count)  # taken away with the fixture
    kept = [[0] for _ in range(200_000)]
    assert len(walked) > 4
    assert max(walked) < len(kept) / 4


@pytest.mark.usefixtures("collecting")
async def test_a_cycle_that_lived_long_is_found_when_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "LOOK_S", 0)
    monkeypatch.setattr(collector, "EVERYTHING_EVERY_S", -1)
    lost = Kept()
    lost.other = lost
    gone = weakref.ref(lost)
    gc.collect()
    del lost
    gc.collect()
    asked: list[bool] = []

    def is_quiet() -> bool:
        asked.append(gone() is None)
        return len(asked) > 2

    watching = asyncio.create_task(collector.run(is_quiet))
    await until(lambda: gone() is None, "the look at everything")
    watching.cancel()
    assert asked[:3] == [False] * 3, "not while somebody is there"


def _seen(one: object) -> bool:
    return any(one is other for other in gc.get_objects() if type(other) is type(one))
