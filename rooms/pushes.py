"""What the server says unasked, and the parts of its answers (PROTOCOL.md). Server objects may grow new fields (T4)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Raw, Struct

from rooms.commands import Candidate, Description, Media
from rooms.session import Moves, Session

Role = Literal["mentor", "mentee", "guest"]

Policy = Literal["all", "relay"]
"""RTCIceTransportPolicy (W3C WebRTC §4.2.3): `relay` hides the addresses of two people from each other."""


class Sent(Struct, frozen=True, omit_defaults=True):
    """An object from the server."""


class Placed(Sent, frozen=True):
    """What the log adds to an event: `log` pushes and history are `Placed` and an event in one object (L1)."""

    room: str
    id: str
    prev: str | None
    at: int


class StreamsShown(Sent, frozen=True):
    camera: str | None = None
    screen: str | None = None


class MediaShown(Sent, frozen=True):
    """What a device sends in the call. The strict `commands.Media` as it is kept and shown: read tolerantly, because a
    node of the next version may have written it."""

    audio: bool
    video: bool
    screen: bool
    streams: StreamsShown | None = None
    weak: bool = False

    @classmethod
    def of(cls, media: Media) -> MediaShown:
        named = media.streams
        streams = StreamsShown(camera=named.camera, screen=named.screen) if named else None
        return cls(
            audio=media.audio, video=media.video, screen=media.screen, streams=streams, weak=media.weak
        )


class PeerShown(Sent, frozen=True):
    """A device in a room as the others see it (R1, R5). `media` is null outside the call. `rollback: false` (an addition):
    this peer cannot roll back, so the other side of it is polite (K3)."""

    peer: str
    person: str
    device: str
    state: Literal["here", "away", "gone"]
    leg: int
    media: MediaShown | None
    rollback: bool = True


class PeerPush(PeerShown, frozen=True, kw_only=True):
    """R5."""

    room: str


class PersonPush(Sent, frozen=True):
    """R1: `online` = has a socket anywhere. `tz` (an addition): the zone that they have taken just now."""

    room: str
    person: str
    online: bool
    tz: str | None = None


class TypingPush(Sent, frozen=True):
    """L10."""

    room: str
    person: str
    on: bool


class ReadPush(Sent, frozen=True):
    """L10."""

    room: str
    person: str
    id: str


class RingPush(Sent, frozen=True):
    """K1: on all the partner's sockets, in the room or not."""

    room: str
    call: str
    by: str


class QuietPush(Sent, frozen=True):
    """K1: the ringing is over."""

    room: str
    call: str
    reason: Literal["answered", "declined", "cancelled", "timeout"]


class MovedPush(Sent, frozen=True):
    """R4: this person's part in the call is on another device now."""

    room: str
    call: str


class SignalPush(Sent, frozen=True, kw_only=True, rename={"from_": "from"}):
    """K2: `from` and `from_leg` are the server's word, never the sender's. `to_leg` (an addition): a socket may be handed
    what is for a leg that is not its own any more, or not yet."""

    room: str
    call: str
    from_: str
    from_leg: int
    to_leg: int
    seq: int
    gen: int
    description: Description | None = None
    candidates: list[Candidate] | None = None


class KnockPush(Sent, frozen=True):
    """An addition: `by` is in the room and would like the others to come; on all their sockets, in the room or not."""

    room: str
    by: str


class ResetPush(Sent, frozen=True):
    """L1, L5: what was pushed before can no longer be continued; a new `room.join` says what is there."""

    room: str
    reason: Literal["trimmed", "diverged", "epoch"]


class ReplacedPush(Sent, frozen=True):
    """R3, and the limit on sockets of one person."""

    reason: Literal["device", "too_many"]


class RevokedPush(Sent, frozen=True):
    """C4."""

    reason: Literal["revoked", "logout", "removed"]
    room: str | None = None


class GoawayPush(Sent, frozen=True):
    """C3."""

    in_ms: int
    reason: Literal["drain"]


