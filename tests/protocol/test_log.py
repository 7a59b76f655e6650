"""L1–L10: everything durable, in one order. (L4 and what survives a kill is in test_durability.)"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.protocol.phrases import history, join, kinds, meet, new_key, page, say, texts
from tests.support.client import Client
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.shapes import Joined, shaped
from tests.support.witness import check_event, order

LARGE = "ü" * 8000
"""A text of 16,000 bytes: eight of them do not fit into a page of 128 KiB."""
PAGE_BYTES = 128 * 1024


async def _push_of(client: Client, ack: dict[str, Any]) -> dict[str, Any]:
    return await client.next_push("log", {"id": ack["id"]})


def _without_room(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "room"}


async def test_L1_an_event_is_the_same_object_pushed_and_in_history(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    key = new_key()
    ack = await say(mentor, pair.room, "the same", key=key)
    pushed = await _push_of(mentee, ack)
    assert pushed["room"] == pair.room
    assert (
        pushed
        | {
            "prev": None,
            "by": pair.mentor.person,
            "kind": "chat.posted",
            "key": key,
            "text": "the same",
        }
        == pushed
    )
    paged = (await page(mentor, pair.room))["events"]
    resumed = (await join(mentee, pair.room))["log"]["events"]
    assert [_without_room(one) for one in paged] == [_without_room(pushed)]
    assert [_without_room(one) for one in resumed] == [_without_room(pushed)]
    check_event(paged[0])


async def test_L1_prev_chains_every_push_to_the_one_before(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    acks = [await say(mentor if n % 2 else mentee, pair.room, f"{n}") for n in range(6)]
    ids = [ack["id"] for ack in acks]
    pushes = [await _push_of(mentee, ack) for ack in acks]
    assert [push["prev"] for push in pushes] == [None, *ids[:-1]]


async def test_L1_an_epoch_is_a_uuid_and_stays(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    first = (await join(mentor, pair.room))["log"]["epoch"]
    assert str(uuid.UUID(first)) == first
    await say(mentor, pair.room, "x")
    assert (await join(mentee, pair.room))["log"]["epoch"] == first
    other = await connect.server.pair()
    stranger = await connect(other.mentor)
    assert (await join(stranger, other.room))["log"]["epoch"] != first


async def test_L1_events_of_the_server_carry_a_key_too(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    await mentor.done(
        "call.join", {"room": pair.room, "media": {"audio": True, "video": False, "screen": False}}
    )
    started = (await history(mentor, pair.room))[-1]
    assert started["kind"] == "call.started"
    check_event(started)


async def test_L2_everyone_hears_the_same_events_in_the_same_order(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    phone = await connect(pair.mentor)
    await join(phone, pair.room)
    clients = (mentor, mentee, phone)
    acks = await asyncio.gather(
        *(say(client, pair.room, f"{client.device} {n}") for n in range(9) for client in clients)
    )
    ids = sorted((ack["id"] for ack in acks), key=order)
    for client in clients:
        await client.next_push("log", {"id": ids[-1]})
        heard = client.all("log")
        assert [push["id"] for push in heard] == ids
        assert [push["prev"] for push in heard] == [None, *ids[:-1]]
        own = [push["text"] for push in heard if push["text"].startswith(client.device)]
        assert own == [f"{client.device} {n}" for n in range(9)]


async def test_L3_same_key_appends_once_and_acks_the_first_id_again(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    key = new_key()
    first = await say(mentor, pair.room, "once", key=key)
    again = await say(mentor, pair.room, "once", key=key)
    assert (first["dup"], again["dup"]) == (False, True)
    assert (again["id"], again["at"]) == (first["id"], first["at"])
    marker = await say(mentor, pair.room, "marker")
    await _push_of(mentee, marker)
    assert [push["text"] for push in mentee.all("log")] == ["once", "marker"]


async def test_L3_same_key_at_the_same_moment_appends_once(connect: Fleet, pair: Pair) -> None:
    laptop, _ = await meet(connect, pair)
    phone = await connect(pair.mentor)
    await join(phone, pair.room)
    key = new_key()
    acks = await asyncio.gather(*(say(one, pair.room, "race", key=key) for one in (laptop, phone) * 4))
    assert len({ack["id"] for ack in acks}) == 1
    assert sorted(ack["dup"] for ack in acks) == [False] + [True] * 7
    assert await texts(laptop, pair.room) == ["race"]


async def test_L3_same_key_across_a_reconnect_and_from_another_device(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    key = new_key()
    first = await say(mentor, pair.room, "before the drop", key=key)
    await mentor.drop()
    for device in (mentor.device, new_key()):
        back = await connect(pair.mentor, device=device)
        await join(back, pair.room)
        again = await say(back, pair.room, "before the drop", key=key)
        assert (again["id"], again["dup"]) == (first["id"], True)


async def test_L3_same_key_of_another_person_is_another_key(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    key = new_key()
    one, other = await say(mentor, pair.room, "mine", key=key), await say(mentee, pair.room, "mine", key=key)
    assert other["dup"] is False
    assert one["id"] != other["id"]


async def test_L3_same_key_with_another_verb_is_a_conflict(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    key = new_key()
    ack = await say(mentor, pair.room, "the message", key=key)
    mark = {"room": pair.room, "key": key, "id": ack["id"]}
    for event, more in (
        ("chat.edit", {"text": "other"}),
        ("chat.delete", {}),
        ("chat.react", {"emoji": "👍", "on": True}),
    ):
        assert (await mentor.refused(event, {**mark, **more}))["code"] == "conflict", event
    assert await texts(mentor, pair.room) == ["the message"]


async def test_L3_same_key_in_another_room_is_a_conflict(connect: Fleet, pair: Pair) -> None:
    other = await connect.server.pair(mentor=(pair.mentor.name, pair.mentor.email))
    mentor, _ = await meet(connect, pair)
    await join(mentor, other.room)
    key = new_key()
    await say(mentor, pair.room, "here", key=key)
    error = await mentor.refused("chat.send", {"room": other.room, "key": key, "text": "here"})
    assert error["code"] == "conflict"
    assert await texts(mentor, other.room) == []


async def test_L3_edit_delete_and_react_repeat_harmlessly(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    message = (await say(mentor, pair.room, "first"))["id"]
    for event, more in (
        ("chat.react", {"emoji": "🎉", "on": True}),
        ("chat.edit", {"text": "second"}),
        ("chat.delete", {}),
    ):
        request = {"room": pair.room, "key": new_key(), "id": message, **more}
        first, again = await mentor.done(event, request), await mentor.done(event, request)
        assert (again["id"], again["dup"]) == (first["id"], True), event


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
        "never was": ({"epoch": epoch, "id": f"{at}-{int(number) + 1}"}, "diverged"),
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


async def test_L7_a_reply_names_the_message_it_answers(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    asked = await say(mentee, pair.room, "how?")
    answered = await say(mentor, pair.room, "so", reply_to=asked["id"])
    assert (await _push_of(mentee, answered))["reply_to"] == asked["id"]
    error = await mentor.refused(
        "chat.send", {"room": pair.room, "key": new_key(), "text": "to nothing", "reply_to": "1-1"}
    )
    assert error["code"] in {"not_found", "invalid"}


async def test_L8_after_deletion_the_text_is_nowhere(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    key = new_key()
    before = await say(mentor, pair.room, "stays")
    secret = await say(mentor, pair.room, "my secret", key=key)
    after = await say(mentee, pair.room, "stays too", reply_to=secret["id"])
    epoch = (await join(mentee, pair.room))["log"]["epoch"]
    deleted = await mentor.done("chat.delete", {"room": pair.room, "key": new_key(), "id": secret["id"]})
    pushed = await _push_of(mentee, deleted)
    assert (pushed["kind"], pushed["ref"], pushed["prev"]) == ("chat.deleted", secret["id"], after["id"])
    told = [
        await page(mentor, pair.room),
        await page(mentor, pair.room, after=before["id"]),
        await join(mentee, pair.room),
        await join(mentee, pair.room, cursor={"epoch": epoch, "id": None}),
        await join(mentee, pair.room, cursor={"epoch": epoch, "id": before["id"]}),
    ]
    assert "my secret" not in str(told)
    assert secret["id"] not in [event["id"] for event in await history(mentor, pair.room)]
    log = (await join(mentee, pair.room, cursor={"epoch": epoch, "id": secret["id"], "key": key}))["log"]
    assert (log["reset"], [event["kind"] for event in log["events"]]) == (
        None,
        ["chat.posted", "chat.deleted"],
    )


async def test_L8_the_key_of_a_deleted_message_stays_known(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    key = new_key()
    gone = await say(mentor, pair.room, "gone", key=key)
    await mentor.done("chat.delete", {"room": pair.room, "key": new_key(), "id": gone["id"]})
    again = await say(mentor, pair.room, "gone", key=key)
    assert (again["dup"], again["id"]) == (True, gone["id"])
    assert await texts(mentor, pair.room) == []


async def test_L8_after_edits_only_the_newest_text_is_kept(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    asked = await say(mentee, pair.room, "question")
    ref = await say(mentor, pair.room, "first version", reply_to=asked["id"])
    epoch = (await join(mentee, pair.room))["log"]["epoch"]
    first = {"room": pair.room, "key": new_key(), "id": ref["id"], "text": "second version"}
    edited = await mentor.done("chat.edit", first)
    pushed = await _push_of(mentee, edited)
    posted = {"at": ref["at"], "by": pair.mentor.person, "reply_to": asked["id"]}
    assert (pushed["kind"], pushed["ref"], pushed["text"]) == ("chat.edited", ref["id"], "second version")
    assert {name: pushed["posted"].get(name) for name in posted} == posted
    again = await mentor.done("chat.edit", first | {"key": new_key(), "text": "third version"})
    pushed = await _push_of(mentee, again)
    assert (pushed["ref"], pushed["prev"]) == (ref["id"], edited["id"])
    assert {name: pushed["posted"].get(name) for name in posted} == posted
    assert sorted(await texts(mentor, pair.room)) == ["question", "third version"]
    for seen in (ref["id"], edited["id"]):
        log = (await join(mentee, pair.room, cursor={"epoch": epoch, "id": seen}))["log"]
        assert log["reset"] is None
        assert [event["text"] for event in log["events"]] == ["third version"]


async def test_L8_an_edited_message_that_is_deleted_leaves_no_text(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    ref = (await say(mentor, pair.room, "one"))["id"]
    await mentor.done("chat.edit", {"room": pair.room, "key": new_key(), "id": ref, "text": "two"})
    await mentor.done("chat.delete", {"room": pair.room, "key": new_key(), "id": ref})
    assert await kinds(mentee, pair.room) == ["chat.deleted"]
    for event, more in (
        ("chat.edit", {"text": "three"}),
        ("chat.delete", {}),
        ("chat.react", {"emoji": "👍", "on": True}),
    ):
        error = await mentor.refused(event, {"room": pair.room, "key": new_key(), "id": ref, **more})
        assert error["code"] in {"gone", "not_found"}, event
    assert await kinds(mentee, pair.room) == ["chat.deleted"]


async def test_L9_only_the_author_edits_and_deletes(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    ref = (await say(mentor, pair.room, "mine"))["id"]
    for event, more in (("chat.edit", {"text": "yours"}), ("chat.delete", {})):
        error = await mentee.refused(event, {"room": pair.room, "key": new_key(), "id": ref, **more})
        assert error["code"] == "forbidden", event
    assert await texts(mentor, pair.room) == ["mine"]


async def test_L9_what_is_no_message_cannot_be_changed(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    await say(mentor, pair.room, "something")
    reaction = await mentor.done(
        "chat.react",
        {
            "room": pair.room,
            "key": new_key(),
            "id": (await history(mentor, pair.room))[0]["id"],
            "emoji": "👍",
            "on": True,
        },
    )
    for ref in ("1-1", reaction["id"]):
        for event, more in (
            ("chat.edit", {"text": "x"}),
            ("chat.delete", {}),
            ("chat.react", {"emoji": "👍", "on": True}),
        ):
            error = await mentor.refused(event, {"room": pair.room, "key": new_key(), "id": ref, **more})
            assert error["code"] in {"not_found", "invalid"}, (ref, event)


async def test_L9_reactions_are_events_of_both(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    ref = (await say(mentor, pair.room, "done"))["id"]
    for client, person, emoji, on in (
        (mentee, pair.mentee, "👩🏽‍💻", True),
        (mentor, pair.mentor, "🎉", True),
        (mentee, pair.mentee, "👩🏽‍💻", False),
    ):
        request = {"room": pair.room, "key": new_key(), "id": ref, "emoji": emoji, "on": on}
        ack = await client.done("chat.react", request)
        for listener in (mentor, mentee):
            pushed = await _push_of(listener, ack)
            assert (pushed["kind"], pushed["by"], pushed["ref"]) == ("chat.reacted", person.person, ref)
            assert (pushed["emoji"], pushed["on"]) == (emoji, on)


async def test_L9_text_comes_back_exactly_as_it_was_sent(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    strange = [
        "  spaces kept  ",
        "line\nbreak\ttab\r\n",
        "<script>alert(1)</script>",
        "\u202egnp.exe",
        "e\u0301 is not é",
        "👨‍👩‍👧‍👦 𐍈 \u0000 zero",
        "नमस्ते مرحبا 你好",
        '{"json": [1]}',
        "\ufeffbom",
        "\u2028line separator",
    ]
    for text in strange:
        ack = await say(mentor, pair.room, text)
        assert (await _push_of(mentee, ack))["text"] == text
    assert await texts(mentee, pair.room) == strange


async def test_L10_typing_is_told_to_the_other_and_never_stored(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    await mentor.done("chat.typing", {"room": pair.room, "on": True})
    told = await mentee.next_push("typing")
    assert (told["room"], told["person"], told["on"]) == (pair.room, pair.mentor.person, True)
    await mentor.done("chat.typing", {"room": pair.room, "on": False})
    assert (await mentee.next_push("typing"))["on"] is False
    assert await history(mentor, pair.room) == []


async def test_L10_typing_goes_off_by_itself(connect_python: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect_python, pair)
    await mentor.done("chat.typing", {"room": pair.room, "on": True})
    await mentee.next_push("typing", {"on": True})
    clock = asyncio.get_running_loop().time
    began = clock()
    await mentee.next_push("typing", {"person": pair.mentor.person, "on": False}, timeout_s=8)
    assert 5 < clock() - began < 7.5


async def test_L10_typing_ends_when_the_typist_vanishes(connect_python: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect_python, pair)
    await mentor.done("chat.typing", {"room": pair.room, "on": True})
    await mentee.next_push("typing", {"on": True})
    await mentor.drop()
    await mentee.next_push("typing", {"on": False}, timeout_s=8)


async def test_L10_read_marks_go_forward_only(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    ids = [(await say(mentor, pair.room, f"{n}"))["id"] for n in range(3)]
    await mentee.done("chat.read", {"room": pair.room, "id": ids[1]})
    told = await mentor.next_push("read")
    assert (told["room"], told["person"], told["id"]) == (pair.room, pair.mentee.person, ids[1])
    await mentee.done("chat.read", {"room": pair.room, "id": ids[0]})
    marks = {one["person"]: one["read"] for one in (await join(mentor, pair.room))["people"]}
    assert marks == {pair.mentor.person: None, pair.mentee.person: ids[1]}
    await mentee.done("chat.read", {"room": pair.room, "id": ids[2]})
    assert (await mentor.next_push("read"))["id"] == ids[2]
    assert [push["id"] for push in mentor.all("read")] == [ids[1], ids[2]]
    assert await kinds(mentor, pair.room) == ["chat.posted"] * 3


async def test_L10_nobody_has_read_beyond_the_head(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    beyond = {"room": pair.room, "id": "1-0"}
    assert (await mentee.refused("chat.read", beyond))["code"] == "invalid"
    head = (await say(mentor, pair.room, "head"))["id"]
    at, number = head.split("-")
    for future in (f"{at}-{int(number) + 1}", f"{int(at) + 1}-0", f"{2**63}-0"):
        error = await mentee.refused("chat.read", {"room": pair.room, "id": future})
        assert error["code"] == "invalid"
    marks = {one["person"]: one["read"] for one in (await join(mentor, pair.room))["people"]}
    assert marks[pair.mentee.person] is None


async def test_L8_a_deleted_head_is_still_a_good_place_to_have_read_to(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    gone = (await say(mentor, pair.room, "gone"))["id"]
    deleted = await mentor.done("chat.delete", {"room": pair.room, "key": new_key(), "id": gone})
    log = (await join(mentee, pair.room))["log"]
    assert log["head"] == deleted["id"]
    await mentee.done("chat.read", {"room": pair.room, "id": deleted["id"]})
    await mentor.next_push("read", {"id": deleted["id"]})
