"""What someone may ask: one struct per client event (PROTOCOL.md, rules R, L, K, S).

Decoding is strict (T4): a missing, unknown or mistyped field is refused by msgspec before any code sees it. Bounds that
depend on settings are in `bounds`. An optional field may be absent or null.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""A whole number that every client can represent exactly (ECMA-262 `Number.MAX_SAFE_INTEGER`)."""


class Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """An object from a client: nothing that is not declared passes."""


class Streams(Strict, frozen=True):
    """MediaStream ids (W3C Media Capture §4.2) that tell camera and screen apart."""

    camera: str | None = None
    screen: str | None = None


class Media(Strict, frozen=True):
    """What a device sends in the call at this moment. `weak`: its link carries sound only, so its picture is paused."""

    audio: bool
    video: bool
    screen: bool
    streams: Streams | None = None
    weak: bool = False


class Cursor(Strict, frozen=True):
    """How far a client has seen a room's log (rule L5)."""

    epoch: str
    id: str | None
    key: str | None = None


class Description(Strict, frozen=True):
    """RTCSessionDescriptionInit (W3C WebRTC §4.6.2)."""

    type: Literal["offer", "answer", "pranswer"]
    sdp: str


class Candidate(Strict, frozen=True):
    """RTCIceCandidateInit (W3C WebRTC §4.8.1); the empty `candidate` ends a generation's candidates."""

    candidate: str
    sdpMid: str | None = None
    sdpMLineIndex: Annotated[int, Meta(ge=0, le=65535)] | None = None
    usernameFragment: str | None = None


class RoomJoin(Strict, frozen=True):
    """R1: enter a room, or resume in it."""

    room: str
    cursor: Cursor | None = None
    limit: int | None = None


class RoomLeave(Strict, frozen=True):
    """R6: leave a room at once, without the grace of a dropped socket."""

    room: str


class LogPage(Strict, frozen=True):
    """L6: read the log; bounds are exclusive, neither bound = the newest page."""

    room: str
    limit: int | None = None
    before: str | None = None
    after: str | None = None


class ChatSend(Strict, frozen=True):
    """L9: say something."""

    room: str
    key: str
    text: str
    reply_to: str | None = None
    files: list[msgspec.Raw] | None = None


class ChatEdit(Strict, frozen=True):
    """L9: say it better (own messages)."""

    room: str
    key: str
    id: str
    text: str


class ChatDelete(Strict, frozen=True):
    """L9: take it back (own messages)."""

    room: str
    key: str
    id: str


class ChatReact(Strict, frozen=True):
    """L9: put an emoji on a message, or take it off."""

    room: str
    key: str
    id: str
    emoji: str
    on: bool


class ChatTyping(Strict, frozen=True):
    """L10: never stored."""

    room: str
    on: bool


class ChatRead(Strict, frozen=True):
    """L10: seen up to and including `id`."""

    room: str
    id: str


class CallJoin(Strict, frozen=True):
    """K1: start, answer or resume the room's call.

    `call` resumes that very call silently. `leg` says "I still hold the connections of this leg of mine" (K5): the server
    keeps the leg if it is still the newest of that call, and the partner rebuilds nothing.
    """

    room: str
    media: Media
    call: str | None = None
    rollback: bool | None = None
    leg: Count | None = None


class CallLeave(Strict, frozen=True):
    """K1: hang up."""

    room: str
    call: str


class CallDecline(Strict, frozen=True):
    """K1: do not answer a ringing call."""

    room: str
    call: str


class CallMedia(Strict, frozen=True):
    """K4: camera, microphone or screen went on or off."""

    room: str
    call: str
    media: Media


class CallSignal(Strict, frozen=True):
    """K2: hand a description or candidates (exactly one of the two) to one peer."""

    room: str
    call: str
    to: str
    to_leg: Count
    seq: Count
    gen: Count
    description: Description | None = None
    candidates: list[Candidate] | None = None


class Ice(Strict, frozen=True):
    """K4: fresh relay credentials."""

    room: str


