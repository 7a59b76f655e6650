"""One side of a pair with the HTTP door in its hand: what the other side does while a browser looks on."""

from __future__ import annotations

import uuid
from datetime import date
from types import TracebackType
from typing import Any

import aiohttp

from tests.support.people import Pair, Person


class Side:
    """A person who asks with an access token. Every answer must be `ok`."""

    def __init__(self, url: str, pair: Pair, person: Person, tz: str) -> None:
        self._url = url
        self.room = pair.room
        self.person = person
        self.tz = tz
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {person.token}"})

    async def __aenter__(self) -> Side:
        await self.ask("PATCH", "/api/me", {"tz": self.tz})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The answer to one request."""
        async with self._http.request(method, self._url + path, json=body) as response:
            answer: dict[str, Any] = await response.json()
            assert answer.get("ok"), (method, path, answer)
        return answer

    async def me(self) -> dict[str, Any]:
        """Oneself, as the portal shows it."""
        return dict((await self.ask("GET", "/api/me"))["person"])

    async def sessions(self) -> list[dict[str, Any]]:
        """All sessions of the pair."""
        return list((await self.ask("GET", f"/api/rooms/{self.room}/sessions"))["sessions"])

    async def session(self) -> dict[str, Any]:
        """The only one."""
        (one,) = await self.sessions()
        return one

    async def slots(self, first: date, *, minutes: int = 60) -> list[dict[str, Any]]:
        """Starts that are free for both, within the hours of both."""
        query = f"from={first.isoformat()}&minutes={minutes}&tz={self.tz}"
        found = (await self.ask("GET", f"/api/rooms/{self.room}/slots?{query}"))["slots"]
        return [slot for slot in found if not slot["outside"]]

    async def book(self, slot: dict[str, Any], *, agenda: str = "") -> dict[str, Any]:
        """A request of one hour."""
        body = {"key": str(uuid.uuid4()), "minutes": 60, "agenda": agenda, **self._at(slot)}
        return dict((await self.ask("POST", f"/api/rooms/{self.room}/sessions", body))["session"])

    async def move(self, session: dict[str, Any], slot: dict[str, Any]) -> dict[str, Any]:
        """To another time, at once."""
        body = {"rev": session["rev"], **self._at(slot)}
        return dict((await self.ask("PATCH", f"/api/sessions/{session['id']}", body))["session"])

    async def propose(self, session: dict[str, Any], *slots: dict[str, Any]) -> dict[str, Any]:
        """Up to five times."""
        body = {"rev": session["rev"], "times": [self._at(slot) for slot in slots]}
        return dict((await self.ask("POST", f"/api/sessions/{session['id']}/proposals", body))["session"])

    async def accept(self, session: dict[str, Any]) -> dict[str, Any]:
        """The session as it was asked for."""
        body = {"rev": session["rev"], "accept": 0}
        return dict((await self.ask("POST", f"/api/sessions/{session['id']}/answers", body))["session"])

    def _at(self, slot: dict[str, Any]) -> dict[str, Any]:
        return {"wall": slot["wall"], "tz": self.tz, **({"fold": slot["fold"]} if "fold" in slot else {})}
