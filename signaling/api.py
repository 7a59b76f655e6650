"""Sessions, profiles and free times over HTTP (PROTOCOL.md, "Over HTTP"): the other door to what the sockets ask.

A body becomes the very command of the socket, with the names that its path holds, so validation, bounds and errors are the
same. Reading changes nothing (S7). Strangers get 404 for everything. `ROUTES` is the table, `openapi` describes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web

from rooms import availability, bounds
from rooms import commands as c
from rooms.availability import Hours, Search
from rooms.bounds import Limits
from rooms.errors import Invalid, NotFound, TooLarge, Unauthenticated, Unavailable
from rooms.membership import RoomRecord
from rooms.portal import (
    UNREAD_MAX,
    FeedMade,
    Me,
    Partner,
    ProfileChange,
    ProfileShown,
    RoomCard,
    SessionsShown,
    SlotsAsked,
    SlotsShown,
)
from rooms.ports import Memberships, RoomLog
from rooms.pushes import SessionShown
from rooms.schedule import BUCKET_MS, Rules
from rooms.session import MINUTE_MS, Session
from signaling.addresses import AddressRate
from signaling.answers import field_of
from signaling.buckets import TokenBuckets
from signaling.calendar import Shown, feed_ics, organizer_address, session_ics
from signaling.door import Door
from signaling.mail import Sender
from signaling.openapi import NAME, Route, document
from signaling.sessions import Sessions
from signaling.stores.calendars import Calendars, Entry
from signaling.stores.profiles import Profiles

BODY_BYTES: Final = 16_384
"""More than the longest agenda, or the hours of anybody."""

BODY_S: Final = 10.0
"""A body that has not come whole by then does not come."""

PEOPLE_MAX: Final = 10_000
"""People whose rate is known at a time; beyond it the one who has been silent longest starts anew."""

FEED_MAX: Final = 500
FEED_PAST_MS: Final = 30 * 24 * 60 * MINUTE_MS
"""A feed has the sessions of the last 30 days and those to come, so many at most."""


class Api:
    """`online` says which people have a socket anywhere, `zone_taken` tells somebody's rooms of their new zone. `sender`:
    how the server is called, and who writes its invitations."""

    def __init__(
        self,
        *,
        door: Door,
        addresses: AddressRate,
        per_s: float,
        burst: int,
        memberships: Memberships,
        profiles: Profiles,
        sessions: Sessions,
        room_log: RoomLog,
        online: Callable[[Collection[str]], Awaitable[set[str]]],
        zone_taken: Callable[[str, str], Awaitable[None]],
        limits: Limits,
        rules: Rules,
        calendars: Calendars,
        sender: Sender,
        now_ms: Callable[[], int],
    ) -> None:
        self._door = door
        self._addresses = addresses
        self._people = TokenBuckets(per_s, burst, PEOPLE_MAX)
        self._memberships = memberships
        self._profiles = profiles
        self._sessions = sessions
        self._log = room_log
        self._online = online
        self._zone_taken = zone_taken
        self._limits = limits
        self._rules = rules
        self._calendars = calendars
        self._sender = sender
        self._writing_feed = asyncio.Lock()
        self._now_ms = now_ms

    def routes(self) -> list[web.RouteDef]:
        return [
            web.route(route.method, _pattern(route.path), partial(self._answer, route)) for route in ROUTES
        ]

    async def _answer(self, route: Route, request: web.Request) -> web.Response:
        self._addresses.take(request)
        person = ""
        if route.login == "tab":
            person = await self._door.person(request)
            self._people.take(person, time.monotonic())
        answer = await route.handler(self, request, person)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type=str(route.answer), charset="utf-8")
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    async def description(self, *_: object) -> bytes:
        return msgspec.json.encode(document(ROUTES))

    # The first page

    async def me(self, _: web.Request, person: str) -> Me:
        """While the store is away nobody is online and nothing unread: what the database says is shown all the same."""
        profile = await self._profiles.profile(person)
        records = await self._profiles.rooms(person)
        slugs = [record.slug for record in records]
        online: set[str] = set()
        unread = [0] * len(slugs)
        with contextlib.suppress(Unavailable):
            online, unread = await asyncio.gather(
                self._online({other for record in records for other in record.others(person)}),
                self._log.unread(slugs, person, UNREAD_MAX),
            )
        upcoming = await self._sessions.next_of(slugs)
        cards = [
            _card(record, person, online, upcoming.get(record.slug), count)
            for record, count in zip(records, unread, strict=True)
        ]
        return Me(ok=True, person=profile, rooms=cards)

    async def change_profile(self, request: web.Request, person: str) -> ProfileShown:
        change: ProfileChange = _as(ProfileChange, await _body(request))
        change.check()
        shown = await self._profiles.change(person, change)
        if change.tz is not None:
            with contextlib.suppress(Unavailable):  # then they see it when they join again
                await self._zone_taken(person, change.tz)
        return ProfileShown(ok=True, person=shown)

    async def set_hours(self, request: web.Request, person: str) -> ProfileShown:
        hours: Hours | None = _as(Hours | None, await _body(request))
        if hours is not None:
            availability.check(hours)
        return ProfileShown(ok=True, person=await self._profiles.set_hours(person, hours))

    async def make_feed(self, _: web.Request, person: str) -> FeedMade:
        secret = await self._profiles.new_feed(person)
        return FeedMade(ok=True, url=f"{self._sender.public_url}/calendar/{secret}.ics")

    async def end_feed(self, _: web.Request, person: str) -> ProfileShown:
        return ProfileShown(ok=True, person=await self._profiles.end_feed(person))

    # Sessions of a room

    async def slots(self, request: web.Request, person: str) -> SlotsShown:
        record = await self._room(request, person)
        asked: SlotsAsked = _as(SlotsAsked, _query(request), strict=False)
        bounds.minutes(asked.minutes, self._limits)
        if asked.session is not None:
            await self._of_room(record, person, asked.session)
        search = Search(availability.as_date(asked.from_, "from"), asked.days, asked.minutes, asked.tz)
        window = search.window()
        after = window.end + asked.minutes * MINUTE_MS + self._rules.buffer_ms
        persons = [member.person for member in record.members]
        busy = await self._profiles.busy(
            persons, window.start // BUCKET_MS, -(-after // BUCKET_MS), asked.session
        )
        people = await self._profiles.hours(persons)
        found = availability.slots(search, busy, people, self._now_ms(), self._rules)
        return SlotsShown(ok=True, tz=asked.tz, slots=found)

    async def sessions(self, request: web.Request, person: str) -> SessionsShown:
        slug = request.match_info["room"]
        return SessionsShown(ok=True, sessions=await self._sessions.of_room(person, slug))

    async def book(self, request: web.Request, person: str) -> SessionShown:
        names = {"room": request.match_info["room"]}
        command: c.SessionBook = _command(c.SessionBook, await _body(request), names)
        return SessionShown(ok=True, session=await self._sessions.book(person, command))

    # One session

    async def session(self, request: web.Request, person: str) -> SessionShown:
        session = await self._sessions.session(person, request.match_info["session"])
        return SessionShown(ok=True, session=session)

    async def change(self, request: web.Request, person: str) -> SessionShown:
        asked = await _body(request)
        kind = c.SessionAgenda if isinstance(asked, dict) and "agenda" in asked else c.SessionMove
        return await self._decide(kind, request, person, asked)

    async def cancel(self, request: web.Request, person: str) -> SessionShown:
        """Some clients send no body with a DELETE: then the query says it."""
        if request.can_read_body:
            return await self._decide(c.SessionCancel, request, person, await _body(request))
        return await self._decide(c.SessionCancel, request, person, _query(request), strict=False)

    async def propose(self, request: web.Request, person: str) -> SessionShown:
        return await self._decide(c.SessionPropose, request, person, await _body(request))

    async def answer(self, request: web.Request, person: str) -> SessionShown:
        return await self._decide(c.SessionAnswer, request, person, await _body(request))

    async def extend(self, request: web.Request, person: str) -> SessionShown:
        return await self._decide(c.SessionExtend, request, person, await _body(request))

    async def end(self, request: web.Request, person: str) -> SessionShown:
        return await self._decide(c.SessionEnd, request, person, await _body(request))

    # Calendars

    async def calendar_file(self, request: web.Request, _: str) -> bytes:
        """A plain link names no log-in: whoever of the browser's people has this session gets it."""
        persons = await self._door.persons(request)
        if not persons:
            raise Unauthenticated
        entry = await self._calendars.entry(persons, request.match_info["session"])
        if entry is None:
            raise NotFound("There is no such session, or it is not yours.", field="session")
        self._people.take(entry.reader.id, time.monotonic())
        return session_ics(self._shown(entry), "PUBLISH", self._now_ms())

    async def feed(self, request: web.Request, _: str) -> bytes:
        """Writing a long one takes up to half a second: beside everything else, and one at a time."""
        person = await self._profiles.of_feed(request.match_info["secret"])
        if person is None:
            raise NotFound
        self._people.take(person, time.monotonic())
        profile = await self._profiles.profile(person)
        now = self._now_ms()
        entries = await self._calendars.feed(person, now - FEED_PAST_MS, FEED_MAX)
        shown = [self._shown(entry) for entry in entries]
        async with self._writing_feed:
            return await asyncio.to_thread(feed_ics, shown, profile.language, now)

    def _shown(self, entry: Entry) -> Shown:
        return Shown(
            reader=entry.reader,
            partner=entry.partner,
            room_url=f"{self._sender.public_url}/r/{entry.session.room}",
            session=entry.session,
            organizer=organizer_address(self._sender.mail_from, entry.organizer),
        )

    # The parts

    async def _decide(
        self,
        kind: type[c.SessionCommand],
        request: web.Request,
        person: str,
        asked: object,
        *,
        strict: bool = True,
    ) -> SessionShown:
        session = await self._sessions.session(person, request.match_info["session"])
        names = {"room": session.room, "session": session.id}
        command: c.SessionCommand = _command(kind, asked, names, strict=strict)
        return SessionShown(ok=True, session=await self._sessions.change(person, command))

    async def _of_room(self, record: RoomRecord, person: str, session_id: str) -> None:
        """Else what is free would tell of a session in another room. Raises `NotFound`."""
        known = re.fullmatch(NAME, session_id) and await self._sessions.session(person, session_id)
        if not known or known.room != record.slug:
            raise NotFound("There is no such session in this room.", field="session")

    async def _room(self, request: web.Request, person: str) -> RoomRecord:
        """Raises `NotFound` for a room that is not there and for a stranger alike."""
        record = await self._memberships.room(request.match_info["room"])
        if record is None:
            raise NotFound("This room does not exist, or it is not yours.", field="room")
        record.member(person)
        return record


