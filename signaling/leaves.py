"""What a socket that is gone leaves behind, taken back: its seats, its network check, its peers in rooms, its entry in the
registry. Nothing of it before its moment is over (`departures.py`), and then for as long as the store is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from media.echo import EchoPeers
from rooms import presence
from rooms.live import Decision, Live
from rooms.membership import RoomRecord
from signaling.connection import Connection
from signaling.departures import Departure, Departures
from signaling.hub import Hub
from signaling.live_steps import LiveSteps
from signaling.nodes import Nodes
from signaling.unfinished import Unfinished

LEAVES_MAX = 20_000
"""Sockets and peers that may wait for the store to be taken back. None is ever given up: a socket's entry on a node that
lives would keep its person online for ever. So beyond this nobody is let in until some are done (`overdue`), and only
those who are here already may still add theirs. A node that ends leaves them to its lease."""

LEAVES_AT_ONCE = 64
"""Sockets that are taken back at the same time. When thousands drop at once, those who come back go first: whoever is back
before its old socket's turn was never away, and nothing is written for it."""


class Leaves:
    """`away_ms`: how long a peer whose socket is gone may come back to what it had (R2)."""

    def __init__(
        self,
        *,
        departures: Departures,
        hub: Hub,
        nodes: Nodes,
        echoes: EchoPeers,
        steps: LiveSteps,
        away_ms: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._departures = departures
        departures.on_due = self._departed
        self._hub = hub
        self._nodes = nodes
        self._echoes = echoes
        self._steps = steps
        self._away_ms = away_ms
        self._now_ms = now_ms
        # Where each socket has, or may have, a peer: a join of unknown outcome is taken back, too.
        self._entered: dict[str, dict[str, tuple[RoomRecord, str]]] = {}
        self._leaves = Unfinished()
        self._to_leave: deque[Departure] = deque()
        self._leavers = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def entered(self, connection: Connection, record: RoomRecord, peer: str) -> None:
        """From now on the socket may have this peer in that room."""
        self._entered.setdefault(connection.id, {})[record.slug] = (record, peer)

    def left(self, connection: Connection, slug: str) -> None:
        """It has none there any more."""
        self._entered.get(connection.id, {}).pop(slug, None)

    def disconnected(self, connection: Connection) -> None:
        """A socket is gone: its peers are away for the grace, its person perhaps offline."""
        for resident in self._hub.rooms_of(connection):
            self._hub.unsit(resident, connection)
        if self._echoes.owned_by(connection.id):
            self._own(self._echoes.end(connection.id))
        peers = list(self._entered.pop(connection.id, {}).values())
        self._departures.add(connection.identity.person, connection.id, peers, self._now_ms())

    def away_now(self, socket: str) -> None:
        """A socket has gone, and for its person there is no moment: somebody has to see that they are away."""
        self._departures.hurry(socket)

    @property
    def overdue(self) -> bool:
        """Whether too many who are gone wait for the store already."""
        waiting = len(self._departures) + len(self._leaves) + len(self._to_leave) + self._leavers
        return waiting >= LEAVES_MAX

    def _departed(self, gone: Departure) -> None:
        """Mostly a newer socket has all that this one had, and there is nothing to write."""
        gone.peers = [(record, peer) for record, peer in gone.peers if not self._is_taken(record, peer, gone)]
        if gone.peers or gone.registered:
            self._to_leave.append(gone)
            if self._leavers < LEAVES_AT_ONCE:
                self._leavers += 1
                self._own(self._take_back())
        self._nodes.deafen(gone.person)

    def _is_taken(self, record: RoomRecord, peer: str, gone: Departure) -> bool:
        """Once a newer socket has a peer it stays so: none takes it twice."""
        resident = self._hub.resident(record.slug)
        known = resident.live.peers.get(peer) if resident else None
        return known is not None and known.socket != gone.socket

    async def _take_back(self) -> None:
        """One of a few that take those who wait by turns. Thousands that waited, a task each, would all have to be ended at
        a stop."""
        try:
            while self._to_leave:
                await self._drop(self._to_leave.popleft())
        finally:
            self._leavers -= 1

    async def _drop(self, gone: Departure) -> None:
        for record, peer in gone.peers:
            drop = partial(_dropped, peer=peer, gone=gone, away_ms=self._away_ms)
            await self._leaves.attempt((gone.socket, peer), partial(self._steps.commit, record, drop))
        if gone.registered:
            leave = partial(self._nodes.leave, gone.person, gone.socket)
            await self._leaves.attempt(gone.socket, leave)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, within_s: float) -> None:
        """Waits for leaves that are under way, then gives up on them: the lease of this node covers them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._departures.hurry_all()
                while self._tasks:
                    await asyncio.wait(list(self._tasks))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, self._leaves.stop(), return_exceptions=True)


def _dropped(live: Live, peer: str, gone: Departure, away_ms: int) -> Decision:
    return Decision(presence.drop(live, peer, gone.socket, gone.at_ms, away_ms))
