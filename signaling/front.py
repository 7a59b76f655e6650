"""A new connection, until it is known what it wants. Nearly everybody comes with a WebSocket for Engine.IO, asked for in one
piece: that is read here and is a socket at once. All else, and whatever is unusual, is aiohttp's from its first byte on.

aiohttp's way to the same WebSocket (a parser, a request, a task, routes, middleware) cost a fifth of a reconnect.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from rooms.errors import Limited, RoomError, Unavailable
from rooms.pushes import Refused
from signaling.answers import STATUS, refusal

HEAD_BYTES: Final = 8_190
"""Longer ones are aiohttp's to judge (its own bound for a line)."""

SILENCE_S: Final = 60.0
"""A connection on which nothing is asked for this long is closed, as aiohttp does it with those it has."""

_HANDSHAKE: Final = re.compile(
    rb"GET /socket\.io/\?([\w&=.~-]+) HTTP/1\.1\r\n((?:[\w!#$&'*+.^`|~-]+:[\t -~]*\r\n){1,64})\r\n", re.ASCII
)
"""RFC 9112 without what it leaves to be argued about: no folded lines, no bytes beyond ASCII, nothing behind it."""

_NOT_OURS: Final = frozenset({"sid", "j"})
"""Of the query: a session that is there already, and JSONP."""


class Opening:
    """The request of a handshake: as much of aiohttp's `Request` as somebody looks at."""

    __slots__ = ("headers", "transport")

    def __init__(self, transport: asyncio.Transport, headers: CIMultiDict[str]) -> None:
        self.transport = transport
        self.headers = headers

    @property
    def host(self) -> str:
        return self.headers.get("Host", "")

    @property
    def cookies(self) -> dict[str, str]:
        try:
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            return {}
        return {name: cookie.value for name, cookie in cookies.items()}


class Front(asyncio.Protocol):
    """`other` makes aiohttp's protocol. `open` makes a socket of a handshake, whose transport is its own from then on. A
    RoomError that it raises is answered here; an HTTPException (a handshake that is none) is aiohttp's to answer."""

    __slots__ = ("_late", "_open", "_other", "_transport")

    def __init__(self, other: Callable[[], asyncio.Protocol], open: Callable[[Opening], None]) -> None:  # noqa: A002
        self._other = other
        self._open = open
        self._transport: asyncio.Transport
        self._late: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._late = asyncio.get_running_loop().call_later(SILENCE_S, transport.close)

    def connection_lost(self, _: Exception | None) -> None:
        self._late.cancel()

    def data_received(self, data: bytes) -> None:
        self._late.cancel()
        opening = self._read(data)
        if opening is None:
            self._pass_on(data)
            return
        try:
            self._open(opening)
        except RoomError as error:
            self._transport.write(_refused(error))
            self._transport.close()
        except web.HTTPException:
            self._pass_on(data)

    def _read(self, data: bytes) -> Opening | None:
        found = _HANDSHAKE.fullmatch(data) if len(data) <= HEAD_BYTES else None
        if found is None:
            return None
        query = dict(part.partition("=")[::2] for part in found[1].decode().split("&"))
        if query.get("transport") != "websocket" or query.get("EIO") != "4" or _NOT_OURS & query.keys():
            return None
        headers = CIMultiDict[str]()
        for line in found[2].decode().split("\r\n")[:-1]:
            name, _, value = line.partition(":")
            headers.add(name, value.strip(" \t"))
        if headers.get("Upgrade", "").lower() != "websocket" or "Transfer-Encoding" in headers:
            return None
        return Opening(self._transport, headers)

    def _pass_on(self, data: bytes) -> None:
        other = self._other()
        self._transport.set_protocol(other)
        other.connection_made(self._transport)
        other.data_received(data)


def _refused(error: RoomError) -> bytes:
    """As PROTOCOL.md has it "Over HTTP"."""
    status = HTTPStatus(STATUS[error.code])
    body = msgspec.json.encode(Refused(ok=False, error=refusal(error)))
    again = ""
    if error.retry_ms and isinstance(error, Limited | Unavailable):
        again = f"Retry-After: {-(-error.retry_ms // 1000)}\r\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nServer: telementor\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{again}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
