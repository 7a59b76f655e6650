"""L5, L6: resuming and reading back. (L4 and what survives a kill is in test_durability.)"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.protocol.phrases import history, join, meet, new_key, page, say
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.shapes import Joined, shaped
from tests.support.witness import order

LARGE = "ü" * 8000
"""A text of 16,000 bytes: nine of them do not fit into a page of 128 KiB."""
PAGE_BYTES = 128 * 1024


async def test_L5_resume_gives_what_came_after_the_cursor(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    acks = [await say(mentor, pair.room, f"{n}") for n in range(7)]
    epoch = (await join(mentee, pair.room))["log"]["epoch"]
    cursor = {"epoch": epoch, "id": acks[2]["id"]}
    log = shaped(await join(mentee, pair.room, cursor=cursor), Joined).log
    assert [one["text"] for one in log.events] == ["3", "4", "5", "6"]
    assert (log.more, log.reset, log.head) == (False, None, acks[-1]["id"])
    some = shaped(await join(mentee, pair.room, cursor=cursor, limit=2), Joined).log
    assert [one["text"] for one in some.events] == ["3", "4"]
    assert (some.more, some.reset, some.head) == (True, None, acks[-1]["id"])
    none = shaped(await join(mentee, pair.room, cursor={"epoch": epoch, "id": acks[-1]["id"]}), Joined).log
    assert (none.events, none.more, none.reset) == ([], False, None)


async def test_L5_a_cursor_with_its_key_resumes(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    key = new_key()
    seen = await say(mentor, pair.room, "seen", key=key)
    await say(mentor, pair.room, "missed")
    epoch = (await join(mentee, pair.room))["log"]["epoch"]
    log = (await join(mentee, pair.room, cursor={"epoch": epoch, "id": seen["id"], "key": key}))["log"]
    assert [one["text"] for one in log["events"]] == ["missed"]
    assert log["reset"] is None


async def test_L5_nothing_seen_yet_is_a_good_cursor(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    epoch = (await join(mentee, pair.room))["log"]["epoch"]
    for n in range(5):
        await say(mentor, pair.room, f"{n}")
    log = (await join(mentee, pair.room, cursor={"epoch": epoch, "id": None}, limit=3))["log"]
    assert [one["text"] for one in log["events"]] == ["0", "1", "2"]
    assert (log["more"], log["reset"]) == (True, None)


async def test_L5_without_a_cursor_it_is_the_newest_page(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    for n in range(5):
        await say(mentor, pair.room, f"{n}")
    newest = (await join(mentee, pair.room, limit=2))["log"]
    assert [one["text"] for one in newest["events"]] == ["3", "4"]
    assert (newest["more"], newest["reset"]) == (True, None)
    everything = (await join(mentee, pair.room, limit=5))["log"]
    assert len(everything["events"]) == 5
    assert everything["more"] is False


async def test_L5_reset_says_why_a_cursor_cannot_be_continued(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    ack = await say(mentor, pair.room, "one")
    await say(mentor, pair.room, "two")
    epoch = (await join(mentee, pair.room))["log"]["epoch"]
    at, number = ack["id"].split("-")
    cases = {
        "another epoch": ({"epoch": new_key(), "id": ack["id"]}, "epoch"),
        "another epoch, nothing seen": ({"epoch": new_key(), "id": None}, "epoch"),
        "another key": ({"epoch": epoch, "id": ack["id"], "key": new_key()}, "diverged"),
        "never was": ({"epoch": epoch, "id": f"{at}-{int(number) + 1000}"}, "diverged"),
        "the future": ({"epoch": epoch, "id": f"{int(at) + 86_400_000}-0"}, "diverged"),
    }
    answers = {
        name: (await join(mentee, pair.room, cursor=cursor))["log"] for name, (cursor, _) in cases.items()
    }
    assert {name: log["reset"] for name, log in answers.items()} == {
        name: reset for name, (_, reset) in cases.items()
    }
    for log in answers.values():
        assert [one["text"] for one in log["events"]] == ["one", "two"], "events is the newest page"


async def test_L5_head_is_null_in_an_empty_log(connect: Fleet, pair: Pair) -> None:
    mentor = await connect(pair.mentor)
    log = (await join(mentor, pair.room))["log"]
    again = (await join(mentor, pair.room, cursor={"epoch": log["epoch"], "id": None}))["log"]
    for one in (log, again):
        assert (one["head"], one["events"], one["more"], one["reset"]) == (None, [], False, None)


async def test_L5_nothing_is_lost_between_resume_and_pushes(connect: Fleet, pair: Pair) -> None:
    """Events sent while somebody joins are in the answer or pushed, and what overlaps is the same event."""
    mentor = await connect(pair.mentor)
    await join(mentor, pair.room)

    async def talk() -> list[str]:
        return [(await say(mentor, pair.room, f"{n}"))["id"] for n in range(24)]

    talking = asyncio.create_task(talk())
    mentee = await connect(pair.mentee)
    joined = await join(mentee, pair.room, limit=200)
    await mentee.next_push("log", {"id": (await talking)[-1]})
    seen = {one["id"]: one["text"] for one in joined["log"]["events"]}
    seen |= {push["id"]: push["text"] for push in mentee.all("log")}
    assert [seen[one] for one in sorted(seen, key=order)] == [f"{n}" for n in range(24)]


async def test_L6_bounds_are_exclusive_and_events_ascend(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    ids = [(await say(mentor, pair.room, f"{n}"))["id"] for n in range(6)]

    async def shown(**bounds: Any) -> tuple[str, bool]:
        answer = await page(mentor, pair.room, **bounds)
        return "".join(event["text"] for event in answer["events"]), answer["more"]

    assert await shown() == ("012345", False)
    assert await shown(limit=2) == ("45", True)
    assert await shown(before=ids[4]) == ("0123", False)
    assert await shown(before=ids[4], limit=2) == ("23", True)
    assert await shown(after=ids[1]) == ("2345", False)
    assert await shown(after=ids[1], limit=2) == ("23", True)
    assert await shown(after=ids[1], limit=4) == ("2345", False)
    assert await shown(after=ids[5]) == ("", False)
    assert await shown(before=ids[0]) == ("", False)
    assert await shown(after="0-0", limit=1) == ("0", True)


async def test_L6_both_bounds_at_once_are_refused(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    request = {"room": pair.room, "limit": 5, "before": "9-0", "after": "1-0"}
    assert (await mentor.refused("log.page", request))["code"] == "invalid"


@pytest.mark.parametrize("event", ["log.page", "room.join"])
async def test_L6_more_than_two_hundred_at_once_are_refused(connect: Fleet, pair: Pair, event: str) -> None:
    mentor, _ = await meet(connect, pair)
    for limit, codes in ((201, {"too_large"}), (0, {"invalid"}), (-5, {"invalid"}), (2**40, {"too_large"})):
        error = await mentor.refused(event, {"room": pair.room, "limit": limit})
        assert (error["code"] in codes, error.get("field")) == (True, "limit"), (limit, error)


async def test_L6_an_answer_holds_at_most_128_KiB_of_events(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    ids = [(await say(mentor, pair.room, LARGE))["id"] for _ in range(12)]
    epoch = (await join(mentee, pair.room))["log"]["epoch"]
    pages = {
        "newest": await page(mentor, pair.room),
        "after": await page(mentor, pair.room, after="0-0"),
        "before": await page(mentor, pair.room, before=ids[-1]),
        "join": (await join(mentee, pair.room, limit=200))["log"],
        "resume": (await join(mentee, pair.room, cursor={"epoch": epoch, "id": ids[0]}, limit=200))["log"],
    }
    for name, one in pages.items():
        size = sum(len(event["text"].encode()) for event in one["events"])
        assert PAGE_BYTES // 2 < size <= PAGE_BYTES, name
        assert one["more"] is True, name
    assert pages["newest"]["events"][-1]["id"] == ids[-1]
    assert pages["join"]["events"][-1]["id"] == ids[-1]
    assert pages["before"]["events"][-1]["id"] == ids[-2]
    assert pages["after"]["events"][0]["id"] == ids[0]
    assert pages["resume"]["events"][0]["id"] == ids[1]
    assert [event["id"] for event in await history(mentor, pair.room)] == ids
