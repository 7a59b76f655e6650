"""Sessions over the socket: the rules S, as a stranger reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.protocol.phrases import join, meet, new_key
from tests.support.client import Client
from tests.support.fleet import Fleet
from tests.support.people import Pair

LONDON = "Europe/London"


def wall(days: int, clock: str = "15:00") -> str:
    """So many days from now, at a time that exists once in London."""
    return f"{(datetime.now(UTC) + timedelta(days=days)).date()}T{clock}"


async def book(client: Client, room: str, days: int = 3, **fields: Any) -> dict[str, Any]:
    asked = {"room": room, "key": new_key(), "wall": wall(days), "tz": LONDON, "minutes": 60, **fields}
    return (await client.done("session.book", asked))["session"]


async def test_S5_what_one_books_and_moves_the_other_sees_in_the_log(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    booked = await book(mentor, pair.room)
    requested = await mentee.next_push("log", {"kind": "session.requested"})
    assert requested["session"] == requested["next"] == booked
    moved = await mentee.done(
        "session.move",
        {"room": pair.room, "session": booked["id"], "rev": booked["rev"], "wall": wall(4), "tz": LONDON},
    )
    said = await mentor.next_push("log", {"kind": "session.rescheduled"})
    assert said["session"] == moved["session"]
    assert (said["old"]["wall"], said["new"]["wall"]) == (wall(3), wall(4))
    assert (await join(mentor, pair.room))["session"] == moved["session"]
