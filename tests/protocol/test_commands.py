"""The commands that operators and scripts call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import join, new_key, say
from tests.support.fleet import Fleet
from tests.support.people import Pair, fresh_email
from tests.support.server import CommandFailedError, Server, run_telementor


async def test_operators_a_port_in_use_is_said_in_words(server: Server, tmp_path: Path) -> None:
    port = server.url.rsplit(":", 1)[1]
    code, out, err = await run_telementor("serve", "--port", port, "--data", str(tmp_path / "other"))
    assert code != 0
    assert "Traceback" not in out + err
    assert port in out + err


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        (("--port", "eighty"), {}, "port"),
        (("--port", "70000"), {}, "port"),
        ((), {"TELEMENTOR_RING_S": "soon"}, "ring_s"),
        ((), {"TELEMENTOR_DRAIN_S": "-1"}, "drain_s"),
        ((), {"TELEMENTOR_NO_SUCH_THING": "1"}, "no_such_thing"),
        ((), {"TELEMENTOR_PUBLIC_URL": "not a url"}, "public_url"),
        ((), {"TELEMENTOR_TRUSTED_PROXIES": "everyone"}, "trusted_proxies"),
        (("--redis", "telnet://somewhere"), {}, "redis"),
        (("--database", "oracle://somewhere"), {}, "database"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_operators_a_bad_setting_is_named_and_ends_with_2(
    tmp_path: Path, arguments: tuple[str, ...], settings: dict[str, str], named: str
) -> None:
    words = ("serve", "--data", str(tmp_path / "data"), *(arguments or ("--port", "0")))
    code, out, err = await run_telementor(*words, settings=settings)
    assert code == 2, (code, out, err)
    assert named in (out + err).lower()
    assert "Traceback" not in out + err


async def test_operators_pair_add_works_before_the_first_start(connect_python: Fleet, tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        pair = await server.pair()
        await server.start()
        mentor = await connect_python(pair.mentor, server=server)
        await join(mentor, pair.room)
    finally:
        await server.close()


async def test_operators_pair_add_twice_gives_the_same_pair(
    connect: Fleet, server: Server, pair: Pair
) -> None:
    again = await server.pair((pair.mentor.name, pair.mentor.email), (pair.mentee.name, pair.mentee.email))
    assert (again.room, again.url) == (pair.room, pair.url)
    assert again.mentor.person == pair.mentor.person
    for person in (pair.mentor, again.mentor):
        client = await connect(person)
        await join(client, pair.room)


async def test_operators_an_address_counts_without_regard_to_case(server: Server, pair: Pair) -> None:
    mentor = (pair.mentor.name, pair.mentor.email.replace("mara", "MARA"))
    again = await server.pair(mentor, (pair.mentee.name, pair.mentee.email))
    assert again.room == pair.room


async def test_operators_a_slug_cannot_be_guessed(server: Server, pair: Pair) -> None:
    other = await server.pair()
    assert len(pair.room) >= 22, "128 bits in base64url"
    assert pair.room != other.room
    assert pair.url == f"{server.url}/r/{pair.room}"


@pytest.mark.parametrize(
    "bad",
    [
        ("--mentor", "no address"),
        ("--mentor", "Mara <mara@>"),
        ("--mentor", "<script>"),
        ("--mentor", ""),
        ("--mentor", "x" * 201 + " <long@example.org>"),
    ],
    ids=lambda bad: bad[1][:20],
)
async def test_operators_a_bad_person_is_refused_in_words(server: Server, bad: tuple[str, str]) -> None:
    with pytest.raises(CommandFailedError) as failure:
        await server.command("pair", "add", *bad, "--mentee", f"Mio <{fresh_email('mio')}>", "--json")
    assert "Traceback" not in failure.value.output
    assert failure.value.output.strip()


async def test_operators_one_person_is_no_pair(server: Server) -> None:
    email = fresh_email("same")
    with pytest.raises(CommandFailedError):
        await server.pair(("Same", email), ("Same", email))


async def test_operators_a_token_lasts_as_long_as_asked(
    connect_python: Fleet, server: Server, pair: Pair
) -> None:
    token = await server.token(pair.mentor.email, 60)
    assert len(token.split()) == 1
    mentor = await connect_python(None, auth={"v": 1, "device": new_key(), "token": token})
    assert (await join(mentor, pair.room))["you"]["person"] == pair.mentor.person


@pytest.mark.parametrize("command", ["token", "link", "revoke"])
async def test_operators_nobody_of_that_address_is_said_in_words(server: Server, command: str) -> None:
    more = ("--ttl-s", "60") if command == "token" else ()
    with pytest.raises(CommandFailedError) as failure:
        await server.command(command, "--email", "nobody@example.org", *more)
    assert "Traceback" not in failure.value.output
    assert "nobody@example.org" in failure.value.output


async def test_operators_check_says_what_is_there(server: Server) -> None:
    output = await server.command("check")
    assert output
    assert "Traceback" not in output


@pytest.mark.parametrize("words", [("--help",), ("serve", "--help"), ("pair", "add", "--help")])
async def test_operators_help_is_there(words: tuple[str, ...]) -> None:
    code, out, _ = await run_telementor(*words)
    assert code == 0
    assert "--" in out


@pytest.mark.faults
async def test_operators_backup_and_restore_cover_both_stores(
    connect_python: Fleet, own_server: OpenServer, tmp_path: Path
) -> None:
    server = await own_server()
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    await join(mentor, pair.room)
    key = new_key()
    kept = await say(mentor, pair.room, "worth keeping", key=key)
    backup = tmp_path / "telementor.backup"
    await server.command("backup", str(backup))
    late = await say(mentor, pair.room, "too late")
    epoch = (await join(mentor, pair.room))["log"]["epoch"]
    (tmp_path / "restored").mkdir()
    other = Server(tmp_path / "restored")
    try:
        await other.command("restore", str(backup))
        await other.start()
        back = await connect_python(pair.mentor, server=other)
        log = (await join(back, pair.room))["log"]
        assert [event["id"] for event in log["events"]] == [kept["id"]]
        again = await say(back, pair.room, "worth keeping", key=key)
        assert (again["id"], again["dup"]) == (kept["id"], True)
        for cursor, reset in ((kept["id"], None), (late["id"], "diverged")):
            answer = await join(back, pair.room, cursor={"epoch": epoch, "id": cursor})
            assert answer["log"]["reset"] == reset, "L5: what came after the backup is not there"
    finally:
        await other.close()


async def test_operators_a_json_answer_is_one_object(server: Server, pair: Pair) -> None:
    output = await server.command(
        *("pair", "add", "--mentor", f"{pair.mentor.name} <{pair.mentor.email}>"),
        *("--mentee", f"{pair.mentee.name} <{pair.mentee.email}>", "--json"),
    )
    answer = json.loads(output)
    assert set(answer) >= {"room", "url", "mentor", "mentee"}
