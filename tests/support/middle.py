"""Somebody in the middle: two aiortc peers, each in a call with one of two people, handing on what they receive.

Each side sees and hears the other, and each side's encryption ends here. That is what the safety code is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiortc import MediaStreamTrack

from tests.support.aiortc_peer import AiortcPeer
from tests.support.client import Options, PythonClient
from tests.support.people import Person


class HandedOn(MediaStreamTrack):
    """A track of one side, for the other side, as soon as it is there."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.source: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()

    async def recv(self) -> Any:
        source = await self.source
        return await source.recv()


class Half(AiortcPeer):
    """One of the two ends in the middle: what it receives goes out at the other."""

    def __init__(self, client: PythonClient, sent: list[HandedOn], received: list[HandedOn]) -> None:
        self._received = {track.kind: track for track in received}
        super().__init__(client, sent)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._received[track.kind].source.set_result(track)


@asynccontextmanager
async def in_the_middle(url: str, *calls: tuple[str, Person]) -> AsyncIterator[None]:
    """Takes part in two calls, (room, as whom) each; a failure of either end shows at the end of the block."""
    to_one, to_other = ([HandedOn("audio"), HandedOn("video")] for _ in calls)
    clients = [await PythonClient(url, person, Options()).connect() for _, person in calls]
    one, other = clients
    halves = [Half(one, to_one, to_other), Half(other, to_other, to_one)]  # type: ignore[arg-type]
    tasks = [asyncio.create_task(half.take_part(room)) for half, (room, _) in zip(halves, calls, strict=True)]
    try:
        yield
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for half, client in zip(halves, clients, strict=True):
            await half.close()
            await client.drop()
