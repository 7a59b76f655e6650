"""A pair with a session in a real database, and the post that tells of it. Time is the test's."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa

from rooms import commands as c
from rooms.schedule import Rules
from rooms.session import Session
from signaling.mail import Sender
from signaling.mail_carriers import Carrier
from signaling.metrics import Metrics
from signaling.post import Post
from signaling.stores.directory import Directory, Named, PairAdded
from signaling.stores.notices import Notices
from signaling.stores.schedule import Schedule
from signaling.stores.tables import notice, person

NOW = 1_801_656_000_000
"""2027-02-03 12:00 UTC."""

SENDER = Sender("Mentoring <mentoring@example.org>", "https://mentoring.example.org")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class Planned:
    """Mara (mentor, London, English) and Mio (mentee, Berlin, German), and one database."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self.directory = directory
        self.clock = clock
        self.notices = Notices(directory.database)
        self.metrics = Metrics()
        self.unread = True
        self.schedule = Schedule(
            directory.database,
            rules=Rules(),
            host="mentoring.example.org",
            open_max=50,
            now_ms=clock,
            new_id=lambda: str(uuid.uuid4()),
            new_secret=lambda: uuid.uuid4().hex,
        )
        self.pair: PairAdded

    async def meet(self, mentor: str = "Mara Mentor", mentee: str = "Mio Mentee") -> PairAdded:
        """A fresh pair."""
        name = uuid.uuid4().hex[:8]
        self.pair = await self.directory.add_pair(
            Named(mentor, f"mara-{name}@example.org"), Named(mentee, f"mio-{name}@example.org")
        )
        async with self.directory.database.writing() as connection:
            for one, tz, language in (
                (self.pair.mentor, "Europe/London", "en"),
                (self.pair.mentee, "Europe/Berlin", "de-DE"),
            ):
                await connection.execute(
                    sa.update(person).where(person.c.id == one.id).values(tz=tz, language=language)
                )
        return self.pair

    async def book(self, wall: str = "2027-02-04T15:00", **fields: Any) -> Session:
        """Mio asks for it."""
        asked = {
            "key": str(uuid.uuid4()),
            "tz": "Europe/London",
            "minutes": 60,
            "agenda": "Bridges",
            **fields,
        }
        command = c.SessionBook(room=self.pair.slug, wall=wall, **asked)
        return (await self.schedule.book(self.pair.mentee.id, command))[0]

    async def ask(self, person_id: str, kind: Any, session: Session, **fields: Any) -> Session:
        command = kind(room=session.room, session=session.id, rev=session.rev, **fields)
        return (await self.schedule.change(person_id, command)).session

    async def agree(self, wall: str = "2027-02-04T15:00") -> Session:
        booked = await self.book(wall)
        return await self.ask(self.pair.mentor.id, c.SessionAnswer, booked, proposal=None, accept=0)

    async def move(self, session: Session, wall: str) -> Session:
        """Mio moves it."""
        return await self.ask(self.pair.mentee.id, c.SessionMove, session, wall=wall, tz="Europe/London")

    async def states(self) -> dict[str, int]:
        """How many notices there are, by state."""
        query = sa.select(notice.c.state, sa.func.count()).group_by(notice.c.state)
        async with self.directory.database.reading() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def kinds(self) -> list[tuple[str, str]]:
        """(kind, recipient) of what is pending, in order."""
        query = sa.select(notice.c.kind, notice.c.recipient_id).where(notice.c.state == "pending")
        async with self.directory.database.reading() as connection:
            return [(kind, who) for kind, who in await connection.execute(query.order_by(notice.c.id))]

    async def mark_all(self, state: str) -> None:
        """Whatever is pending is done with."""
        async with self.directory.database.writing() as connection:
            await connection.execute(sa.update(notice).values(state=state, due_ms=None))

    def role(self, person_id: str) -> str:
        return "mentor" if person_id == self.pair.mentor.id else "mentee"

    async def forget_notices(self) -> None:
        async with self.directory.database.writing() as connection:
            await connection.execute(sa.delete(notice))

    def post(self, carrier: Carrier) -> Post:
        async def unread(*_: str) -> bool:
            return self.unread

        return Post(self.notices, carrier, SENDER, self.metrics, unread, self.clock)


@asynccontextmanager
async def planned(url: str, clock: Clock) -> AsyncIterator[Planned]:
    """With a pair, and nothing planned yet."""
    directory = await Directory.open(url, clock)
    made = Planned(directory, clock)
    await made.meet()
    yield made
    await made.forget_notices()
    await directory.close()
