"""What a client says, in the contract's words, so that tests read as conversations."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.client import Client
from tests.support.fleet import Fleet
from tests.support.people import Pair

CAMERA = {"audio": True, "video": True, "screen": False}
SOUND = {"audio": True, "video": False, "screen": False}
OFFER = {"type": "offer", "sdp": "v=0\r\n"}


def new_key() -> str:
    """L3: a client's own uuid for one request."""
    return str(uuid.uuid4())


async def join(client: Client, room: str, **fields: Any) -> dict[str, Any]:
    """R1: enter the room, with `cursor: null` unless told otherwise."""
    return await client.done("room.join", {"room": room, "cursor": None, **fields})


async def meet(connect: Fleet, pair: Pair) -> tuple[Client, Client]:
    """Mentor and mentee, both connected and in their room."""
    mentor, mentee = await connect(pair.mentor), await connect(pair.mentee)
    await join(mentor, pair.room)
    await join(mentee, pair.room)
    return mentor, mentee


async def say(
    client: Client, room: str, text: str, *, key: str | None = None, **fields: Any
) -> dict[str, Any]:
    """L9: `chat.send`."""
    return await client.done("chat.send", {"room": room, "key": key or new_key(), "text": text, **fields})


async def page(client: Client, room: str, **bounds: Any) -> dict[str, Any]:
    """L6: one page of the log."""
    return await client.done("log.page", {"room": room, "limit": 200, **bounds})


async def history(client: Client, room: str) -> list[dict[str, Any]]:
    """The whole log, page by page from its beginning."""
    events: list[dict[str, Any]] = []
    after = "0-0"
    while True:
        answer = await page(client, room, after=after)
        events += answer["events"]
        if not answer["more"]:
            return events
        after = answer["events"][-1]["id"]


async def texts(client: Client, room: str) -> list[str]:
    """Every text in the log, in order."""
    return [event["text"] for event in await history(client, room) if "text" in event]


async def kinds(client: Client, room: str) -> list[str]:
    """The kinds of all events in the log, in order."""
    return [event["kind"] for event in await history(client, room)]


async def call(client: Client, room: str, **fields: Any) -> dict[str, Any]:
    """K1: `call.join` with camera and microphone unless told otherwise."""
    return await client.done("call.join", {"room": room, "media": CAMERA, **fields})


def wall(days: int, clock: str = "15:00") -> str:
    """A wall time so many days from now; at 15:00 clocks are changed nowhere near us."""
    return f"{(datetime.now(UTC) + timedelta(days=days)).date()}T{clock}"


async def book(client: Client, room: str, when: str, **fields: Any) -> dict[str, Any]:
    """`session.book`: an hour in London unless told otherwise; the session."""
    asked = {"room": room, "key": new_key(), "wall": when, "tz": "Europe/London", "minutes": 60, **fields}
    session: dict[str, Any] = (await client.done("session.book", asked))["session"]
    return session


async def change(client: Client, verb: str, session: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """S4: a change of the session as it was seen; the session after it."""
    asked = {"room": session["room"], "session": session["id"], "rev": session["rev"], **fields}
    after: dict[str, Any] = (await client.done(verb, asked))["session"]
    return after


async def move(client: Client, session: dict[str, Any], when: str) -> dict[str, Any]:
    """S8: `session.move` to another wall time in London."""
    return await change(client, "session.move", session, wall=when, tz="Europe/London")


async def cancel(client: Client, session: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """`session.cancel`."""
    return await change(client, "session.cancel", session, **fields)


class InCall:
    """Two clients in one call, and what each needs to signal to the other."""

    def __init__(self, room: str, caller: Client, callee: Client) -> None:
        self.room = room
        self.caller = caller
        self.callee = callee
        self.call = ""
        self.peers: dict[Client, str] = {}
        self.legs: dict[Client, int] = {}

    @classmethod
    async def begin(cls, room: str, caller: Client, callee: Client) -> InCall:
        """Both are connected; both join the room and then the call."""
        two = cls(room, caller, callee)
        for client in (caller, callee):
            two.peers[client] = (await join(client, room))["you"]["peer"]
        for client in (caller, callee):
            answer = await call(client, room)
            two.call, two.legs[client] = answer["call"], answer["leg"]
        return two

    def signal(self, sender: Client, **fields: Any) -> dict[str, Any]:
        """A valid `call.signal` of the sender to the other, with an offer unless told otherwise."""
        other = self.callee if sender is self.caller else self.caller
        content = {} if "candidates" in fields else {"description": OFFER}
        return {
            "room": self.room,
            "call": self.call,
            "to": self.peers[other],
            "to_leg": self.legs[other],
            "seq": 0,
            "gen": 0,
            **content,
            **fields,
        }