ROUTES: Final = (
    Route("GET", "/api/me", Api.me, "Oneself, and one's rooms with partner, next session and unread messages", Me),
    Route("PATCH", "/api/me", Api.change_profile, "Set zone or language", ProfileShown, body=(ProfileChange,)),
    Route("PUT", "/api/me/hours", Api.set_hours, "Say when one has time; null: not said", ProfileShown, body=(Hours, None)),
    Route("POST", "/api/me/feed", Api.make_feed, "A new secret address for one's calendar; the old one ends", FeedMade),
    Route("DELETE", "/api/me/feed", Api.end_feed, "End the address for one's calendar", ProfileShown),
    Route("GET", "/api/rooms/{room}/slots", Api.slots, "Starts that are free for both", SlotsShown, query=SlotsAsked),
    Route("GET", "/api/rooms/{room}/sessions", Api.sessions, "Sessions of a room", SessionsShown),
    Route("POST", "/api/rooms/{room}/sessions", Api.book, "Ask for a session", SessionShown, body=(c.SessionBook,)),
    Route("GET", "/api/sessions/{session}.ics", Api.calendar_file, "A calendar file of it", "text/calendar", login="any"),
    Route("GET", "/api/sessions/{session}", Api.session, "A session", SessionShown),
    Route(
        "PATCH", "/api/sessions/{session}", Api.change, "Move it, or change what it is about", SessionShown,
        body=(c.SessionMove, c.SessionAgenda),
    ),
    Route(
        "DELETE", "/api/sessions/{session}", Api.cancel, "Cancel it; the query may stand for the body", SessionShown,
        body=(c.SessionCancel,), query=c.SessionCancel,
    ),
    Route(
        "POST", "/api/sessions/{session}/proposals", Api.propose, "Propose other times", SessionShown,
        body=(c.SessionPropose,),
    ),
    Route(
        "POST", "/api/sessions/{session}/answers", Api.answer, "Accept or decline it, or a proposal", SessionShown,
        body=(c.SessionAnswer,),
    ),
    Route(
        "POST", "/api/sessions/{session}/extensions", Api.extend, "So many minutes more", SessionShown,
        body=(c.SessionExtend,),
    ),
    Route("POST", "/api/sessions/{session}/end", Api.end, "It is over", SessionShown, body=(c.SessionEnd,)),
    Route("GET", "/calendar/{secret}.ics", Api.feed, "A calendar feed", "text/calendar", login="none"),
    Route("GET", "/api/openapi.json", Api.description, "This description", "application/json", login="none"),
)  # fmt: skip


