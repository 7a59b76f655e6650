"""Media over nothing but the contract: two aiortc peers negotiate by `call.signal`, sound and picture flow."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.protocol.phrases import InCall, join
from tests.support.aiortc_peer import AiortcPeer
from tests.support.condition import until
from tests.support.fleet import Fleet, GetBridge
from tests.support.private_network import private_network
from tests.support.server import Server


@pytest_asyncio.fixture(loop_scope="session")
async def isolated(tmp_path_factory: pytest.TempPathFactory, get_bridge: GetBridge) -> AsyncIterator[Fleet]:
    """A server and clients in a network of their own: media never touch the machine's."""
    with private_network():
        server = await Server(tmp_path_factory.mktemp("isolated")).start()
        fleet = Fleet(server, "python", get_bridge)
        yield fleet
        await fleet.close()
        await server.close()


async def test_K2_two_aiortc_peers_hold_a_call(isolated: Fleet) -> None:
    pair = await isolated.server.pair()
    mentor, mentee = await isolated(pair.mentor), await isolated(pair.mentee)
    two = await InCall.begin(pair.room, mentor, mentee)
    caller, callee = AiortcPeer(), AiortcPeer()
    try:
        await mentor.done("call.signal", two.signal(mentor, description=await caller.offer()))
        offer = await mentee.next_push("call.signal", {"from": two.peers[mentor]})
        answer = await callee.answer(offer["description"])
        await mentee.done("call.signal", two.signal(mentee, description=answer))
        answered = await mentor.next_push("call.signal", {"from": two.peers[mentee]})
        await caller.accept(answered["description"])
        await until(
            lambda: caller.flowing() and callee.flowing(), "sound and picture both ways", timeout_s=15
        )

        await isolated.server.restart()
        before = dict(caller.frames), dict(callee.frames)
        await until(
            lambda: (
                caller.frames["video"] > before[0]["video"] + 10
                and callee.frames["video"] > before[1]["video"] + 10
            ),
            "K5: media go on while the sockets are gone",
        )
        back = await isolated(pair.mentor, device=mentor.device)
        assert (await join(back, pair.room))["call"]["id"] == two.call
    finally:
        await caller.close()
        await callee.close()