PUSHES: dict[str, type[Sent]] = {
    "log": Placed,
    "peer": PeerPush,
    "person": PersonPush,
    "typing": TypingPush,
    "read": ReadPush,
    "call.ring": RingPush,
    "call.quiet": QuietPush,
    "call.moved": MovedPush,
    "call.signal": SignalPush,
    "session.knock": KnockPush,
    "reset": ResetPush,
    "replaced": ReplacedPush,
    "revoked": RevokedPush,
    "goaway": GoawayPush,
}
"""Every server event of the contract by its name on the wire."""


class You(Sent, frozen=True):
    """Oneself in the answer to `room.join`. `media` is null unless this peer is in the call (an addition to R1)."""

    peer: str
    person: str
    role: Role
    polite: bool
    leg: int
    media: MediaShown | None


class RoomShown(Sent, frozen=True):
    """`moves` (an addition): how this pair moves a confirmed session."""

    slug: str
    title: str
    moves: Moves = "free"


class PersonShown(Sent, frozen=True):
    person: str
    name: str
    role: Role
    tz: str
    online: bool
    read: str | None


class CallShown(Sent, frozen=True):
    id: str
    since: int


class LogShown(Sent, frozen=True):
    """L5: one page of the log and where it stands."""

    epoch: str
    head: str | None
    events: list[Raw]
    more: bool
    reset: Literal["trimmed", "diverged", "epoch"] | None
    floor: str | None = None
    """The newest event that retention removed: nothing up to it is kept."""


class IceServer(Sent, frozen=True):
    """RTCIceServer (W3C WebRTC §4.2.4)."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class IceShown(Sent, frozen=True):
    """K4."""

    servers: list[IceServer]
    policy: Policy
    expires_at: int


class Joined(Sent, frozen=True):
    """The answer to `room.join`: all that is needed to draw the room and to send an offer (R1)."""

    ok: bool
    you: You
    room: RoomShown
    people: list[PersonShown]
    peers: list[PeerShown]
    call: CallShown | None
    session: Session | None
    log: LogShown
    ice: IceShown


class Paged(Sent, frozen=True):
    """The answer to `log.page` (L6). `floor`: the newest event that retention removed; nothing up to it is kept."""

    ok: bool
    events: list[Raw]
    more: bool
    floor: str | None = None


class Appended(Sent, frozen=True):
    """The answer to every `chat.` request with a key (L3, L9)."""

    ok: bool
    id: str
    at: int
    dup: bool


class CallPeer(Sent, frozen=True):
    peer: str
    person: str
    leg: int
    media: MediaShown | None
    rollback: bool = True


class CallJoined(Sent, frozen=True):
    """The answer to `call.join` (K1, K1a)."""

    ok: bool
    call: str
    leg: int
    peers: list[CallPeer]


class IceAnswer(Sent, frozen=True):
    """The answer to `ice` (K4)."""

    ok: bool
    servers: list[IceServer]
    policy: Policy
    expires_at: int


class EchoAnswer(Sent, frozen=True):
    """The answer to `echo` (K6): what was sent comes back for `limit_s` seconds at most."""

    ok: bool
    description: Description
    limit_s: int


class SessionShown(Sent, frozen=True):
    """The answer to every `session.` request that changes one (S)."""

    ok: bool
    session: Session


class Done(Sent, frozen=True):
    """The answer where there is nothing to say."""

    ok: bool


class Refusal(Sent, frozen=True):
    """T2: the `error` of a refused request."""

    code: str
    message: str
    retry_ms: int | None = None
    field: str | None = None
    current: Any = None


class Refused(Sent, frozen=True):
    ok: bool
    error: Refusal


ANSWERS: tuple[type[Sent], ...] = (
    Joined,
    Paged,
    Appended,
    CallJoined,
    IceAnswer,
    EchoAnswer,
    SessionShown,
    Done,
    Refused,
)
