"""The bounds and rates of the contract, at the bound and one beyond it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.protocol.conftest import OpenRaw
from tests.protocol.phrases import InCall, call, join, meet, new_key, say
from tests.support.client import Client
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.raw import Packet, RawPolling, packed
from tests.support.server import Server

CHAT_BURST = 30
SIGNAL_BURST = 300
KIB = 1024


async def _chat(client: Client, room: str, text: str) -> str:
    ack = await client.ask("chat.send", {"room": room, "key": new_key(), "text": text})
    return "ok" if ack["ok"] else f"{ack['error']['code']} {ack['error'].get('field')}"


async def test_limits_a_text_has_8000_code_points_and_16_KiB(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    cases = {
        "8000 letters": ("a" * 8000, "ok"),
        "8001 letters": ("a" * 8001, "too_large text"),
        "16 KiB of emoji": ("😀" * 4096, "ok"),
        "16 KiB and a bit": ("😀" * 4097, "too_large text"),
        "8000 accents": ("é" * 8000, "ok"),
        "100 KiB": ("a" * 100 * KIB, "too_large text"),
    }
    answers = {name: await _chat(mentor, pair.room, text) for name, (text, _) in cases.items()}
    assert answers == {name: answer for name, (_, answer) in cases.items()}


async def test_limits_an_edit_is_bound_like_a_message(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    ref = (await say(mentor, pair.room, "short"))["id"]
    request = {"room": pair.room, "key": new_key(), "id": ref, "text": "a" * 8001}
    error = await mentor.refused("chat.edit", request)
    assert (error["code"], error["field"]) == ("too_large", "text")


async def test_limits_an_emoji_has_32_bytes(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    ref = (await say(mentor, pair.room, "react"))["id"]
    request = {"room": pair.room, "id": ref, "on": True}
    await mentor.done("chat.react", {**request, "key": new_key(), "emoji": "😀" * 8})
    error = await mentor.refused("chat.react", {**request, "key": new_key(), "emoji": "😀" * 8 + "x"})
    assert (error["code"], error["field"]) == ("too_large", "emoji")


async def test_limits_a_description_has_64_KiB(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    fits = {"type": "offer", "sdp": "a" * 64 * KIB}
    await two.caller.done("call.signal", two.signal(two.caller, description=fits))
    assert len((await two.callee.next_push("call.signal"))["description"]["sdp"]) == 64 * KIB
    error = await two.caller.refused(
        "call.signal", two.signal(two.caller, description={"type": "offer", "sdp": "a" * 64 * KIB + "a"})
    )
    assert (error["code"], error["field"]) == ("too_large", "description.sdp")


async def test_limits_64_candidates_of_1_KiB(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))

    def signal(count: int, size: int) -> dict[str, Any]:
        return two.signal(two.caller, candidates=[{"candidate": "c" * size, "sdpMid": "0"}] * count)

    await two.caller.done("call.signal", signal(64, 900))
    assert len((await two.callee.next_push("call.signal"))["candidates"]) == 64
    error = await two.caller.refused("call.signal", signal(65, 9))
    assert (error["code"], error["field"]) == ("too_large", "candidates")
    error = await two.caller.refused("call.signal", signal(1, 1025))
    assert error["code"] == "too_large"
    assert error["field"].startswith("candidates")


async def test_limits_a_message_beyond_128_KiB_is_answered_and_the_socket_lives(
    connect: Fleet, pair: Pair
) -> None:
    mentor, _ = await meet(connect, pair)
    for size in (129, 1000):
        request = {"room": pair.room, "key": new_key(), "text": "a" * size * KIB}
        assert (await mentor.refused("chat.send", request))["code"] == "too_large"
        request = {"room": pair.room, "colour": "a" * size * KIB}
        assert (await mentor.refused("log.page", request))["code"] == "too_large"
    await say(mentor, pair.room, "still here")


async def test_limits_a_message_beyond_1_MiB_closes_the_socket(open_raw: OpenRaw, pair: Pair) -> None:
    socket = await open_raw()
    await socket.connect({"v": 1, "device": new_key(), "token": pair.mentor.token})
    await socket.send(
        Packet.EVENT, ["chat.send", {"room": pair.room, "text": "a" * (KIB * KIB + 1)}], number=1
    )
    packets = await socket.closed()
    assert not [packet for packet in packets if packet["type"] == Packet.ACK]


async def test_limits_before_the_log_in_a_post_has_16_KiB(server: Server) -> None:
    for size, is_read in ((11 * KIB, True), (16 * KIB, False)):  # a polling body is base64, a third longer
        auth = {"v": 1, "device": new_key(), "token": "a" * size}
        polling = RawPolling(server.url)
        assert await polling.open() == 200
        assert await polling.post(packed(Packet.CONNECT, auth)) == (200 if is_read else 400)
        await polling.stop()


async def test_limits_chat_bursts_30_then_10_a_second_per_person_and_room(connect: Fleet, pair: Pair) -> None:
    laptop, mentee = await meet(connect, pair)
    phone = await connect(pair.mentor)
    await join(phone, pair.room)
    requests = [{"room": pair.room, "key": new_key(), "text": f"{n}"} for n in range(60)]
    began = time.monotonic()
    acks = await asyncio.gather(
        *((laptop if n % 2 else phone).ask("chat.send", request) for n, request in enumerate(requests))
    )
    took_s = time.monotonic() - began
    accepted = [ack for ack in acks if ack["ok"]]
    limited = [(request, ack) for request, ack in zip(requests, acks, strict=True) if not ack["ok"]]
    assert {ack["error"]["code"] for _, ack in limited} == {"limited"}
    assert CHAT_BURST <= len(accepted) <= CHAT_BURST + 10 * took_s + 2
    await say(mentee, pair.room, "the other person has a rate of their own")
    request, _ = limited[0]
    again = await laptop.ask("chat.send", request)
    if not again["ok"]:  # now nobody else of the burst is before us, so what the server asks for is enough
        await asyncio.sleep(again["error"]["retry_ms"] / 1000)
        again = await laptop.ask("chat.send", request)
    assert (again["ok"], again["dup"]) == (True, False), "a refused key was not used up"


async def test_limits_signals_burst_300_per_socket(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    futures = [
        await two.caller.begin("call.signal", two.signal(two.caller, seq=seq))
        for seq in range(SIGNAL_BURST + 250)
    ]
    acks = await asyncio.wait_for(asyncio.gather(*futures), 20)
    codes = ["ok" if ack["ok"] else ack["error"]["code"] for ack in acks]
    assert codes[:SIGNAL_BURST] == ["ok"] * SIGNAL_BURST
    assert set(codes) == {"ok", "limited"}
    assert all(ack["ok"] or ack["error"]["retry_ms"] >= 0 for ack in acks)
    await two.callee.done("call.signal", two.signal(two.callee))


async def test_limits_typing_twice_a_second(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    acks = [await mentor.ask("chat.typing", {"room": pair.room, "on": bool(n % 2)}) for n in range(10)]
    codes = ["ok" if ack["ok"] else ack["error"]["code"] for ack in acks]
    assert codes[0] == "ok"
    assert set(codes) == {"ok", "limited"}


async def test_limits_a_ninth_socket_replaces_the_oldest(connect_python: Fleet, pair: Pair) -> None:
    sockets = [await connect_python(pair.mentor) for _ in range(9)]
    replaced = await sockets[0].next_push("replaced")
    assert replaced["reason"] == "too_many"
    await sockets[0].closed()
    for socket in sockets[1:]:
        assert (await join(socket, pair.room))["ok"]
        assert not socket.all("replaced")


@pytest.mark.faults
async def test_limits_a_reader_that_stalls_is_closed_and_costs_nobody_else(
    connect_python: Fleet, open_raw: OpenRaw, pair: Pair
) -> None:
    """Beyond 512 KiB waiting for one socket it is closed; its peer is away, the sender goes on undisturbed."""
    mentor = await connect_python(pair.mentor)
    own = (await join(mentor, pair.room))["you"]["peer"]
    stalled = await open_raw()
    device = new_key()
    await stalled.connect({"v": 1, "device": device, "token": pair.mentee.token})
    joined = await stalled.ask("room.join", {"room": pair.room, "cursor": None})
    started = await call(mentor, pair.room)
    answered = await stalled.ask(
        "call.join",
        {"room": pair.room, "media": {"audio": True, "video": False, "screen": False}},
        number=2,
    )
    signal = {
        "room": pair.room,
        "call": started["call"],
        "to": joined["you"]["peer"],
        "to_leg": answered["leg"],
        "seq": 0,
        "gen": 0,
        "description": {"type": "offer", "sdp": "a" * 60 * KIB},
    }
    refusals = set()
    for seq in range(SIGNAL_BURST - 5):  # 17 MiB: more than the kernel keeps for a connection on loopback
        ack = await mentor.ask("call.signal", {**signal, "seq": seq})
        if not ack["ok"]:
            refusals.add(ack["error"]["code"])
            if mentor.unread("peer", {"device": device, "state": "away"}):
                break
    await mentor.next_push("peer", {"device": device, "state": "away"}, timeout_s=10)
    assert refusals <= {"peer_away"}
    assert (await join(mentor, pair.room))["you"]["peer"] == own
    await say(mentor, pair.room, "undisturbed")
    back = await connect_python(pair.mentee, device=device)
    log = (await join(back, pair.room))["log"]
    assert [event["text"] for event in log["events"] if event["kind"] == "chat.posted"] == ["undisturbed"]
