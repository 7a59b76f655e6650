"""The short way of a text of one character, which a pong is: it never tells another story than the long one (RFC 6455)."""

from __future__ import annotations

from typing import Any

import pytest

from signaling.websocket import NOT_UTF8, PROTOCOL_ERROR, Turn, WebSocket, framed

KEY = b"\x01\x02\x03\x04"
CONTINUATION, TEXT, BINARY, CLOSE = 0x0, 0x1, 0x2, 0x8


class Wire:
    """What is written, in place of a transport."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        pass

    abort = close


class Reader:
    """A WebSocket, what it handed on, and what it wrote."""

    def __init__(self) -> None:
        self.wire = Wire()
        transport: Any = self.wire
        self.socket = WebSocket(transport, 1_000, Turn())
        self.heard: list[bytes | str] = []
        self.socket.on_message = self.heard.append
        self.socket.on_lost = lambda: None

    def read(self, *reads: bytes) -> Reader:
        for data in reads:
            self.socket.data_received(data)
        self.socket.flush()
        return self

    def end(self) -> None:
        """No timer of it is left."""
        self.socket.connection_lost(None)


def masked(kind: int, payload: bytes, *, fin: bool = True) -> bytes:
    words = bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))
    return bytes((kind | fin << 7, 0x80 | len(payload))) + KEY + words


def each_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def closed(code: int) -> bytes:
    return bytes((0x80 | CLOSE, 2)) + code.to_bytes(2, "big")


@pytest.mark.parametrize("kind", [TEXT, BINARY, CONTINUATION])
async def test_one_character_in_one_read_is_what_it_is_byte_by_byte(kind: int) -> None:
    for code in range(256):
        data = masked(kind, bytes((code,)))
        at_once, slowly = Reader().read(data), Reader().read(*each_byte(data))
        assert (at_once.heard, at_once.wire.written) == (slowly.heard, slowly.wire.written)
        at_once.end()
        slowly.end()


async def test_a_letter_is_handed_on_and_half_of_one_is_none() -> None:
    assert Reader().read(masked(TEXT, b"3"), masked(TEXT, b"4")).heard == ["3", "4"]
    broken = Reader().read(masked(TEXT, b"\xe4"))
    assert (broken.heard, broken.wire.written) == ([], [closed(NOT_UTF8)])
    broken.end()


async def test_a_letter_between_the_pieces_of_a_message_is_against_the_protocol() -> None:
    reader = Reader().read(masked(BINARY, b"one", fin=False), masked(TEXT, b"3"))
    assert (reader.heard, reader.wire.written) == ([], [closed(PROTOCOL_ERROR)])
    reader.end()


async def test_the_rest_of_a_frame_that_looks_like_a_letter_is_its_rest() -> None:
    whole = masked(BINARY, bytes(byte ^ KEY[at % 4] for at, byte in enumerate(masked(TEXT, b"3"))))
    reader = Reader().read(whole[:-7], whole[-7:])
    assert whole[-7:] == masked(TEXT, b"3")
    (heard,) = reader.heard
    assert isinstance(heard, bytes)
    assert len(heard) == 7


async def test_who_is_told_that_it_is_over_is_not_heard() -> None:
    reader = Reader()
    reader.socket.close()
    assert reader.read(masked(TEXT, b"3")).heard == []
    reader.end()


async def test_a_frame_that_was_made_before_comes_behind_what_was_said_and_never_after_the_end() -> None:
    reader = Reader()
    reader.socket.send(b"first")
    reader.socket.send_frame(framed("2"))
    reader.socket.flush()
    assert b"".join(reader.wire.written) == b"\x82\x05first\x81\x012"
    reader.socket.close()
    reader.socket.send_frame(framed("2"))
    reader.socket.flush()
    assert reader.wire.written[1:] == [closed(1000)]
    reader.end()
