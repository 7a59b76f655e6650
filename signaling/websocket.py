"""An established WebSocket (RFC 6455), from where aiohttp has read the request for it.

Between a frame and whoever reads it there is no task, no queue and no timer. aiohttp's own WebSocket keeps a task, a parser,
a request and a response for each client, and wakes a reader for every message. Nothing is compressed.

aiohttp's part is to parse the request. That it lets go of the connection then is no interface of its own, nor is its masking
in C; both stand in this file only, and tests/integration/test_engine_io_protocol.py looks at what comes of it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable
from struct import Struct
from typing import Final, NoReturn

from aiohttp import web
from aiohttp._websocket.helpers import websocket_mask
from multidict import MultiMapping

from signaling.front import Opening
from signaling.slices import Slices

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16

_FIN: Final = 0x80
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_WHOLE_TEXT: Final = _FIN | _TEXT
_WHOLE_BINARY: Final = _FIN | _BINARY
_CONTROL_BYTES: Final = 125

NORMAL, PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1000, 1002, 1007, 1009
"""RFC 6455, section 7.4.1."""

_SAID: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""Of the codes below 3000 (IANA, "WebSocket Close Code Number Registry"): 1004 to 1006 and 1015 are never sent."""

FINISH_S: Final = 5.0
"""A client gets this long to take what is left for it before its transport is cut."""

AT_ONCE_BYTES: Final = 65_536
"""More than this does not wait for the end of a turn: the transport has to say in time that it has enough."""

PIECE_BYTES: Final = 64
"""What a piece of a message counts at least: a message in a million empty pieces is too big."""

_LETTER: Final = bytes((_WHOLE_TEXT, 0x80 | 1))
_LETTER_BYTES: Final = 7
_letters = [chr(code) for code in range(128)]
"""A text of one ASCII character, as a client masks it: Engine.IO's pong is one, and all that comes from who is silent."""

_head16 = Struct("!BBH").pack
_head64 = Struct("!BBQ").pack


class Turn:
    """What is written in one turn of the event loop leaves at its end, in one write to each connection: a write is a system
    call, and whoever says something mostly hears the acknowledgement and the push of it in one turn. Of many that are lost
    in one turn, as when a network goes, a few are told of in each of the next."""

    def __init__(self) -> None:
        self._sockets: list[WebSocket] = []
        self._lost: Slices[WebSocket] = Slices(lambda socket: socket.on_lost())
        self._loop: asyncio.AbstractEventLoop | None = None
        """Asked for once: until Python 3.12 each question for the running loop is a system call."""

    def add(self, socket: WebSocket) -> None:
        if not self._sockets:
            self._loop = self._loop or asyncio.get_running_loop()
            self._loop.call_soon(self._end)
        self._sockets.append(socket)

    def lost(self, socket: WebSocket) -> None:
        self._lost.add((socket,))

    def _end(self) -> None:
        sockets, self._sockets = self._sockets, []
        for socket in sockets:
            socket.flush()


