"""Opening clients of both kinds and closing all of them when a test ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from tests.support.client import Client, Options, PythonClient
from tests.support.js_client.bridge import JsBridge, JsClient
from tests.support.people import Person
from tests.support.server import Server

Kind = Literal["python", "js"]
GetBridge = Callable[[], Awaitable[JsBridge]]


class Fleet:
    """`await fleet(person, …)` is a connected client of this fleet's kind."""

    def __init__(self, server: Server, kind: Kind, get_bridge: GetBridge) -> None:
        self.server = server
        self.kind = kind
        self._get_bridge = get_bridge
        self._clients: list[Client] = []

    async def __call__(
        self, person: Person | None, *, server: Server | None = None, **options: Any
    ) -> Client:
        """Connect; keyword arguments are fields of `Options`."""
        url = (server or self.server).url
        chosen = Options(**options)
        client: Client
        if self.kind == "js":
            client = JsClient(url, person, chosen, await self._get_bridge())
        else:
            client = PythonClient(url, person, chosen)
        self._clients.append(client)
        return await client.connect()

    async def close(self) -> None:
        """Drop every client; a broken rule that some client heard fails the test here at the latest."""
        for client in self._clients:
            await client.drop()
        for client in self._clients:
            if client.broken:
                raise client.broken
