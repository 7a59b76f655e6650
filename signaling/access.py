"""Whoever may no longer be here is shown out within 5 s (rule C4): revoked log-ins and tokens, and people who are no longer
of a room. A change is announced on the person's channel where that is possible, and found by a poll in any case."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

import structlog

from rooms.errors import Unavailable
from rooms.membership import RoomRecord
from rooms.ports import Memberships
from rooms.pushes import RevokedPush
from signaling.connection import Connection
from signaling.hub import Hub
from signaling.nodes import Nodes
from signaling.stores.audit import CHANGES_MAX, Audit, Change
from signaling.stores.credentials import Credentials

log = structlog.get_logger()

POLL_S = 2.0

Reason = Literal["revoked", "logout", "removed"]


class Access:
    def __init__(
        self, memberships: Memberships, credentials: Credentials, audit: Audit, nodes: Nodes, hub: Hub
    ) -> None:
        self._memberships = memberships
        self._credentials = credentials
        self._audit = audit
        self._nodes = nodes
        self._hub = hub
        self._last_change = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._last_change = await self._audit.latest_change_id()

    async def run(self) -> None:
        away = False
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._catch_up()
            except Unavailable:
                if not away:
                    log.warning("database is away")
                away = True
            except Exception:  # a change that cannot be applied now is tried again; the node goes on
                log.exception("changes could not be applied")
            else:
                if away:
                    log.info("database is back")
                away = False

    async def _catch_up(self) -> None:
        """Everything that has changed, however much it is."""
        more = True
        while more:
            changes = await self._audit.changes_after(self._last_change)
            for change in changes:
                await self._apply(change)
                self._last_change = max(self._last_change, change.id)
            more = len(changes) == CHANGES_MAX

    def announced(self, person: str) -> None:
        """Somebody logged out, here or through another node."""
        task = asyncio.create_task(self._recheck_now(person))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _recheck_now(self, person: str) -> None:
        with contextlib.suppress(Unavailable):  # then the poll finds it
            await self._recheck(person, "logout")

    async def _apply(self, change: Change) -> None:
        if change.action in ("pair.removed", "moves.set") and change.room is not None:
            await self._recheck_room(change.room)
        elif change.action == "pair.added" and change.room is not None:
            await self._recount(change.room)
        elif change.action == "relay_policy.set":
            for resident in self._hub.residents():
                await self._recheck_room(resident.slug)
        elif change.action == "person.revoked" and change.person is not None:
            await self._recheck(change.person, "revoked")
        elif change.action == "login.ended" and change.person is not None:
            await self._recheck(change.person, "logout")

    async def _recheck(self, person: str, reason: Reason) -> None:
        """Ends those sockets of a person whose log-in or token is no longer good. Raises `Unavailable`: then nothing has
        been found out, and the change stays to be applied."""
        sockets = self._nodes.of_person(person)
        if not sockets:
            return
        alive = await self._credentials.logins_alive([s.identity.login for s in sockets if s.identity.login])
        alive |= await self._credentials.tokens_alive([s.identity.token for s in sockets if s.identity.token])
        for socket in sockets:
            if (socket.identity.login or socket.identity.token) not in alive:
                self._dismiss(socket, reason)

    async def _recount(self, slug: str) -> None:
        """The people of a new room may have had one before, in which they sit: their keys are claimed from now on (L3)."""
        record = await self._memberships.room(slug)
        for member in record.members if record else ():
            if member.rooms > 1:
                for connection in self._nodes.of_person(member.person):
                    self._hub.has_several(connection)

    async def _recheck_room(self, slug: str) -> None:
        """Ends the sockets that are in a room of which their person is no more."""
        resident = self._hub.resident(slug)
        if resident is None:
            return
        resident.record = await self._memberships.room(slug) or RoomRecord(slug, "", ())
        members = {member.person for member in resident.record.members}
        for seat in list(resident.seats.values()):
            if seat.connection.identity.person not in members:
                self._dismiss(seat.connection, "removed", slug)

    def _dismiss(self, socket: Connection, reason: Reason, room: str | None = None) -> None:
        log.info("socket revoked", reason=reason)
        socket.dismiss(RevokedPush(reason=reason, room=room))
