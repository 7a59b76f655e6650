"""What the server's answers look like, written down from the contract: required fields and types.

Server objects may grow new fields (T4), so unknown ones are ignored; a missing or mistyped one is a
ValidationError.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")


class You(msgspec.Struct):
    peer: str
    person: str
    role: Literal["mentor", "mentee", "guest"]
    polite: bool
    leg: int | None
    media: dict[str, Any] | None


class Room(msgspec.Struct):
    slug: str
    title: str


class Member(msgspec.Struct):
    person: str
    name: str
    role: Literal["mentor", "mentee", "guest"]
    tz: str
    online: bool
    read: str | None


class Streams(msgspec.Struct):
    camera: str | None = None
    screen: str | None = None


class Media(msgspec.Struct):
    audio: bool
    video: bool
    screen: bool
    streams: Streams | None = None


class Peer(msgspec.Struct):
    peer: str
    person: str
    device: str
    state: Literal["here", "away"]
    leg: int | None
    media: Media | None


class PeerPush(msgspec.Struct):
    room: str
    peer: str
    person: str
    device: str
    state: Literal["here", "away", "gone"]
    leg: int | None
    media: Media | None


class Call(msgspec.Struct):
    id: str
    since: int


class Log(msgspec.Struct):
    epoch: str
    head: str | None
    events: list[dict[str, Any]]
    more: bool
    reset: Literal["trimmed", "diverged", "epoch"] | None


class IceServer(msgspec.Struct):
    urls: str | list[str]
    username: str | None = None
    credential: str | None = None


class Ice(msgspec.Struct):
    servers: list[IceServer]
    policy: Literal["all", "relay"]
    expires_at: int | None  # null while no relay is set up: nothing expires


class Joined(msgspec.Struct):
    """R1: the answer to `room.join`."""

    ok: bool
    you: You
    room: Room
    people: list[Member]
    peers: list[Peer]
    call: Call | None
    session: dict[str, Any] | None
    log: Log
    ice: Ice


class CallPeer(msgspec.Struct):
    peer: str
    media: Media


class CallJoined(msgspec.Struct):
    """K1: the answer to `call.join`."""

    ok: bool
    call: str
    leg: int
    peers: list[CallPeer]


def shaped(answer: Any, shape: type[T]) -> T:
    """The answer as that shape; strict about types (msgspec converts nothing)."""
    return msgspec.convert(answer, shape, strict=True)
