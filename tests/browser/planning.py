"""Sessions planned over HTTP at a minute of one's choice, so that a test begins where its story does."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from tests.support.appointments import Side
from tests.support.people import Pair
from tests.support.server import Server

Session = dict[str, Any]
LONDON, KOLKATA = "Europe/London", "Asia/Kolkata"


def wall_in(minutes: float) -> str:
    """UTC: the whole minute that comes so many minutes after this one began."""
    begun = datetime.now(UTC).replace(second=0, microsecond=0)
    return (begun + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")


class Planning:
    """What the two of a pair agree on: a mentor in London, a mentee in Kolkata."""

    def __init__(self, server: Server, pair: Pair) -> None:
        self.mentor = Side(server.url, pair, pair.mentor, LONDON)
        self.mentee = Side(server.url, pair, pair.mentee, KOLKATA)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Planning:
        for side in (self.mentor, self.mentee):
            await self._stack.enter_async_context(side)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def request(self, in_minutes: float, minutes: int = 60, agenda: str = "") -> Session:
        """The mentor asks."""
        body = {"key": str(uuid.uuid4()), "minutes": minutes, "agenda": agenda, **_at(in_minutes)}
        answer = await self.mentor.ask("POST", f"/api/rooms/{self.mentor.room}/sessions", body)
        return dict(answer["session"])

    async def confirmed(self, in_minutes: float, minutes: int = 60, agenda: str = "") -> Session:
        """The mentor asks, the mentee accepts."""
        return await self.mentee.accept(await self.request(in_minutes, minutes, agenda))

    async def move(self, side: Side, session: Session, in_minutes: float) -> Session:
        """At once."""
        body = {"rev": session["rev"], **_at(in_minutes)}
        return dict((await side.ask("PATCH", f"/api/sessions/{session['id']}", body))["session"])

    async def propose(self, side: Side, session: Session, *in_minutes: float) -> Session:
        """Other times."""
        body = {"rev": session["rev"], "times": [_at(one) for one in in_minutes], "reason": "I am on a train"}
        return dict((await side.ask("POST", f"/api/sessions/{session['id']}/proposals", body))["session"])

    async def cancel(self, side: Side, session: Session, reason: str) -> Session:
        """It does not take place."""
        body = {"rev": session["rev"], "reason": reason}
        return dict((await side.ask("DELETE", f"/api/sessions/{session['id']}", body))["session"])


def _at(in_minutes: float) -> dict[str, str]:
    return {"wall": wall_in(in_minutes), "tz": "UTC"}