class Echo(Strict, frozen=True):
    """K6: an offer to the server's echo peer, with all its candidates: does the network carry a call?"""

    room: str
    description: Description


class ProposedTime(Strict, frozen=True):
    """A time that is proposed. `fold` says which of two that read the same (S9)."""

    wall: str
    tz: str
    fold: Literal[0, 1] | None = None


class SessionBook(Strict, frozen=True):
    """Ask for a session; it holds its time at once (S3)."""

    room: str
    key: str
    wall: str
    tz: str
    minutes: int
    agenda: str | None = None
    fold: Literal[0, 1] | None = None


class SessionMove(Strict, frozen=True):
    """To another time, another duration, or both (S8)."""

    room: str
    session: str
    rev: Count
    wall: str
    tz: str
    minutes: int | None = None
    reason: str | None = None
    fold: Literal[0, 1] | None = None


class SessionPropose(Strict, frozen=True):
    """Other times, of which the other side takes one or none; until then the old one stands (S8)."""

    room: str
    session: str
    rev: Count
    times: list[ProposedTime]
    minutes: int | None = None
    reason: str | None = None


class SessionAnswer(Strict, frozen=True):
    """`proposal` null: the session itself. `accept`: the index of a time of the proposal (0 for the session itself); null
    declines."""

    room: str
    session: str
    rev: Count
    proposal: str | None = None
    accept: int | None = None


class SessionCancel(Strict, frozen=True):
    """It will not take place."""

    room: str
    session: str
    rev: Count
    reason: str | None = None


class SessionExtend(Strict, frozen=True):
    """`minutes` more."""

    room: str
    session: str
    rev: Count
    minutes: int


class SessionAgenda(Strict, frozen=True):
    """An addition: what it is about, without any bearing on its time (S2)."""

    room: str
    session: str
    rev: Count
    agenda: str


class SessionEnd(Strict, frozen=True):
    """An addition: it is over before its time, also because the other side did not come."""

    room: str
    session: str
    rev: Count


class SessionKnock(Strict, frozen=True):
    """An addition: let the other side know that I am in the room."""

    room: str


SessionCommand = (
    SessionMove | SessionPropose | SessionAnswer | SessionCancel | SessionExtend | SessionAgenda | SessionEnd
)
"""Changes of a session that exists; each says which `rev` it saw (S4)."""

StoreCommand = (
    RoomJoin | RoomLeave | LogPage | ChatSend | ChatEdit | ChatDelete | ChatReact | ChatRead
    | CallJoin | CallLeave | CallDecline | CallMedia
    | SessionBook | SessionCommand | SessionKnock
)  # fmt: skip
"""Commands that need the store: handled and acknowledged in order among themselves (T3)."""

SignalCommand = CallSignal | ChatTyping | Ice
"""Commands that never wait for the store: in order among themselves, overtaking the others (T3)."""

Command = StoreCommand | SignalCommand | Echo
"""`Echo` waits for the network, so it has a lane of its own (T3)."""

COMMANDS: dict[str, type[Strict]] = {
    "room.join": RoomJoin,
    "room.leave": RoomLeave,
    "log.page": LogPage,
    "chat.send": ChatSend,
    "chat.edit": ChatEdit,
    "chat.delete": ChatDelete,
    "chat.react": ChatReact,
    "chat.typing": ChatTyping,
    "chat.read": ChatRead,
    "call.join": CallJoin,
    "call.leave": CallLeave,
    "call.decline": CallDecline,
    "call.media": CallMedia,
    "call.signal": CallSignal,
    "ice": Ice,
    "echo": Echo,
    "session.book": SessionBook,
    "session.move": SessionMove,
    "session.propose": SessionPropose,
    "session.answer": SessionAnswer,
    "session.cancel": SessionCancel,
    "session.extend": SessionExtend,
    "session.agenda": SessionAgenda,
    "session.end": SessionEnd,
    "session.knock": SessionKnock,
}
"""Every client event of the contract by its name on the wire."""
