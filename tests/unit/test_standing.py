"""Commands of which the first words are packed once."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooms.ports import Draft, Rate
from signaling.stores.redis_link import Command, Standing, words
from signaling.stores.redis_log import RedisRoomLog
from signaling.stores.store import Script, Store, key_of

pytestmark = pytest.mark.unit

SOME = st.lists(st.text() | st.binary() | st.integers(-(2**63), 2**63 - 1), max_size=8)
ROOMS = 5_000
"""Of the 10,000 people whom a node is made for."""


@given(first=SOME, rest=SOME)
def test_it_is_packed_as_the_whole_command_would_be(first: list[Any], rest: list[Any]) -> None:
    standing = Standing("EVALSHA", *first)
    assert standing.and_then(rest) == hiredis.pack_command(("EVALSHA", *first, *rest))
    assert words((standing, *rest)) == ("EVALSHA", *first, *rest)


def test_a_script_belongs_to_its_first_key_however_it_was_put_together() -> None:
    script = Standing("EVALSHA", "digest", 2, "{räum}:log", "{räum}:meta", "epoch")
    assert key_of((script, "x")) == key_of(("EVAL", "source", *words((script, "x"))[2:])) == "{räum}:log"
    assert key_of((Standing("HGET", "{räum}:live", "v"),)) == "{räum}:live"


class Taking:
    """A store that takes whatever it is told."""

    def execute(self, _: Command) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        done.set_result([b"ok", b"1", b"1-0"])
        return done


async def test_a_room_is_packed_once_whoever_writes_and_for_as_many_rooms_as_a_node_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed: list[Standing] = []
    really = Script.on

    def on(*given: Any) -> Standing:
        packed.append(really(*given))
        return packed[-1]

    monkeypatch.setattr(Script, "on", on)
    log = RedisRoomLog(cast("Store", Taking()))
    for _ in range(2):
        for number in range(ROOMS):
            for rate in (Rate("ann", 5, 10), None):
                await log.write(f"{number}", (Draft("key", b"body"),), rate=rate)
    assert len(packed) == ROOMS
