"""For scripts and operators: commands, health, stopping, settings. C3 is here, as it needs a server that stops."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import InCall, join, kinds, meet, new_key, say, texts
from tests.support.client import RefusedError
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair, fresh_email
from tests.support.server import CommandFailedError, Server, run_telementor

DRAIN_S = 10


async def _get(url: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_operators_health_readiness_and_metrics(server: Server) -> None:
    assert (await _get(f"{server.url}/healthz"))[0] == 200
    status, text, _ = await _get(f"{server.url}/readyz")
    assert status == 200
    assert "always" in text or "fsync" in text or "disk" in text, (
        f"L4: readyz says which promise holds: {text}"
    )
    status, text, headers = await _get(f"{server.url}/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith(("text/plain", "application/openmetrics-text"))
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert any(name.startswith("telementor") for name in names), sorted(names)


async def test_operators_metrics_hold_no_names_and_no_rooms(connect_python: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect_python, pair)
    await say(mentor, pair.room, "x")
    _, text, _ = await _get(f"{connect_python.server.url}/metrics")
    for private in (pair.room, pair.mentor.person, pair.mentor.email, "Mara"):
        assert private not in text


@pytest.mark.faults
async def test_operators_not_ready_while_the_store_stands_still(own_server: OpenServer) -> None:
    server = await own_server()
    server.signal_store(signal.SIGSTOP)
    try:

        async def refused() -> bool:
            return (await _get(f"{server.url}/readyz"))[0] == 503

        await until(refused, "readyz to say no")
        assert (await _get(f"{server.url}/healthz"))[0] == 200
    finally:
        server.signal_store(signal.SIGCONT)

    async def ready() -> bool:
        return (await _get(f"{server.url}/readyz"))[0] == 200

    await until(ready, "readyz to say yes again")


async def test_C3_sigterm_drains_with_goaway_and_exits_0(connect: Fleet, own_server: OpenServer) -> None:
    server = await own_server(DRAIN_S=2)
    pair = await server.pair()
    two = await InCall.begin(
        pair.room, await connect(pair.mentor, server=server), await connect(pair.mentee, server=server)
    )
    began = time.monotonic()
    server.ask_to_stop()
    for client in (two.caller, two.callee):
        goaway = await client.next_push("goaway")
        assert goaway["reason"]
        assert 0 <= goaway["in_ms"] <= 2000
    assert await server.ended(timeout_s=DRAIN_S) == 0
    assert time.monotonic() - began < DRAIN_S
    for client in (two.caller, two.callee):
        await client.closed()
    await server.start()
    back = await connect(pair.mentor, server=server, device=two.caller.device)
    assert (await join(back, pair.room))["call"]["id"] == two.call, "a call is not touched"
    assert await kinds(back, pair.room) == ["call.started"]
    assert not server.stores() or len(server.stores()) == 1


async def test_C3_what_is_in_flight_is_finished_and_nothing_is_lost(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    server = await own_server(DRAIN_S=1)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    await join(mentor, pair.room)
    futures = [
        await mentor.begin("chat.send", {"room": pair.room, "key": new_key(), "text": f"{n}"})
        for n in range(20)
    ]
    server.ask_to_stop()
    acks = await asyncio.wait_for(asyncio.gather(*futures), DRAIN_S)
    assert [ack["ok"] for ack in acks] == [True] * 20
    assert await server.ended() == 0
    assert server.stores() == [], "the store ends with its server"
    await server.start()
    back = await connect_python(pair.mentor, server=server)
    await join(back, pair.room)
    assert await texts(back, pair.room) == [f"{n}" for n in range(20)]


async def test_C3_a_draining_server_is_not_ready(connect_python: Fleet, own_server: OpenServer) -> None:
    server = await own_server(DRAIN_S=4)
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    server.ask_to_stop()
    await mentor.next_push("goaway")
    try:
        status, _, _ = await _get(f"{server.url}/readyz")
    except aiohttp.ClientError:
        status = 503  # it does not even listen any more
    assert status == 503
    assert await server.ended(timeout_s=DRAIN_S) == 0


async def test_operators_an_idle_server_stops_at_once(own_server: OpenServer) -> None:
    """Nobody is there to be told: no reason to wait for the whole drain."""
    server = await own_server()
    assert await server.terminate(timeout_s=DRAIN_S) == 0


async def test_operators_a_second_server_on_the_same_data_is_refused(server: Server) -> None:
    began = time.monotonic()
    code, out, err = await run_telementor("serve", "--port", "0", "--data", str(server.data))
    assert code != 0
    assert time.monotonic() - began < 10
    assert "listening on" not in out
    assert "Traceback" not in out + err
    assert str(server.data) in out + err
    assert (await _get(f"{server.url}/readyz"))[0] == 200


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


async def test_operators_the_data_folder_is_private_and_says_who_wrote_it(server: Server) -> None:
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    small = [file for file in server.data.iterdir() if file.is_file() and file.stat().st_size < 65_536]
    told = " ".join(file.read_bytes().decode(errors="ignore") for file in small).lower()
    assert "valkey" in told or "redis" in told


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
    await say(mentor, pair.room, "too late")
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
    finally:
        await other.close()


async def test_operators_the_log_holds_no_text_token_or_address(connect_python: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect_python, pair)
    secret = f"private words {new_key()}"
    ack = await say(mentor, pair.room, secret)
    await mentee.next_push("log", {"id": ack["id"]})
    with pytest.raises(RefusedError):
        await connect_python(None, auth={"v": 1, "device": new_key(), "token": f"bad-{secret}"})
    log = connect_python.server.log
    for private in (secret, pair.mentor.token, pair.mentor.email, pair.mentee.email, pair.mentor.link):
        assert private not in log


async def test_operators_a_json_answer_is_one_object(server: Server, pair: Pair) -> None:
    output = await server.command(
        *("pair", "add", "--mentor", f"{pair.mentor.name} <{pair.mentor.email}>"),
        *("--mentee", f"{pair.mentee.name} <{pair.mentee.email}>", "--json"),
    )
    answer = json.loads(output)
    assert set(answer) >= {"room", "url", "mentor", "mentee"}
