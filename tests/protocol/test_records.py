"""What is kept of a room, and what is not: retention (L5, L6), deletion in every file (L8), export and erasure."""

from __future__ import annotations

import json
import secrets
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import history, join, new_key, page, say
from tests.support.client import Client, RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.server import CommandFailedError, Server


def _words() -> str:
    """A text whose words nothing else holds, and no compression can take apart all of."""
    return " ".join(secrets.token_hex(5) for _ in range(40))


def _found(words: str, *places: Path) -> set[str]:
    """The files that hold a word of `words`."""
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    held = {str(file): file.read_bytes() for file in files if file.is_file()}
    return {name for name, content in held.items() if any(word.encode() in content for word in words.split())}


async def _exported(server: Server, room: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = [json.loads(line) for line in (await server.command("export", "--room", room)).splitlines()]
    header, *events = [line for line in lines if isinstance(line, dict)]
    return header, events


async def _alone(connect: Fleet, server: Server, pair: Pair) -> Client:
    client = await connect(pair.mentor, server=server)
    await join(client, pair.room)
    return client


# Retention


async def test_L5_a_cursor_older_than_the_retention_is_trimmed(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    server = await own_server(HOUSEKEEPING_S=1)
    pair = await server.pair()
    mentor = await _alone(connect_python, server, pair)
    epoch = (await join(mentor, pair.room))["log"]["epoch"]
    said = [(await say(mentor, pair.room, f"{number}", key=new_key()))["id"] for number in range(6)]
    assert (await page(mentor, pair.room)).get("floor") is None
    await server.command("retention", "--count", "3")

    async def trimmed() -> bool:
        return (await page(mentor, pair.room)).get("floor") == said[2]

    await until(trimmed, "the floor at the third message")
    back = await connect_python(pair.mentor, server=server)
    log = (await join(back, pair.room, cursor={"epoch": epoch, "id": said[1]}))["log"]
    assert (log["reset"], log["floor"], log["more"]) == ("trimmed", said[2], False)
    assert [event["id"] for event in log["events"]] == said[3:], "L6: the newest page"
    log = (await join(back, pair.room, cursor={"epoch": epoch, "id": said[2]}))["log"]
    assert (log["reset"], [event["id"] for event in log["events"]]) == (None, said[3:])
    log = (await join(back, pair.room, cursor={"epoch": epoch, "id": None}))["log"]
    assert log["reset"] == "trimmed"
    edited = {"room": pair.room, "key": new_key(), "id": said[0], "text": "x"}
    assert (await mentor.refused("chat.edit", edited))["code"] == "not_found"


async def test_retention_counts_for_idle_and_removed_rooms_too(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    server = await own_server(HOUSEKEEPING_S=1)
    pair = await server.pair()
    mentor = await _alone(connect_python, server, pair)
    for number in range(4):
        await say(mentor, pair.room, f"{number}")
    await mentor.drop()
    await server.command("pair", "remove", "--room", pair.room)
    await server.command("retention", "--count", "1")

    async def trimmed() -> bool:
        return [event["text"] for event in (await _exported(server, pair.room))[1]] == ["3"]

    await until(trimmed, "one event left")
    assert (await _exported(server, pair.room))[0]["floor"] is not None


# L8 in every file


@pytest.mark.parametrize("how", ["chat.delete", "chat.edit", "retention"])
async def test_L8_a_removed_text_is_in_no_file(
    connect_python: Fleet, own_server: OpenServer, how: str
) -> None:
    server = await own_server(STORE_REWRITE_S=1, HOUSEKEEPING_S=1)
    pair = await server.pair()
    mentor = await _alone(connect_python, server, pair)
    doomed, kept = _words(), _words()
    message = (await say(mentor, pair.room, doomed))["id"]
    assert _found(doomed, server.data), "the test can see what is there"
    await say(mentor, pair.room, kept)
    if how == "retention":
        await server.command("retention", "--count", "1")
    else:
        more = {"text": "said better"} if how == "chat.edit" else {}
        await mentor.done(how, {"room": pair.room, "key": new_key(), "id": message, **more})
    await until(lambda: not _found(doomed, server.data), "the text is in no file of the folder")
    assert _found(kept, server.data), "and what was not removed still is"
    assert doomed not in server.log


# Export


async def test_operators_export_is_the_history_in_json_lines(
    connect_python: Fleet, server: Server, pair: Pair, tmp_path: Path
) -> None:
    mentor = await _alone(connect_python, server, pair)
    first = (await say(mentor, pair.room, "Grüße\n„eins“ 🎉"))["id"]
    for event, more in (
        ("chat.edit", {"text": "edited"}),
        ("chat.react", {"emoji": "👍", "on": True}),
    ):
        await mentor.done(event, {"room": pair.room, "key": new_key(), "id": first, **more})
    secret = (await say(mentor, pair.room, "a secret"))["id"]
    await mentor.done("chat.delete", {"room": pair.room, "key": new_key(), "id": secret})
    await say(mentor, pair.room, "ünd zwei", reply_to=first)
    file = tmp_path / "room.jsonl"
    assert "4 events" in await server.command("export", "--room", pair.room, "--out", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    header, *events = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    joined = await join(mentor, pair.room)
    assert header["room"] == pair.room
    assert header["title"] == joined["room"]["title"]
    assert header["epoch"] == joined["log"]["epoch"]
    assert header["floor"] is None
    assert [(one["person"], one["name"], one["role"]) for one in header["people"]] == [
        (pair.mentor.person, pair.mentor.name, "mentor"),
        (pair.mentee.person, pair.mentee.name, "mentee"),
    ]
    assert header["exported_at_utc"].endswith("Z")
    assert [event["kind"] for event in events] == [
        "chat.edited",
        "chat.reacted",
        "chat.deleted",
        "chat.posted",
    ]
    for event in events:
        assert event.pop("at_utc")[-5:] == f".{event['at'] % 1000:03}Z"
    assert events[0]["posted"].pop("at_utc") < header["exported_at_utc"]
    assert events == await history(mentor, pair.room)
    assert "a secret" not in file.read_text("utf-8")


async def test_operators_export_works_without_a_server_and_of_a_removed_room(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    server = await own_server(DRAIN_S=0)
    pair = await server.pair()
    await say(await _alone(connect_python, server, pair), pair.room, "kept")
    await server.command("pair", "remove", "--room", pair.room)
    await server.terminate()
    header, events = await _exported(server, pair.room)
    assert header["room"] == pair.room
    assert [event["text"] for event in events] == ["kept"]
    assert server.stores() == [], "what was started for it has ended"


async def test_operators_export_leaves_no_half_a_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match="There is no room nowhere"):
        await server.command("export", "--room", "nowhere", "--out", str(tmp_path / "room.jsonl"))
    assert list(tmp_path.iterdir()) == []


# Erase


async def test_operators_erase_takes_back_what_somebody_wrote(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    server = await own_server()
    pair = await server.pair(mentor=("Zebulon Quill", "zebulon.quill@example.org"))
    earlier = await server.pair(mentor=(pair.mentor.name, pair.mentor.email))
    doomed, kept = _words(), _words()
    mentor = await _alone(connect_python, server, earlier)
    await say(mentor, earlier.room, doomed)
    await server.command("pair", "remove", "--room", earlier.room)
    await mentor.closed()
    mentor = await _alone(connect_python, server, pair)
    mentee = await connect_python(pair.mentee, server=server)
    await join(mentee, pair.room)
    first = (await say(mentor, pair.room, doomed))["id"]
    second = (await say(mentor, pair.room, "to be edited"))["id"]
    edit = {"room": pair.room, "key": new_key(), "id": second, "text": doomed}
    await mentor.done("chat.edit", edit)
    answer = (await say(mentee, pair.room, kept, reply_to=first))["id"]
    for emoji, on in (("👍", True), ("🎉", True), ("🎉", False)):
        reaction = {"room": pair.room, "key": new_key(), "id": answer, "emoji": emoji, "on": on}
        await mentor.done("chat.react", reaction)
    liked = {"room": pair.room, "key": new_key(), "id": answer, "emoji": "❤️", "on": True}
    await mentee.done("chat.react", liked)
    for client in (mentor, mentee):
        await client.done("chat.read", {"room": pair.room, "id": answer})
    assert _found(doomed, server.data)

    told = await server.command("erase", "--person", "Zebulon.Quill@example.org", "--yes")
    assert "messages: 3, reactions: 1; rooms closed: 1." in told
    assert "Backups" in told

    assert (await mentor.next_push("revoked"))["reason"] == "revoked"
    await mentor.closed()
    for ref in (first, second):
        await mentee.next_push("log", {"kind": "chat.deleted", "ref": ref})
    undone = await mentee.next_push("log", {"kind": "chat.reacted", "on": False, "emoji": "👍"})
    assert undone["ref"] == answer
    assert (await mentee.next_push("revoked"))["reason"] == "removed", "the room is closed"
    await mentee.closed()
    with pytest.raises(RefusedError) as refused:
        await connect_python(pair.mentor, server=server)
    assert refused.value.error["code"] == "unauthenticated"

    header, events = await _exported(server, pair.room)
    assert [one["name"] for one in header["people"]] == ["Removed person", pair.mentee.name]
    assert [event["text"] for event in events if "text" in event] == [kept]
    reactions = [(event["by"], event["emoji"]) for event in events if event["kind"] == "chat.reacted"]
    assert reactions == [(pair.mentee.person, "❤️")], "not even one that was taken back is left"
    assert [event["kind"] for event in (await _exported(server, earlier.room))[1]] == ["chat.deleted"]
    who = "Zebulon Quill zebulon"
    assert _found(f"{doomed} {who}", server.data, server.log_file) == set()
    assert _found(kept, server.data)
    with pytest.raises(CommandFailedError, match="Nobody has"):
        await server.command("erase", "--person", pair.mentor.email, "--yes")

    anew = await server.pair(mentor=(pair.mentor.name, pair.mentor.email))
    assert anew.mentor.person != pair.mentor.person
    assert anew.room not in (pair.room, earlier.room)


async def test_operators_erase_works_without_a_server(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server(DRAIN_S=0)
    pair = await server.pair()
    doomed = _words()
    await say(await _alone(connect_python, server, pair), pair.room, doomed)
    await server.terminate()
    assert "messages: 1" in await server.command("erase", "--person", pair.mentor.email, "--yes")
    assert _found(f"{doomed} {pair.mentor.email}", server.data) == set()
    assert server.stores() == []


async def test_operators_erase_asks_first(own_server: OpenServer) -> None:
    """Nobody answers here, so nothing happens."""
    server = await own_server()
    pair = await server.pair()
    with pytest.raises(CommandFailedError, match="Nothing was changed") as asked:
        await server.command("erase", "--person", pair.mentor.email)
    assert asked.value.code == 1
    assert await server.token(pair.mentor.email, 60)
