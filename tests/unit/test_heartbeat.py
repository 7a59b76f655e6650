"""When pings go out, and when who does not answer them is given up: by the loop's clock, which stands still here."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from signaling.engine import TICK_S, EngineServer

EVERY_S, TIMEOUT_S = 10, 8


class Socket:
    """What the heartbeat knows of one."""

    def __init__(self) -> None:
        self.heard, self.closing = True, False
        self.pinged_s: list[float] = []
        self.ended_s: float | None = None

    def ping(self) -> None:
        self.heard = False
        self.pinged_s.append(asyncio.get_running_loop().time())

    def end(self) -> None:
        self.closing, self.ended_s = True, asyncio.get_running_loop().time()


async def beats(monkeypatch: pytest.MonkeyPatch, socket: Socket, until_s: float, answers: int) -> None:
    """The beat of so many seconds, for one that was opened at 0 and answers so many pings at once."""
    loop = asyncio.get_running_loop()
    server = EngineServer(
        async_mode="aiohttp",
        admit=lambda _: None,
        backlog_bytes=1_000,
        on_overflow=lambda: None,
        ping_interval=EVERY_S,
        ping_timeout=TIMEOUT_S,
    )
    one: Any = socket
    with monkeypatch.context() as patched:
        for beat in range(int(until_s / TICK_S)):
            patched.setattr(loop, "time", lambda beat=beat: beat * TICK_S)
            if beat == 0:
                server._watch_over(one)
            server._tick()
            socket.heard = socket.heard or len(socket.pinged_s) <= answers
            if server._ticking is not None:
                server._ticking.cancel()


async def test_a_ping_goes_out_in_each_interval_and_never_later(monkeypatch: pytest.MonkeyPatch) -> None:
    socket = Socket()
    await beats(monkeypatch, socket, 6 * EVERY_S, answers=100)
    times_s = [0, *socket.pinged_s]
    apart_s = [later - before for before, later in itertools.pairwise(times_s)]
    assert len(apart_s) >= 5
    assert all(EVERY_S - TICK_S <= apart <= EVERY_S for apart in apart_s)
    assert socket.ended_s is None


@pytest.mark.parametrize("answers", [0, 3])
async def test_who_went_silent_is_noticed_within_interval_and_time_limit(
    monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    socket = Socket()
    await beats(monkeypatch, socket, 8 * EVERY_S, answers=answers)
    heard_last_s = ([0.0, *socket.pinged_s])[answers]
    assert len(socket.pinged_s) == answers + 1, "no ping to who owes an answer"
    assert socket.ended_s is not None
    assert EVERY_S + TIMEOUT_S - TICK_S <= socket.ended_s - heard_last_s <= EVERY_S + TIMEOUT_S + TICK_S
