"""Engine.IO and Socket.IO by hand, for frames that no decent client would send."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import aiohttp
import msgpack

RECEIVE_S = 5
POLL_S = 15
"""Longer than Engine.IO's ping interval, after which every poll is answered."""
SEPARATOR = "\x1e"


class Packet(IntEnum):
    """Packet types of Socket.IO protocol 5."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4


def packed(kind: Packet, data: Any = None, *, nsp: str = "/", number: int | None = None) -> bytes:
    """One packet as socket.io-msgpack-parser writes it."""
    packet: dict[str, Any] = {"type": int(kind), "data": data, "nsp": nsp}
    if number is not None:
        packet["id"] = number
    return bytes(msgpack.packb(packet))


def small_ears() -> aiohttp.TCPConnector:
    """Connections whose receive buffer is as small as the kernel allows: who stops reading is noticed soon."""

    def make(address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return made

    return aiohttp.TCPConnector(socket_factory=make)


class ClosedError(Exception):
    """The server closed the transport."""


class RawSocket:
    """A WebSocket transport. It never closes by itself: `closed()` proves that the server does."""

    def __init__(self, http: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._http = http
        self._socket = socket
        self.told = False
        """Whether the server said that it closes (Engine.IO CLOSE) before it did."""

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        connector: aiohttp.TCPConnector | None = None,
    ) -> RawSocket:
        """Upgrade and read Engine.IO's open packet; a refused upgrade raises WSServerHandshakeError."""
        http = aiohttp.ClientSession(connector=connector)
        try:
            socket = await http.ws_connect(
                f"{url}/socket.io/?EIO=4&transport=websocket{query}",
                headers=headers,
                autoclose=False,
                max_msg_size=0,
            )
            opened = await socket.receive_str(timeout=RECEIVE_S)
            assert opened.startswith("0"), opened
        except aiohttp.WSMessageTypeError as error:
            await http.close()
            raise ClosedError from error
        except BaseException:
            await http.close()
            raise
        return cls(http, socket)

    @classmethod
    async def open_upgrade(cls, url: str, sid: str) -> RawSocket:
        """The WebSocket that a polling session goes on with (Engine.IO 4, "Upgrade")."""
        http = aiohttp.ClientSession()
        socket = await http.ws_connect(
            f"{url}/socket.io/?EIO=4&transport=websocket&sid={sid}", autoclose=False, max_msg_size=0
        )
        await socket.send_str("2probe")
        assert await socket.receive_str(timeout=RECEIVE_S) == "3probe"
        await socket.send_str("5")
        return cls(http, socket)

    async def connect(self, auth: Any, *, nsp: str = "/") -> dict[str, Any]:
        """Send CONNECT with `auth`; the packet that answers it."""
        await self.send(Packet.CONNECT, auth, nsp=nsp)
        return await self.receive(nsp=nsp)

    async def send(
        self, kind: Packet, data: Any = None, *, nsp: str = "/", number: int | None = None
    ) -> None:
        """A well-formed packet."""
        await self.send_bytes(packed(kind, data, nsp=nsp, number=number))

    async def send_bytes(self, data: bytes) -> None:
        """One binary frame, whatever it holds."""
        await self._socket.send_bytes(data)

    async def send_text(self, data: str) -> None:
        """One text frame, whatever it holds."""
        await self._socket.send_str(data)

    async def receive(self, *, nsp: str = "/", timeout_s: float = RECEIVE_S) -> dict[str, Any]:
        """The next Socket.IO packet of a namespace; pings are answered on the way."""
        async with asyncio.timeout(timeout_s):
            while True:
                frame = await self._frame()
                if isinstance(frame, bytes):
                    packet: dict[str, Any] = msgpack.unpackb(frame)
                    if packet.get("nsp") == nsp:
                        return packet

    async def receive_text(self, *, timeout_s: float = RECEIVE_S) -> str:
        """The next text frame that is no ping."""
        async with asyncio.timeout(timeout_s):
            while True:
                frame = await self._frame()
                if isinstance(frame, str):
                    return frame

    async def ask(self, event: str, obj: Any, *, number: int = 1, timeout_s: float = RECEIVE_S) -> Any:
        """An event with an ack number; the ack's first argument."""
        await self.send(Packet.EVENT, [event, obj], number=number)
        while True:
            packet = await self.receive(timeout_s=timeout_s)
            if packet["type"] == Packet.ACK and packet.get("id") == number:
                return packet["data"][0]

    async def closed(self, *, timeout_s: float = RECEIVE_S) -> list[dict[str, Any]]:
        """Wait until the server closes the transport; the packets that came before that."""
        packets: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    frame = await self._frame()
                    if isinstance(frame, bytes):
                        packets.append(msgpack.unpackb(frame))
        except ClosedError:
            return packets

    async def _frame(self) -> bytes | str | None:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            return bytes(message.data)
        if message.type is aiohttp.WSMsgType.TEXT:
            if message.data == "2":
                await self._socket.send_str("3")
                return None
            if message.data == "1":
                self.told = True
                raise ClosedError
            return str(message.data)
        raise ClosedError

    async def stop(self) -> None:
        """Drop the connection without a word of Socket.IO."""
        await self._socket.close()
        await self._http.close()

    async def abort(self) -> None:
        """Drop the connection without a word of WebSocket either: nobody may be there to hear it."""
        self._socket._response.close()  # aiohttp's WebSocket itself only knows how to say good-bye
        await self._http.close()


