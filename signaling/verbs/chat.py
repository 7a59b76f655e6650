"""`chat.*`: what is written into the log and changed in it, how far somebody has read, and that somebody types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from rooms import chat, events
from rooms import commands as c
from rooms import pushes as p
from rooms.errors import Conflict
from rooms.events import Event
from rooms.ids import event_at
from rooms.ports import Draft, Rate, Request, Rewrite, RoomLog, Stale, Written
from signaling.connection import Connection
from signaling.hub import Hub, Resident, whispered
from signaling.live_steps import DECIDE_TRIES
from signaling.packets import pack
from signaling.stores.registry import Registry
from signaling.verbs.reply import DONE, Light, Reply
from signaling.verbs.seats import Seats

TYPING_S = 6.0
"""L10: somebody who says nothing more has stopped typing."""

TASKS_MAX = 1_000
"""Typing notices for other nodes that may be under way; more are dropped."""


class ChatVerbs:
    """All of them raise as `Seats.of`, and `Unavailable`; what is written into the log `Limited` over `per_s` and `burst`,
    which count for a person in a room, and `Conflict` for a key that was used in another room."""

    def __init__(
        self,
        node: str,
        seats: Seats,
        hub: Hub,
        room_log: RoomLog,
        registry: Registry,
        *,
        per_s: float,
        burst: int,
    ) -> None:
        self._node = node
        self._seats = seats
        self._hub = hub
        self._log = room_log
        self._registry = registry
        self._per_s = per_s
        self._burst = burst
        self._typing: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, connection: Connection, command: c.ChatSend) -> Light:
        return Light(self._send(connection, command))

    async def _send(self, connection: Connection, command: c.ChatSend) -> Reply:
        resident, seat = self._hub.seat_of(connection, command.room) or await self._seats.refuse(
            connection, command.room
        )
        person = connection.identity.person
        request = Request(person, command.key, "chat.send")
        if seat.several:
            await self._claim(resident, request)
        posted = chat.send(person, command)
        written = await self._log.write(
            resident.slug,
            (Draft(posted.key, events.encode(posted)),),
            request=request,
            rate=self._rate(person),
            answers=command.reply_to,
        )
        if seat.several:
            await self._keep(resident, request)
        return _appended(written)

    async def edit(self, connection: Connection, command: c.ChatEdit) -> Reply:
        """Raises as `rooms.chat.edit`, and `Conflict` after `DECIDE_TRIES`."""
        return await self._rewrite(connection, command, "chat.edit", "edit", chat.edit)

    async def delete(self, connection: Connection, command: c.ChatDelete) -> Reply:
        """Raises as `rooms.chat.delete`, and `Conflict` after `DECIDE_TRIES`."""
        return await self._rewrite(connection, command, "chat.delete", "delete", chat.delete)

    async def react(self, connection: Connection, command: c.ChatReact) -> Reply:
        """Raises as `rooms.chat.react`, and `Conflict` after `DECIDE_TRIES`."""
        return await self._rewrite(connection, command, "chat.react", "react", chat.react)

    async def _rewrite(
        self, connection: Connection, command: Any, verb: str, how: Any, decide: Callable[..., Event]
    ) -> Reply:
        """Decide on the newest form of a message, and append only if it still is the newest."""
        resident, seat = await self._seats.of(connection, command.room)
        request = Request(connection.identity.person, command.key, verb)
        if seat.several:
            await self._claim(resident, request)
        for _ in range(DECIDE_TRIES):
            found = await self._log.newest(resident.slug, command.id, request)
            if found.done is not None:
                written = found.done
                break
            known = events.decode(found.entry.body) if found.entry else None
            decided = decide(request.person, command, found.entry, known)
            assert found.entry is not None
            rewrite = Rewrite(ref=command.id, seen=found.entry.id, how=how)
            try:
                written = await self._log.write(
                    resident.slug,
                    (Draft(decided.key, events.encode(decided)),),
                    request=request,
                    rate=self._rate(request.person),
                    rewrite=rewrite,
                )
                break
            except Stale:
                continue
        else:
            raise Conflict
        if seat.several:
            await self._keep(resident, request)
        return _appended(written)

    async def _claim(self, resident: Resident, request: Request) -> None:
        """A key is used once by a person, whatever the room: somebody with several rooms claims it first (L3)."""
        if not await self._registry.claim(request.person, request.key, resident.slug):
            raise Conflict("This key was used in another room.", field="key")

    async def _keep(self, resident: Resident, request: Request) -> None:
        """Only what was written keeps its claim: a flood over the rate must not fill the store."""
        await self._registry.keep(request.person, request.key, resident.slug)

    def _rate(self, person: str) -> Rate:
        return Rate(person=person, per_s=self._per_s, burst=self._burst)

    async def read(self, connection: Connection, command: c.ChatRead) -> Reply:
        resident, seat = await self._seats.of(connection, command.room)
        person = seat.connection.identity.person
        push = pack(p.ReadPush(room=resident.slug, person=person, id=command.id))
        await self._log.mark_read(resident.slug, person, command.id, whispered("read", push))
        return DONE

    async def typing(self, connection: Connection, command: c.ChatTyping) -> Reply:
        resident, seat = await self._seats.of(connection, command.room)
        person = seat.connection.identity.person
        if timer := self._typing.pop((resident.slug, person), None):
            timer.cancel()
        if command.on:
            self._typing[resident.slug, person] = asyncio.get_running_loop().call_later(
                TYPING_S, self._stop_typing, resident, person
            )
        self._show_typing(resident, person, command.on)
        return DONE

    def _stop_typing(self, resident: Resident, person: str) -> None:
        self._typing.pop((resident.slug, person), None)
        self._show_typing(resident, person, on=False)

    def _show_typing(self, resident: Resident, person: str, on: bool) -> None:
        """Here at once; to other nodes in passing, so that a slow store holds nobody up (T3)."""
        push = pack(p.TypingPush(room=resident.slug, person=person, on=on))
        self._hub.whisper(resident, "typing", push, spared=person)
        elsewhere = any(peer.node != self._node for peer in resident.live.peers.values())
        if elsewhere and len(self._tasks) < TASKS_MAX:
            self._own(self._log.whisper(resident.slug, whispered("typing", push, self._node, person)))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, within_s: float) -> None:
        """Waits for typing notices that are under way, then gives up on them."""
        for timer in self._typing.values():
            timer.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=within_s)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _appended(written: Written) -> Reply:
    id_ = written.ids[0]
    return Reply(pack(p.Appended(ok=True, id=id_, at=event_at(id_), dup=written.dup)))