class WebSocket(asyncio.Protocol):
    """`on_message` is called with each whole message, `on_writable` when what waited has been taken, `on_lost` once at the
    end. While `paused` more waits than the transport likes: whoever sends on has to bound it.

    A message over `most_bytes` and whatever is against the protocol ends the connection with the close code that the RFC has
    for it. Pings are answered here.
    """

    on_message: Callable[[bytes | str], None]
    on_writable: Callable[[], None]
    on_lost: Callable[[], None]

    __slots__ = (
        "_cut", "_deaf", "_ended", "_needed", "_out", "_out_bytes", "_pieces", "_pieces_bytes", "_rest",
        "_transport", "_turn", "most_bytes", "on_lost", "on_message", "on_writable", "paused",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, most_bytes: int, turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._out: list[bytes] = []
        self._out_bytes = 0
        self.most_bytes = most_bytes
        self.paused = False
        self._ended = False
        """Nothing is handed on and nothing written any more."""
        self._deaf = False
        self._cut: asyncio.TimerHandle | None = None
        self._rest: bytearray | None = None
        self._needed = 0
        self._pieces: list[bytes] | None = None
        """The first byte of the message that comes in pieces, and those that have come."""
        self._pieces_bytes = 0

    # What is sent

    def begin(self, answer: bytes) -> None:
        """The answer to the handshake: it leaves with what is said in the same turn."""
        self._put(answer)

    def send(self, message: bytes | str) -> None:
        if self._ended:
            return
        self._put(framed(message) if isinstance(message, str) else _framed(_WHOLE_BINARY, message))

    def send_frame(self, frame: bytes) -> None:
        """One of `framed`, behind what was sent before, and alone it does not wait for the end of the turn."""
        if self._ended:
            return
        if self._out:
            self._put(frame)
        else:
            self._transport.write(frame)

    def _write(self, first: int, payload: bytes) -> None:
        self._put(_framed(first, payload))

    def _put(self, frame: bytes) -> None:
        if not self._out:
            self._turn.add(self)
        self._out.append(frame)
        self._out_bytes += len(frame)
        if self._out_bytes > AT_ONCE_BYTES:
            self.flush()

    def flush(self) -> None:
        """What was sent goes to the transport now."""
        if self._out:
            out, self._out, self._out_bytes = self._out, [], 0
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def close(self, code: int = NORMAL) -> None:
        """What was sent is still written. The connection ends when the other side has said so, too (section 7.1.1: else what
        it sends meanwhile would have the kernel take back our last words), at the latest after `FINISH_S`."""
        if self._ended:
            return
        self._ended = True
        self._write(_FIN | _CLOSE, code.to_bytes(2, "big"))
        self._cut = asyncio.get_running_loop().call_later(FINISH_S, self.abort)

    def abort(self) -> None:
        """Ends it now, with what was not written yet."""
        self._ended = True
        self._out = []
        self._transport.abort()

    # What comes

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if len(data) == _LETTER_BYTES and self._takes_letter(data):
            return
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data, self._rest = bytes(self._rest), None
        at, size = 0, len(data)
        while at < size and (end := self._frame(data, at, size)):
            at = end
        if at < size:
            self._rest = bytearray(data[at:])

    def _takes_letter(self, data: bytes) -> bool:
        """Whether that was a text of one character: read without a detour when nothing is half said."""
        code = data[6] ^ data[2]
        if code > 0x7F or not data.startswith(_LETTER):
            return False
        if self._rest is not None or self._pieces is not None or self._ended:
            return False
        self.on_message(_letters[code])
        return True

    def _frame(self, data: bytes, at: int, size: int) -> int:
        """Reads the frame at that place (section 5.2): where it ends, or 0 when it is not whole; `_needed` then."""
        key = at + 2
        if key <= size:
            length = data[at + 1] & 0x7F
            if length > _CONTROL_BYTES:
                key = at + (4 if length == 126 else 10)
                length = int.from_bytes(data[at + 2 : key], "big")
        if key > size:
            self._needed = key - at
            return 0
        if data[at + 1] < 0x80:  # section 5.1: a client masks
            self._fail(PROTOCOL_ERROR)
            return size
        if length > self.most_bytes:
            self._fail(TOO_BIG)
            return size
        body = key + 4
        end = body + length
        if end > size:
            self._needed = end - at
            return 0
        payload = bytearray(data[body:end])
        websocket_mask(data[key:body], payload)
        first = data[at]
        if self._ended:
            if first & 0x0F == _CLOSE:
                self.flush()
                self._transport.close()
        elif first == _WHOLE_BINARY and self._pieces is None:
            self.on_message(bytes(payload))
        else:
            self._take(first, bytes(payload))
        return end

    def _fail(self, code: int) -> None:
        """Nothing that comes now can be told apart. It is read and dropped: a connection that is closed over unread bytes is
        reset, and its last words with it."""
        self.close(code)
        self._deaf = True
        self.flush()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _take(self, first: int, payload: bytes) -> None:
        """Whatever is not a whole binary message."""
        kind = first & 0x0F
        if first & 0x70:
            self._fail(PROTOCOL_ERROR)  # an extension that was not agreed on
        elif kind >= _CLOSE:
            self._take_control(kind, payload, whole=first >= _FIN)
        elif self._pieces is None and kind in (_TEXT, _BINARY):
            if first >= _FIN:
                self._hand(kind, payload)
            else:
                self._pieces, self._pieces_bytes = [bytes((kind,)), payload], len(payload) + PIECE_BYTES
        elif self._pieces is not None and kind == _CONTINUATION:
            self._pieces.append(payload)
            self._pieces_bytes += len(payload) + PIECE_BYTES
            if self._pieces_bytes > self.most_bytes + 2 * PIECE_BYTES:
                self._fail(TOO_BIG)
            elif first >= _FIN:
                pieces, self._pieces = self._pieces, None
                self._hand(pieces[0][0], b"".join(pieces[1:]))
        else:
            self._fail(PROTOCOL_ERROR)

    def _take_control(self, kind: int, payload: bytes, *, whole: bool) -> None:
        if not whole or len(payload) > _CONTROL_BYTES or kind > _PONG:
            self._fail(PROTOCOL_ERROR)
        elif kind == _CLOSE:
            self.close(_echoed(payload))
            self.flush()
            self._transport.close()
        elif kind == _PING and not self.paused:  # section 5.5.3: the newest is answered; to one who reads
            self._write(_FIN | _PONG, payload)

    def _hand(self, kind: int, payload: bytes) -> None:
        if kind == _BINARY:
            self.on_message(payload)
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._fail(NOT_UTF8)
        else:
            self.on_message(text)

    # From the transport

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.on_writable()

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, _: Exception | None) -> None:
        self._ended = True
        self._out = []
        if self._cut is not None:
            self._cut.cancel()
        self._turn.lost(self)


