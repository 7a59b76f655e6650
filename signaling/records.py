"""What somebody may ask of an operator: a copy of what is kept, or that it is erased (`telementor export`, `erase`)."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgpack
import msgspec
from msgspec import Struct

from rooms import chat, events
from rooms.commands import ChatDelete, ChatReact
from rooms.errors import Conflict, Gone, NotFound, Unavailable
from rooms.events import ChatEdited, ChatPosted, ChatReacted, Event, SessionHappened
from rooms.log import Entry, wire
from rooms.ports import Draft, Request, Rewrite, RoomLog, Stale
from signaling.data_folder import DataFolder
from signaling.open_stores import open_directory, open_store
from signaling.settings import Settings
from signaling.stores.embedded import EmbeddedStore
from signaling.stores.redis_log import RedisRoomLog
from signaling.stores.registry import person_channel
from signaling.stores.store import RETRY_MS, Store

FORMAT = 1
PAGE = 200
PAGE_BYTES = 1_048_576

CLOSED_S = 5.0
"""C4: a revoked log-in's sockets have ended by then."""

TRIES = 5
"""How often a message is looked at again because somebody changed it meanwhile."""


# ------------------------------------------------------------------------------------------------- export


async def export(settings: Settings, slug: str) -> AsyncGenerator[str, None]:
    """A room as JSON Lines: a header, then every event as history shows it. Also of a room that was removed, and beside a
    running server: what is said meanwhile is in it. Raises RoomUnknownError, `Unavailable`."""
    async with open_directory(settings) as directory, open_store(settings) as store:
        record = await directory.kept_room(slug)
        room_log = RedisRoomLog(store)
        (head,) = await room_log.heads([slug])
        if head is None:
            raise Unavailable(retry_ms=RETRY_MS)
        floor = (await room_log.page(slug, before=None, after=None, limit=1, max_bytes=PAGE_BYTES)).floor
        now_ms = time.time_ns() // 1_000_000
        header = {
            "telementor_export": FORMAT,
            "room": slug,
            "title": record.title,
            "people": [
                {"person": member.person, "name": member.name, "role": member.role, "tz": member.tz}
                for member in record.members
            ],
            "epoch": head.epoch or None,
            "floor": floor,
            "sessions": [msgspec.to_builtins(one) for one in await directory.sessions_of(slug)],
            "exported_at": now_ms,
            "exported_at_utc": _utc(now_ms),
        }
        yield json.dumps(header, ensure_ascii=False)
        async for entry in _history(room_log, slug):
            yield json.dumps(_dated(msgpack.unpackb(wire(slug, entry))), ensure_ascii=False)


async def _history(room_log: RoomLog, slug: str) -> AsyncIterator[Entry]:
    """All entries, page by page from the oldest."""
    after, more = "0-0", True
    while more:
        page = await room_log.page(slug, before=None, after=after, limit=PAGE, max_bytes=PAGE_BYTES)
        for entry in page.entries:
            yield entry
            after = entry.id
        more = page.more


def _dated(event: dict[str, Any]) -> dict[str, Any]:
    """The event, with each time a second time for people."""
    dated: dict[str, Any] = {}
    for name, value in event.items():
        dated[name] = _dated(value) if isinstance(value, dict) else value
        if name == "at":
            dated["at_utc"] = _utc(value)
    return dated


