"""What is true of a room at this moment and is not history: who is present, and the call.

`Live` is one value. Nodes change it by compare-and-set (its version is the store's); what the people in the room are told
is the difference of two values (`changes`), so a node that missed a step tells its people the sum of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from rooms.events import Event
from rooms.pushes import CallPeer, MediaShown, MovedPush, PeerPush, PeerShown, QuietPush, RingPush


class Peer(Struct, frozen=True, omit_defaults=True):
    """One device's presence (R2). `away_until` (ms UTC) is None while its socket is there. `media` is None outside the
    call. `leg` counts this peer's entries into calls (K1a)."""

    peer: str
    person: str
    device: str
    node: str
    socket: str
    leg: int = 0
    media: MediaShown | None = None
    away_until: int | None = None
    rollback: bool = True

    def shown(self) -> PeerShown:
        return PeerShown(
            peer=self.peer,
            person=self.person,
            device=self.device,
            state="here" if self.away_until is None else "away",
            leg=self.leg,
            media=self.media,
            rollback=self.rollback,
        )

    def in_call(self) -> CallPeer:
        return CallPeer(
            peer=self.peer, person=self.person, leg=self.leg, media=self.media, rollback=self.rollback
        )


class Call(Struct, frozen=True, omit_defaults=True):
    """A call from its start to its end. `ring_until` is None when nothing rings. `empty_since`: nobody of the call has had
    a socket since then. `legs` remembers every peer that ever joined, so that one that vanished can keep its leg (K5)."""

    id: str
    by: str
    since: int
    answered: bool = False
    ring_until: int | None = None
    empty_since: int | None = None
    legs: dict[str, int] = {}


class Live(Struct, frozen=True, omit_defaults=True):
    peers: dict[str, Peer] = {}
    call: Call | None = None

    def with_peer(self, peer: Peer) -> Live:
        return msgspec.structs.replace(self, peers={**self.peers, peer.peer: peer})

    def without_peer(self, peer: str) -> Live:
        return msgspec.structs.replace(self, peers={k: v for k, v in self.peers.items() if k != peer})

    def with_call(self, call: Call | None) -> Live:
        return msgspec.structs.replace(self, call=call)

    def callers(self) -> list[Peer]:
        """Those who are in the call, away ones included."""
        return [peer for peer in self.peers.values() if peer.media is not None]


class Notice(Struct, frozen=True):
    """Something for all sockets of one person, in the room or not (K1)."""

    person: str
    push: RingPush | QuietPush


class Decision(Struct, frozen=True):
    """What a decided step leads to: the new value, what goes into the log, and who is told outside the room."""

    live: Live
    events: tuple[Event, ...] = ()
    notices: tuple[Notice, ...] = ()

    def then(self, step: Decision) -> Decision:
        return Decision(step.live, self.events + step.events, self.notices + step.notices)


def changes(slug: str, old: Live, new: Live) -> Iterator[PeerPush]:
    """R5: what a client that saw `old` has to hear to see `new`."""
    for peer in old.peers.values():
        if peer.peer not in new.peers:
            yield _push(slug, msgspec.structs.replace(peer.shown(), state="gone", media=None))
    for peer in new.peers.values():
        before = old.peers.get(peer.peer)
        if before is None or before.shown() != peer.shown():
            yield _push(slug, peer.shown())


def moved(slug: str, old: Live, new: Live) -> Iterator[tuple[str, MovedPush]]:
    """R4: the peers that lost the call to another device of the same person, and what each is told."""
    if new.call is None:
        return
    for peer in new.callers():
        for other in old.callers():
            now = new.peers.get(other.peer)
            if (
                other.person == peer.person
                and other.peer != peer.peer
                and now is not None
                and now.media is None
            ):
                yield other.peer, MovedPush(room=slug, call=new.call.id)


def _push(slug: str, shown: PeerShown) -> PeerPush:
    return PeerPush(room=slug, **msgspec.structs.asdict(shown))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Live)


def encode(live: Live) -> bytes:
    return _encoder.encode(live)


def decode(blob: bytes) -> Live:
    """What cannot be read is as good as nobody: whoever is there joins again, and no node stumbles over it for ever."""
    try:
        return _decoder.decode(blob) if blob else Live()
    except msgspec.MsgspecError:
        return Live()
