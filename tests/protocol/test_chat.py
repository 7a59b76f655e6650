"""L7–L10: messages, edits, deletions, reactions, typing and read marks."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.protocol.phrases import history, join, kinds, meet, new_key, page, say, texts
from tests.support.client import Client
from tests.support.fleet import Fleet
from tests.support.people import Pair


async def _push_of(client: Client, ack: dict[str, Any]) -> dict[str, Any]:
    return await client.next_push("log", {"id": ack["id"]})


async def test_L7_a_reply_names_the_message_it_answers(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    asked = await say(mentee, pair.room, "how?")
    answered = await say(mentor, pair.room, "so", reply_to=asked["id"])
    assert (await _push_of(mentee, answered))["reply_to"] == asked["id"]


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