def _utc(at_ms: int) -> str:
    """ISO 8601 with milliseconds: 2026-01-31T12:00:00.000Z."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -------------------------------------------------------------------------------------------------- erase


class Erased(Struct, frozen=True):
    """How much there was; of reactions, those that they had not taken back. What an interrupted erasure had done
    before is not counted again."""

    messages: int
    reactions: int
    sessions_cancelled: int
    rooms_closed: int


async def erase(settings: Settings, person: str) -> Erased:
    """The right to erasure: whoever it is can no longer log in, and what they wrote, their reactions, those taken back too,
    their read marks, their name and address are gone, and so is what the sessions of their rooms were about. Those who
    are in a room with them see it happen. What stays says that somebody without a name deleted messages and started calls.
    May be interrupted, and is then called again. Raises PersonUnknownError, `Unavailable`, EmbeddedStoreError."""
    messages = reactions = 0
    async with open_directory(settings) as directory, open_store(settings) as store:
        await directory.credentials.revoke_all(person)
        await _until_they_are_out(store, person)
        room_log = RedisRoomLog(store, settings.replicas)
        sessions = await directory.forget_sessions(person)
        for slug in await directory.kept_rooms_of(person):
            more_messages, more_reactions = await _erase_from(room_log, slug, person)
            messages, reactions = messages + more_messages, reactions + more_reactions
        if settings.redis is None:
            await EmbeddedStore(DataFolder(settings.data)).rewrite()
        rooms = await directory.kept_rooms_of(person)
        # Late: until then they are found by their address, for another attempt.
        closed = await directory.erase(person)
        for slug in rooms:  # what the other side planned until this moment
            await room_log.forget(slug, person, await _of_sessions(room_log, slug))
    return Erased(messages, reactions, sessions, closed)


async def _until_they_are_out(store: Store, person: str) -> None:
    """So that they say nothing more while we go through what they said. A dead server's sockets stay known: for those the
    time that a living one has (C4) is waited out."""
    until = asyncio.get_running_loop().time() + CLOSED_S
    while await store.run("EXISTS", f"{person_channel(person)}:sockets"):
        if asyncio.get_running_loop().time() > until:
            return
        await asyncio.sleep(0.1)


async def _erase_from(room_log: RoomLog, slug: str, person: str) -> tuple[int, int]:
    """The numbers of messages and reactions that were taken back in one room; of all reactions, and of the sessions of the
    room, nothing is left."""
    messages: list[str] = []
    reactions: dict[tuple[str, str], str] = {}
    async for entry in _history(room_log, slug):
        match events.decode(entry.body):
            case ChatPosted(by=by) if by == person:
                messages.append(entry.id)
            case ChatEdited(ref=ref, posted=posted) if posted.by == person:
                messages.append(ref)
            case ChatReacted(by=by, ref=ref, emoji=emoji, on=on) if by == person:
                reactions.pop((ref, emoji), None)
                if on:
                    reactions[ref, emoji] = entry.id
    taken_back = 0
    for ref in messages:
        deletion = ChatDelete(room=slug, key=_key(slug, ref), id=ref)
        await _rewrite(room_log, person, deletion, "delete", chat.delete)
    for (ref, emoji), since in reactions.items():
        reaction = ChatReact(room=slug, key=_key(slug, since), id=ref, emoji=emoji, on=False)
        taken_back += await _rewrite(room_log, person, reaction, "react", chat.react)
    # Who is there has heard it now; nobody else will ask, as the room closes with its person.
    reacted = [
        entry.id
        async for entry in _history(room_log, slug)
        if isinstance(event := events.decode(entry.body), ChatReacted) and event.by == person
    ]
    await room_log.forget(slug, person, [*reacted, *await _of_sessions(room_log, slug)])
    return len(messages), taken_back


async def _of_sessions(room_log: RoomLog, slug: str) -> list[str]:
    return [
        entry.id
        async for entry in _history(room_log, slug)
        if isinstance(events.decode(entry.body), SessionHappened)
    ]


async def _rewrite(
    room_log: RoomLog,
    person: str,
    command: ChatDelete | ChatReact,
    how: Literal["delete", "react"],
    decide: Callable[..., Event],
) -> bool:
    """As if the person had asked for it. False when the message is not there any more."""
    request = Request(person, command.key, f"chat.{how}")
    for _ in range(TRIES):
        found = await room_log.newest(command.room, command.id, request)
        known = events.decode(found.entry.body) if found.entry else None
        try:
            decided = decide(person, command, found.entry, known)
        except (Gone, NotFound):
            return False
        assert found.entry is not None
        try:
            await room_log.write(
                command.room,
                (Draft(decided.key, events.encode(decided)),),
                request=request,
                rewrite=Rewrite(command.id, found.entry.id, how),
            )
        except Stale:
            continue
        return True
    raise Conflict("Somebody keeps changing a message; please try again.")


def _key(slug: str, what: str) -> str:
    """The same in every attempt (L3)."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"telementor erase {slug} {what}"))