def _pattern(path: str) -> str:
    """With names as they may look: then `x.ics` is no session."""
    return re.sub(r"{(\w+)}", rf"{{\1:{NAME}}}", path)


def _card(
    record: RoomRecord, person: str, online: Collection[str], session: Session | None, unread: int
) -> RoomCard:
    (other,) = (member for member in record.members if member.person != person)
    partner = Partner(other.person, other.name, other.role, other.tz, other.person in online)
    role = record.member(person).role
    return RoomCard(record.slug, record.title, role, record.moves, partner, session, unread)


def _command(kind: type[Any], asked: object, names: dict[str, str], *, strict: bool = True) -> Any:
    """The command of the socket, with the `names` of the path. Raises `Invalid`."""
    if not isinstance(asked, dict):
        raise Invalid
    for name in names:
        if name in asked:
            raise Invalid(field=name)
    return _as(kind, {**asked, **names}, strict=strict)


async def _body(request: web.Request) -> Any:
    """What the body says as JSON. Raises `TooLarge`, `Invalid`."""
    whole = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.content.iter_any():
                whole += part
                if len(whole) > BODY_BYTES:
                    raise TooLarge(f"A request has at most {BODY_BYTES} bytes.")
        return msgspec.json.decode(bytes(whole))
    except TimeoutError:
        raise Invalid("The request did not come whole.") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Invalid("This is not JSON.") from None


def _query(request: web.Request) -> dict[str, str]:
    """The parameters of the query, each once. Raises `Invalid`."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name in found:
            raise Invalid("This parameter is there twice.", field=name[:100])
        found[name] = value
    return found


def _as(kind: Any, asked: object, *, strict: bool = True) -> Any:
    """T4; in a query, where everything is text, not `strict`. Raises `Invalid` with the path of what is wrong."""
    try:
        return msgspec.convert(asked, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise Invalid(field=field_of(str(error))) from None