class RawPolling:
    """A long-polling transport of one Engine.IO session."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        connector: aiohttp.TCPConnector | None = None,
    ) -> None:
        self._base = f"{url}/socket.io/?EIO=4&transport=polling"
        self._headers = dict(headers or {})
        self._http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=POLL_S))
        self.sid = ""

    async def open(self, *, headers: Mapping[str, str] | None = None) -> int:
        """The first GET; its HTTP status."""
        async with self._http.get(self._base, headers={**self._headers, **(headers or {})}) as answer:
            if answer.status == 200:
                self.sid = json.loads((await answer.text())[1:])["sid"]
            return answer.status

    async def post(self, *packets: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Deliver msgpack packets; the HTTP status."""
        body = SEPARATOR.join("b" + base64.b64encode(packet).decode() for packet in packets)
        return await self.post_text(body, headers=headers)

    async def post_text(self, body: str, *, headers: Mapping[str, str] | None = None) -> int:
        """Deliver any payload; the HTTP status."""
        every = {**self._headers, "Content-Type": "text/plain;charset=UTF-8", **(headers or {})}
        async with self._http.post(
            f"{self._base}&sid={self.sid}", data=body.encode(), headers=every
        ) as answer:
            return answer.status

    async def poll(self, *, headers: Mapping[str, str] | None = None) -> list[dict[str, Any]] | int:
        """One GET: the msgpack packets that it brought, or the status when it is not 200."""
        every = {**self._headers, **(headers or {})}
        async with self._http.get(f"{self._base}&sid={self.sid}", headers=every) as answer:
            if answer.status != 200:
                return answer.status
            parts = (await answer.text()).split(SEPARATOR)
            return [msgpack.unpackb(base64.b64decode(part[1:])) for part in parts if part.startswith("b")]

    async def connect(self, auth: Any) -> dict[str, Any]:
        """Open, send CONNECT with `auth`; the packet that answers it."""
        assert await self.open() == 200
        assert await self.post(packed(Packet.CONNECT, auth)) == 200
        packets = await self.poll()
        assert isinstance(packets, list), packets
        return packets[0]

    async def ask(self, event: str, obj: Any, *, number: int = 1) -> Any:
        """An event with an ack number; the ack's first argument."""
        assert await self.post(packed(Packet.EVENT, [event, obj], number=number)) == 200
        while True:
            packets = await self.poll()
            assert isinstance(packets, list), packets
            for packet in packets:
                if packet["type"] == Packet.ACK and packet.get("id") == number:
                    return packet["data"][0]

    async def poll_unread(self) -> aiohttp.ClientResponse:
        """One GET whose answer is not read; whoever asks holds on to it."""
        return await self._http.get(f"{self._base}&sid={self.sid}", headers=self._headers)

    async def stop(self) -> None:
        """Forget the session."""
        await self._http.close()