def framed(text: str) -> bytes:
    """A text as the frame that carries it: what is said to everybody is made once."""
    return _framed(_WHOLE_TEXT, text.encode())


def _framed(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((first, size))
    elif size < 65_536:
        head = _head16(first, 126, size)
    else:
        head = _head64(first, 127, size)
    return head + payload


def _echoed(payload: bytes) -> int:
    """The code that answers a close frame (sections 5.5.1, 7.4): its own, unless nobody may say that one."""
    if not payload:
        return NORMAL
    code = int.from_bytes(payload[:2], "big")
    if code not in _SAID and not 3000 <= code < 5000:  # nor one of a single byte
        return PROTOCOL_ERROR
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    return code


class Taken(web.StreamResponse):
    """What a handler returns to aiohttp for a connection that it has none of any more: nothing is written."""

    async def prepare(self, request: web.BaseRequest) -> NoReturn:
        raise ConnectionResetError("the connection is a WebSocket now")


def accept(request: web.Request | Opening, most_bytes: int, turn: Turn) -> WebSocket:
    """The opening handshake (section 4.2), and from then on the connection is ours: aiohttp has none any more. The three
    callbacks have to be set before anything is awaited. Raises HTTPBadRequest, and ConnectionError when the connection has
    ended."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the connection has ended")
    answer = _accepted(request.headers)
    if not isinstance(request, Opening) and request.protocol._message_tail:
        # Section 4.1: a client waits; what aiohttp has read of a frame would be missing.
        raise web.HTTPBadRequest(text="Something was said before the handshake was answered.")
    socket = WebSocket(transport, most_bytes, turn)
    socket.begin(answer)
    transport.set_protocol(socket)
    if not isinstance(request, Opening):
        transport.resume_reading()
        # What aiohttp knows of a connection it forgets when that is lost, and it would close it.
        http = request.protocol
        http.transport = None
        http.connection_lost(None)
    return socket


def _accepted(headers: MultiMapping[str]) -> bytes:
    asked = {word.strip().lower() for word in ",".join(headers.getall("Connection", [])).split(",")}
    key = headers.get("Sec-WebSocket-Key", "")
    try:
        whole = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except binascii.Error:
        whole = False
    if "upgrade" not in asked or not whole or headers.get("Sec-WebSocket-Version") != "13":
        raise web.HTTPBadRequest(
            text="This is no WebSocket handshake.", headers={"Sec-WebSocket-Version": "13"}
        )
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + base64.b64encode(digest)
        + b"\r\n\r\n"
    )
