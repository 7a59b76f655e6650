"""Sessions planned by script, so that a test begins where its story does."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from tests.support.client import Client, Options, PythonClient
from tests.support.people import Pair, Person
from tests.support.server import Server

Session = dict[str, Any]


def wall_in(minutes: float, now: datetime | None = None) -> str:
    """The whole minute, UTC, that comes so many minutes after this one began."""
    begun = (now or datetime.now(UTC)).replace(second=0, microsecond=0)
    return (begun + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")


class Planning:
    """The two of a pair, each as a script: what one asks for, the other accepts."""

    def __init__(self, pair: Pair, mentor: Client, mentee: Client) -> None:
        self._pair = pair
        self.mentor = mentor
        self.mentee = mentee

    @classmethod
    async def begin(cls, server: Server, pair: Pair) -> Planning:
        """Connected, and in the room for as long as they have something to say."""
        mentor, mentee = [await PythonClient(server.url, one, Options()).connect() for one in _both(pair)]
        return cls(pair, mentor, mentee)

    async def ask(self, client: Client, verb: str, **fields: Any) -> Session:
        """One request, from inside of the room; nobody is left there afterwards."""
        await client.done("room.join", {"room": self._pair.room, "cursor": None, "limit": 1})
        answer = await client.done(verb, {"room": self._pair.room, **fields})
        await client.done("room.leave", {"room": self._pair.room})
        session: Session = answer["session"]
        return session

    async def request(self, in_minutes: float, minutes: int = 60, agenda: str | None = None) -> Session:
        """The mentor asks."""
        fields = {"key": str(uuid.uuid4()), "wall": wall_in(in_minutes), "tz": "UTC", "minutes": minutes}
        return await self.ask(self.mentor, "session.book", **fields, agenda=agenda)

    async def confirmed(self, in_minutes: float, minutes: int = 60, agenda: str | None = None) -> Session:
        """The mentor asks, the mentee accepts."""
        asked = await self.request(in_minutes, minutes, agenda)
        return await self.change(self.mentee, "session.answer", asked, proposal=None, accept=0)

    async def change(self, client: Client, verb: str, session: Session, **fields: Any) -> Session:
        """A change of the session as it was last seen."""
        return await self.ask(client, verb, session=session["id"], rev=session["rev"], **fields)

    async def move(self, client: Client, session: Session, in_minutes: float, **fields: Any) -> Session:
        """To so many minutes from now."""
        return await self.change(
            client, "session.move", session, wall=wall_in(in_minutes), tz="UTC", **fields
        )

    async def close(self) -> None:
        """Both hang up."""
        await self.mentor.drop()
        await self.mentee.drop()


def _both(pair: Pair) -> tuple[Person, Person]:
    return pair.mentor, pair.mentee


async def live_in(server: Server, person: Person, tz: str) -> None:
    """What somebody says of themselves in the portal: their time zone."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {person.token}"}) as http,
        http.patch(f"{server.url}/api/me", json={"tz": tz}) as answer,
    ):
        assert answer.status == 200, await answer.text()
