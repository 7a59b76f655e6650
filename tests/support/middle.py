"""Somebody in the middle: two aiortc peers, each in a call with one of two people, handing on what they receive.

Each side sees and hears the other, and each side's encryption ends here. That is what the safety code is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from tests.support.aiortc_peer import AiortcMember, AiortcPeer
from tests.support.client import Options, PythonClient
from tests.support.people import Person


class HandedOn(MediaStreamTrack):
    """A track of one side, for the other side, as soon as it is there; that of a newer connection takes its place."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._source: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()

    def comes_from(self, track: MediaStreamTrack) -> None:
        if self._source.done():
            self._source = asyncio.get_running_loop().create_future()
        self._source.set_result(track)

    async def recv(self) -> Any:
        while True:
            source = await self._source
            try:
                return await source.recv()
            except MediaStreamError:
                if self._source.done() and self._source.result() is source:
                    self._source = asyncio.get_running_loop().create_future()


class Half(AiortcPeer):
    """One of the two ends in the middle: what it receives goes out at the other."""

    def __init__(self, sent: list[HandedOn], received: list[HandedOn]) -> None:
        self._received = {track.kind: track for track in received}
        super().__init__(sent=sent)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._received[track.kind].comes_from(track)


@asynccontextmanager
async def in_the_middle(url: str, *calls: tuple[str, Person]) -> AsyncIterator[None]:
    """Takes part in two calls, (room, as whom) each; a failure of either end shows at the end of the block."""
    to_one, to_other = ([HandedOn("audio"), HandedOn("video")] for _ in calls)
    makers = (lambda: Half(to_one, to_other), lambda: Half(to_other, to_one))
    members = []
    for make, (room, person) in zip(makers, calls, strict=True):
        client = await PythonClient(url, person, Options()).connect()
        members.append(await AiortcMember(client, room, make=make).join())
    try:
        yield
    finally:
        for member in members:
            await member.close()
            await member.client.drop()
