"""Sessions over the socket: the rules S, as a stranger reads them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import InCall, book, cancel, change, join, kinds, meet, move, new_key, wall
from tests.support.client import Client
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.server import Server

LONDON = "Europe/London"


async def agreed(mentor: Client, mentee: Client, room: str, when: str) -> dict[str, Any]:
    """A confirmed session, which the mentee asked for."""
    return await change(mentor, "session.answer", await book(mentee, room, when), proposal=None, accept=0)


async def test_S5_what_one_books_and_moves_the_other_sees_in_the_log(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    booked = await book(mentor, pair.room, wall(3), agenda="bridges")
    requested = await mentee.next_push("log", {"kind": "session.requested"})
    assert requested["session"] == requested["next"] == booked
    moved = await move(mentee, booked, wall(4))
    said = await mentor.next_push("log", {"kind": "session.rescheduled"})
    assert said["session"] == said["next"] == moved
    assert (said["by"], said["old"]["wall"], said["new"]["wall"]) == (pair.mentee.person, wall(3), wall(4))
    cancelled = await cancel(mentor, moved, reason="a train")
    said = await mentee.next_push("log", {"kind": "session.cancelled"})
    assert (said["session"], said["reason"], said.get("next")) == (cancelled, "a train", None)


async def test_S1_join_shows_what_is_next_in_the_room(connect_python: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect_python, pair)
    assert (await join(mentor, pair.room))["session"] is None
    later, sooner = await book(mentor, pair.room, wall(9)), await book(mentee, pair.room, wall(5))
    await mentee.next_push("log", {"session": sooner})
    for client in (mentor, await connect_python(pair.mentee)):
        assert (await join(client, pair.room))["session"] == sooner
    await cancel(mentor, sooner)
    await mentor.next_push("log", {"kind": "session.cancelled"})
    assert (await join(mentor, pair.room))["session"] == later


async def test_R1_sessions_are_changed_by_who_has_joined(
    connect_python: Fleet, pair: Pair, server: Server
) -> None:
    mentor, _ = await meet(connect_python, pair)
    booked = await book(mentor, pair.room, wall(3))
    outside = await connect_python(pair.mentee)
    asked = {"room": pair.room, "session": booked["id"], "rev": booked["rev"]}
    assert (await outside.refused("session.cancel", asked))["code"] == "conflict"
    other = await server.pair()
    stranger, _ = await meet(connect_python, other)
    assert (await stranger.refused("session.cancel", asked))["code"] == "not_found"
    assert (await stranger.refused("session.cancel", {**asked, "room": other.room}))["code"] == "not_found"


async def test_S4_of_two_who_move_it_at_once_one_wins_and_the_other_is_shown_it(
    connect_python: Fleet, pair: Pair
) -> None:
    mentor, mentee = await meet(connect_python, pair)
    booked = await book(mentor, pair.room, wall(3))
    asked = {"room": pair.room, "session": booked["id"], "rev": booked["rev"], "tz": LONDON}
    answers = await asyncio.gather(
        mentor.ask("session.move", {**asked, "wall": wall(4)}),
        mentee.ask("session.move", {**asked, "wall": wall(5)}),
    )
    (won,) = [one["session"] for one in answers if one["ok"]]
    (lost,) = [one["error"] for one in answers if not one["ok"]]
    assert (lost["code"], lost["field"], lost["current"]) == ("conflict", "rev", won)
    await mentor.next_push("log", {"kind": "session.rescheduled"})
    assert (await kinds(mentor, pair.room)).count("session.rescheduled") == 1


async def test_S4_after_a_lost_answer_the_same_request_shows_that_it_was_done(
    connect_python: Fleet, pair: Pair
) -> None:
    mentor, mentee = await meet(connect_python, pair)
    asked = {"room": pair.room, "key": new_key(), "wall": wall(3), "tz": LONDON, "minutes": 60}
    first = await mentor.done("session.book", asked)
    assert await mentor.done("session.book", {**asked, "minutes": 30}) == first
    moved = await move(mentee, first["session"], wall(4))
    session = first["session"]
    again = {
        "room": pair.room,
        "session": session["id"],
        "rev": session["rev"],
        "wall": wall(4),
        "tz": LONDON,
    }
    assert (await mentee.refused("session.move", again))["current"] == moved
    assert (await mentor.done("session.book", asked))["session"] == moved
    await mentor.next_push("log", {"kind": "session.rescheduled"})
    assert await kinds(mentor, pair.room) == ["session.requested", "session.rescheduled"]


async def test_S9_a_time_that_is_none_and_one_that_is_two_come_with_choices(
    connect_python: Fleet, pair: Pair
) -> None:
    mentor, _ = await meet(connect_python, pair)
    year = datetime.now(UTC).year + 1
    spring, autumn = (max(date(year, month, day) for day in range(25, 32) if date(year, month, day).isoweekday() == 7)
                      for month in (3, 10))  # fmt: skip
    asked = {"room": pair.room, "key": new_key(), "tz": LONDON, "minutes": 60}
    error = await mentor.refused("session.book", {**asked, "wall": f"{spring}T01:30"})
    choices = [choice["wall"] for choice in error["current"]["choices"]]
    assert (error["code"], error["field"], choices) == (
        "invalid",
        "wall",
        [f"{spring}T00:55", f"{spring}T02:00"],
    )
    error = await mentor.refused("session.book", {**asked, "wall": f"{autumn}T01:30"})
    folds = [choice.get("fold", 0) for choice in error["current"]["choices"]]
    assert (error["code"], folds) == ("invalid", [0, 1])
    booked = await mentor.done("session.book", {**asked, "wall": f"{autumn}T01:30", "fold": 1})
    assert booked["session"]["start"] == error["current"]["choices"][1]["start"]


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"minutes": 4}, "invalid", "minutes"),
        ({"minutes": 481}, "invalid", "minutes"),
        ({"minutes": "60"}, "invalid", "minutes"),
        ({"wall": "tomorrow"}, "invalid", "wall"),
        ({"tz": "Mars/Olympus"}, "invalid", "tz"),
        ({"key": "mine"}, "invalid", "key"),
        ({"fold": 2}, "invalid", "fold"),
        ({"agenda": "x" * 2001}, "too_large", "agenda"),
        ({"wall": "2020-01-01T10:00"}, "invalid", "wall"),
        ({"colour": "red"}, "invalid", "colour"),
    ],
)
async def test_T4_a_wrong_field_is_named(
    connect_python: Fleet, pair: Pair, fields: dict[str, Any], code: str, field: str
) -> None:
    mentor, _ = await meet(connect_python, pair)
    asked = {"room": pair.room, "key": new_key(), "wall": wall(3), "tz": LONDON, "minutes": 60, **fields}
    error = await mentor.refused("session.book", asked)
    assert (error["code"], error["field"]) == (code, field)


async def test_both_in_the_call_begin_the_session_and_one_of_them_ends_it(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    soon = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M")
    session = await change(
        mentor, "session.answer", await book(mentee, pair.room, soon, tz="UTC"), proposal=None, accept=0
    )
    both = await InCall.begin(pair.room, mentor, mentee)
    started = await mentee.next_push("log", {"kind": "session.started"}, timeout_s=3)
    assert (started["by"], started["session"]["state"], started["session"]["id"]) == (
        "system",
        "live",
        session["id"],
    )
    now = started["session"]
    refused = await mentor.refused(
        "session.cancel", {"room": pair.room, "session": now["id"], "rev": now["rev"]}
    )
    assert refused["code"] == "conflict"  # S10
    longer = await change(mentor, "session.extend", now, minutes=15)
    assert longer["minutes"] == now["minutes"] + 15
    ended = await change(mentee, "session.end", longer)
    said = await mentor.next_push("log", {"kind": "session.ended"})
    assert said["session"] == ended
    assert set(said["attended"]) == {pair.mentor.person, pair.mentee.person}
    assert both.call


async def test_a_knock_reaches_all_sockets_of_the_other_once_in_a_while(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    await join(mentor, pair.room)
    elsewhere, phone = await connect(pair.mentee), await connect(pair.mentee)
    await mentor.done("session.knock", {"room": pair.room})
    for socket in (elsewhere, phone):
        knock = await socket.next_push("session.knock")
        assert knock == {"room": pair.room, "by": pair.mentor.person}
    error = await mentor.refused("session.knock", {"room": pair.room})
    assert error["code"] == "limited"
    assert 20_000 < error["retry_ms"] <= 30_000
    await join(elsewhere, pair.room)
    await elsewhere.done("session.knock", {"room": pair.room})  # each for themselves


async def test_a_knock_at_somebody_who_is_away_is_a_mail_while_a_session_is_near(
    connect_python: Fleet, pair: Pair, server: Server
) -> None:
    mentor, mentee = await meet(connect_python, pair)
    soon = (datetime.now(UTC) + timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M")
    session = await book(mentee, pair.room, soon, tz="UTC")
    await mentee.drop()
    await mentor.next_push("person", {"person": pair.mentee.person, "online": False})
    await mentor.done("session.knock", {"room": pair.room})
    knocks = [row for row in notices(server.data) if row[2] == "knock"]
    assert (session["id"], pair.mentee.person, "knock") in knocks


def notices(data: Path) -> list[Any]:
    with sqlite3.connect(data / "telementor.db") as database:
        return database.execute("SELECT subject, recipient_id, kind FROM notice").fetchall()


async def test_a_pair_that_approves_moves_by_proposals(
    connect_python: Fleet, pair: Pair, server: Server
) -> None:
    mentor, mentee = await meet(connect_python, pair)
    session = await agreed(mentor, mentee, pair.room, wall(3))
    assert (await join(mentor, pair.room))["room"].get("moves", "free") == "free"
    assert "once the other side has agreed" in await server.command("moves", "--room", pair.room, "approve")
    asked = {"room": pair.room, "session": session["id"], "rev": session["rev"]}
    error = await mentor.refused("session.move", {**asked, "wall": wall(4), "tz": LONDON})
    assert error["code"] == "forbidden"
    assert (await join(mentor, pair.room))["room"]["moves"] == "approve"
    times = [{"wall": wall(4), "tz": LONDON}, {"wall": wall(5), "tz": LONDON}]
    proposed = await change(mentor, "session.propose", session, times=times, reason="exams")
    said = await mentee.next_push("log", {"kind": "session.proposed"})
    proposal = said["proposal"]
    accepted = await change(mentee, "session.answer", proposed, proposal=proposal, accept=1)
    assert (accepted["wall"], accepted["state"]) == (wall(5), "confirmed")
    moved = await mentor.next_push("log", {"kind": "session.rescheduled"})
    assert (moved["proposal"], moved["reason"]) == (proposal, "exams")


async def test_too_many_changes_are_limited(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server(SESSION_CHANGES_BURST=1, SESSION_CHANGES_PER_S=1)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    await join(mentor, pair.room)
    asked = {"room": pair.room, "session": "none", "rev": 1}
    answers = await asyncio.gather(*(mentor.refused("session.cancel", asked) for _ in range(20)))
    assert answers[0]["code"] == "not_found"
    limited = [error for error in answers if error["code"] == "limited"]
    assert limited
    assert all(error["retry_ms"] <= 1000 for error in limited)


async def test_what_a_removed_pair_had_planned_is_cancelled_in_its_log(
    connect_python: Fleet, pair: Pair, server: Server
) -> None:
    mentor, _ = await meet(connect_python, pair)
    session = await book(mentor, pair.room, wall(3), agenda="bridges")
    await mentor.next_push("log", {"kind": "session.requested"})
    await server.command("pair", "remove", "--room", pair.room)

    async def exported() -> list[dict[str, Any]]:
        lines = (await server.command("export", "--room", pair.room)).splitlines()
        return [json.loads(line) for line in lines]

    async def cancelled() -> bool:
        return [one.get("kind") for one in await exported()][1:] == ["session.requested", "session.cancelled"]

    await until(cancelled, "the cancellation in the log of the removed room")
    header = (await exported())[0]
    assert [(one["id"], one["state"]) for one in header["sessions"]] == [(session["id"], "cancelled")]


async def test_nothing_of_an_erased_persons_sessions_is_left(
    connect_python: Fleet, pair: Pair, server: Server
) -> None:
    mentor, mentee = await meet(connect_python, pair)
    await book(mentee, pair.room, wall(3), agenda="my own bridges")
    await mentor.next_push("log", {"kind": "session.requested"})
    told = await server.command("erase", "--person", pair.mentee.email, "--yes")
    assert "Sessions cancelled: 1." in told
    exported = await server.command("export", "--room", pair.room)
    assert "bridges" not in exported
    assert "session.requested" not in exported
