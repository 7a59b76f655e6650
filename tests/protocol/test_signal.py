"""K2–K4: signals between two peers, what they send, relay credentials."""

from __future__ import annotations

import asyncio
import itertools

from tests.protocol.conftest import OpenServer
from tests.protocol.phrases import (
    CAMERA,
    OFFER,
    SOUND,
    InCall,
    call,
    history,
    join,
    meet,
    new_key,
    say,
)
from tests.support.condition import until
from tests.support.fleet import Fleet
from tests.support.people import Pair
from tests.support.shapes import Ice, shaped

CANDIDATE = {
    "candidate": "candidate:1 1 UDP 2122260223 192.0.2.7 51234 typ host",
    "sdpMid": "0",
    "sdpMLineIndex": 0,
    "usernameFragment": "abcd",
}


async def test_K2_a_signal_is_stamped_and_carried_unchanged(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    offer = {"type": "offer", "sdp": "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n"}
    await two.caller.done("call.signal", two.signal(two.caller, seq=3, gen=2, description=offer))
    heard = await two.callee.next_push("call.signal")
    stamped = {
        "room": pair.room,
        "call": two.call,
        "from": two.peers[two.caller],
        "from_leg": two.legs[two.caller],
        "to_leg": two.legs[two.callee],
        "seq": 3,
        "gen": 2,
        "description": offer,
    }
    assert {name: value for name, value in heard.items() if value is not None} == stamped
    candidates = [CANDIDATE, {"candidate": "", "sdpMid": "0"}]
    await two.callee.done("call.signal", two.signal(two.callee, candidates=candidates))
    heard = await two.caller.next_push("call.signal")
    assert heard["from"] == two.peers[two.callee]
    assert heard["candidates"][0] == CANDIDATE
    assert heard["candidates"][1]["candidate"] == ""
    assert heard.get("description") is None


async def test_K2_signals_keep_their_order_both_ways(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    pending = []
    for seq in range(60):
        for client in (two.caller, two.callee):
            content = {"candidates": [CANDIDATE]} if seq % 3 else {}
            pending.append(await client.begin("call.signal", two.signal(client, seq=seq, **content)))
    assert all(ack["ok"] for ack in await asyncio.wait_for(asyncio.gather(*pending), 10))
    for client in (two.caller, two.callee):
        await client.next_push("call.signal", {"seq": 59})
        assert [push["seq"] for push in client.all("call.signal")] == list(range(60))


async def test_K2_a_signal_reaches_only_the_peer_it_is_for(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    tablet, second = await connect(pair.mentee), await connect(pair.mentor)
    await join(tablet, pair.room)
    await join(second, pair.room)
    await two.caller.done("call.signal", two.signal(two.caller))
    await two.callee.next_push("call.signal")
    marker = await say(two.caller, pair.room, "marker")
    for client in (tablet, second, two.caller):
        await client.next_push("log", {"id": marker["id"]})
        assert not client.all("call.signal")


async def test_K2_a_peer_that_is_away_cannot_be_signalled(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    peer = two.peers[two.callee]
    await two.callee.drop()
    await two.caller.next_push("peer", {"peer": peer, "state": "away"})
    assert (await two.caller.refused("call.signal", two.signal(two.caller)))["code"] == "peer_away"
    back = await connect(pair.mentee, device=two.callee.device)
    await join(back, pair.room)
    await call(back, pair.room, call=two.call, leg=two.legs[two.callee])
    await two.caller.next_push("peer", {"peer": peer, "state": "here"})
    await two.caller.done("call.signal", two.signal(two.caller, seq=1))
    assert (await back.next_push("call.signal"))["seq"] == 1


async def test_K2_who_is_loaded_anew_can_tell_what_was_for_the_leg_before(connect: Fleet, pair: Pair) -> None:
    """Until it joins the call anew the server cannot know whether it still holds its connections (K1a, K5)."""
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    old = two.legs[two.callee]
    back = await connect(pair.mentee, device=two.callee.device)
    await join(back, pair.room)
    await two.caller.done("call.signal", two.signal(two.caller, seq=1))
    assert (await back.next_push("call.signal"))["to_leg"] == old
    new = (await call(back, pair.room, call=two.call))["leg"]
    error = await two.caller.refused("call.signal", two.signal(two.caller, seq=2))
    assert (error["code"], error["current"]) == ("gone", {"leg": new})
    await two.caller.next_push("peer", {"peer": two.peers[two.callee], "leg": new})
    await two.caller.done("call.signal", two.signal(two.caller, seq=3, to_leg=new))
    assert (await back.next_push("call.signal", {"seq": 3}))["to_leg"] == new
    assert [push["seq"] for push in back.all("call.signal")] == [1, 3]


async def test_K2_whoever_is_held_signals_for_is_told_to_be_away_and_here(connect: Fleet, pair: Pair) -> None:
    """However soon they are back (R2): the sender waits for `here`."""
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    peer, device = two.peers[two.callee], two.callee.device
    await two.callee.drop()
    seq = itertools.count(1)

    async def refused() -> bool:
        answer = await two.caller.ask("call.signal", two.signal(two.caller, seq=next(seq)))
        return bool(not answer["ok"] and answer["error"]["code"] == "peer_away")

    await until(refused, "the server to notice")
    back = await connect(pair.mentee, device=device)
    await join(back, pair.room)
    await two.caller.next_push("peer", {"peer": peer, "state": "away"})
    await two.caller.next_push("peer", {"peer": peer, "state": "here"})


async def test_K2_wrong_addresses_are_refused_each_with_its_code(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    tablet = await connect(pair.mentee)
    outside = (await join(tablet, pair.room))["you"]["peer"]
    old = two.legs[two.callee]
    await call(two.callee, pair.room, call=two.call)
    cases = {
        "nobody": ({"to": "no-such-peer"}, {"not_found"}),
        "outside the call": ({"to": outside}, {"peer_away"}),
        "an old leg": ({"to_leg": old}, {"gone"}),
        "another call": ({"call": new_key()}, {"gone", "not_found", "conflict"}),
        "oneself": ({"to": two.peers[two.caller]}, {"not_found", "invalid", "peer_away", "gone"}),
    }
    for name, (change, codes) in cases.items():
        error = await two.caller.refused("call.signal", two.signal(two.caller, **change))
        assert error["code"] in codes, (name, error)
    error = await tablet.refused("call.signal", two.signal(two.caller, to=two.peers[two.caller]))
    assert error["code"] in {"conflict", "forbidden"}, "who is not in the call does not signal"
    await two.caller.done("call.signal", two.signal(two.caller, to_leg=old + 1, seq=9))
    await two.callee.next_push("call.signal", {"seq": 9})
    assert len(two.callee.all("call.signal")) == 1


async def test_K2_the_content_of_a_signal_is_stored_nowhere(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    secret = f"secret-{new_key()}"
    offer = {"type": "offer", "sdp": secret}
    await two.caller.done("call.signal", two.signal(two.caller, description=offer))
    await two.callee.next_push("call.signal")
    marker = await say(two.caller, pair.room, f"marker-{secret[7:]}")
    assert secret not in str(await history(two.caller, pair.room))
    server = connect.server
    files = [file for file in server.data.rglob("*") if file.is_file()]
    holding = [file.name for file in files if secret.encode() in file.read_bytes()]
    assert holding == []
    assert secret not in server.log
    assert [file for file in files if f"marker-{secret[7:]}".encode() in file.read_bytes()], (
        "the search itself finds what is stored",
        marker,
    )


async def test_K3_the_mentee_is_the_polite_one(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await connect(pair.mentor), await connect(pair.mentee)
    assert (await join(mentor, pair.room))["you"]["polite"] is False
    assert (await join(mentee, pair.room))["you"]["polite"] is True


async def test_K3_a_peer_without_rollback_is_let_in(connect: Fleet, pair: Pair) -> None:
    mentor, mentee = await meet(connect, pair)
    await call(mentor, pair.room, rollback=True)
    await call(mentee, pair.room, rollback=False)


async def test_K4_media_changes_are_pushed_and_only_inside_the_call(connect: Fleet, pair: Pair) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    media = {"audio": False, "video": False, "screen": True, "streams": {"camera": "c", "screen": "s"}}
    request = {"room": pair.room, "call": two.call, "media": media}
    await two.callee.done("call.media", request)
    told = await two.caller.next_push("peer", lambda push: bool(push["media"] and push["media"]["screen"]))
    assert told["media"] == media
    await two.callee.done("call.leave", {"room": pair.room, "call": two.call})
    assert (await two.callee.refused("call.media", request))["code"] in {"conflict", "gone"}


async def test_K4_a_weak_link_is_told_and_is_over_when_it_is_not_said_any_more(
    connect: Fleet, pair: Pair
) -> None:
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    request = {"room": pair.room, "call": two.call}
    await two.callee.done("call.media", {**request, "media": {**SOUND, "weak": True}})
    told = await two.caller.next_push("peer", lambda push: bool(push["media"] and not push["media"]["video"]))
    assert told["media"] == {**SOUND, "weak": True}
    await two.callee.done("call.media", {**request, "media": CAMERA})
    told = await two.caller.next_push("peer", lambda push: bool(push["media"] and push["media"]["video"]))
    assert told["media"] == CAMERA, "absent means no"


async def test_K4_ice_is_renewed_on_request(connect: Fleet, pair: Pair) -> None:
    mentor, _ = await meet(connect, pair)
    renewed = await mentor.done("ice", {"room": pair.room})
    shaped(renewed, Ice)
    assert renewed["policy"] == "all"
    assert renewed["servers"] == [], "no third party unless the operator names one"


async def test_K4_relay_credentials_live_for_ten_minutes_at_least(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    server = await own_server(
        TURN_URLS="turn:relay.example.org:3478?transport=udp",
        TURN_SECRET="only for these tests",
        RELAY_POLICY="relay",
    )
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    joined = await join(mentor, pair.room)
    renewed = shaped(await mentor.done("ice", {"room": pair.room}), Ice)
    for ice in (shaped(joined["ice"], Ice), renewed):
        relay = next(one for one in ice.servers if "turn:" in str(one.urls))
        assert relay.username
        assert relay.credential
        assert "only for these tests" not in relay.credential
        assert ice.policy == "relay"
        assert ice.expires_at
        assert ice.expires_at - joined["log"].get("at", 0) > 0
    assert "only for these tests" not in server.log


async def test_K2_signals_of_a_muted_content_type_are_refused(connect: Fleet, pair: Pair) -> None:
    """`pranswer` and `answer` pass like `offer`; what W3C does not know does not."""
    two = await InCall.begin(pair.room, await connect(pair.mentor), await connect(pair.mentee))
    for kind in ("answer", "pranswer"):
        await two.caller.done("call.signal", two.signal(two.caller, description={**OFFER, "type": kind}))
    error = await two.caller.refused(
        "call.signal", two.signal(two.caller, description={**OFFER, "type": "bye"})
    )
    assert (error["code"], error["field"]) == ("invalid", "description.type")


async def test_K4_the_programme_can_have_its_calls_relayed(
    connect_python: Fleet, own_server: OpenServer
) -> None:
    """Whoever is in the room hears of it with the next credentials; several relays are told of as they are set."""
    urls = [
        "turn:relay.example.org?transport=udp",
        "turn:relay.example.org:3479?transport=tcp",
        "turns:r.example.org:443",
    ]
    server = await own_server(TURN_URLS=",".join(urls), TURN_SECRET="only for these tests")
    pair = await server.pair()
    mentor = await connect_python(pair.mentor, server=server)
    assert (await join(mentor, pair.room))["ice"]["policy"] == "all"
    await server.command("relay", "--policy", "relay")

    async def told() -> bool:
        return (await mentor.done("ice", {"room": pair.room}))["policy"] == "relay"

    await until(told, "the new policy", timeout_s=5)
    mentee = await connect_python(pair.mentee, server=server)
    ice = (await join(mentee, pair.room))["ice"]
    assert ice["policy"] == "relay"
    assert ice["servers"][0]["urls"] == urls
    assert ice["servers"][0]["username"].endswith(f":{pair.mentee.person}")
