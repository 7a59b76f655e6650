"""Coming, going, and being cut off (rules R2–R6). Time is passed in, in milliseconds UTC."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from rooms.live import Live, Peer


def enter(live: Live, arrived: Peer) -> Live:
    """A device's socket joined the room. A peer that was away, or whose older socket this one replaces (R3), goes on as it
    was: same peer, same leg, still in the call."""
    known = live.peers.get(arrived.peer)
    if known is not None:
        arrived = replace(known, node=arrived.node, socket=arrived.socket, away_until=None)
    return noticing_emptiness(live.with_peer(arrived), now=None)


def drop(live: Live, peer: str, socket: str, now: int, away_ms: int) -> Live:
    """A socket is gone without a word: away for the grace (R2). A socket that has been replaced drops nothing."""
    known = live.peers.get(peer)
    if known is None or known.socket != socket or known.away_until is not None:
        return live
    return noticing_emptiness(live.with_peer(replace(known, away_until=now + away_ms)), now)


def drop_lost(live: Live, lost_at: Callable[[Peer], int | None], away_ms: int) -> Live:
    """Whose node died, or whose socket is nowhere, is away since then. `lost_at` is None for somebody who is there."""
    for known in live.peers.values():
        at = lost_at(known)
        if at is not None:
            live = drop(live, known.peer, known.socket, at, away_ms)
    return live


def expire(live: Live, now: int) -> Live:
    """The grace of those who are away is over: gone."""
    for known in list(live.peers.values()):
        if known.away_until is not None and known.away_until <= now:
            live = live.without_peer(known.peer)
    return live


def noticing_emptiness(live: Live, now: int | None) -> Live:
    """Keeps `call.empty_since`: since when nobody of the call has had a socket."""
    call = live.call
    if call is None:
        return live
    if any(peer.away_until is None for peer in live.callers()):
        return live.with_call(replace(call, empty_since=None))
    if call.empty_since is None and now is not None:
        return live.with_call(replace(call, empty_since=now))
    return live
