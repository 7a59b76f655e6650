"""Who has a socket on which node, which nodes are alive, and which rooms time has something to do for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from signaling.stores.redis_link import Word
from signaling.stores.store import Script, Store

CLAIM_MS = 5_000
"""A node that takes a due room and dies leaves it to another after this."""

KEY_S = 172_800
"""As long as the room log knows a key, at least."""

CLAIM_KEY_S = 60
"""A key that was claimed and not written, such as one over the rate, is forgotten after this: longer than any write."""

DUE_MAX = 256
"""Rooms that one beat takes at most; the others wait for the next beat, a second later. A room takes about two milliseconds,
and each with a call comes round once a minute: enough for more rooms than a node has sockets for."""


class Beat(Struct, frozen=True):
    """Of every node of the last day, in the store's milliseconds, like `now`: when it was last alive (`seen`), and since
    when it has beaten without a gap of a lease (`steady`)."""

    now: int
    seen: Mapping[str, int]
    steady: Mapping[str, int]
    due: Sequence[str]


class Arrival(Struct, frozen=True):
    """Was the person online before, since when this socket is there (the store's milliseconds; None when a newer one of the
    same device has replaced it), and the frames of what rings for the person now."""

    was_online: bool
    since: int | None
    ringing: tuple[bytes, ...] = ()


def person_channel(person: str) -> str:
    return f"{{p:{person}}}"


def node_channel(node: str) -> str:
    return f"{{n:{node}}}"


class Registry:
    """Every method raises `Unavailable` when the store is away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._connect = Script(store, "connect")
        self._disconnect = Script(store, "disconnect")
        self._beat = Script(store, "beat")
        self._depart = Script(store, "depart")
        self._ring = Script(store, "ring")
        self._claim = Script(store, "claim")

    async def beat(self, node: str, lease_ms: int, *, take: int = DUE_MAX) -> Beat:
        """With the rooms that this node takes, `take` at most."""
        keys = ["{nodes}:seen", "{nodes}:due", "{nodes}:steady"]
        now, seen, steady, due = await self._beat(keys, [node, CLAIM_MS, take, lease_ms])
        return Beat(int(now), _times(seen), _times(steady), [slug.decode() for slug in due])

    async def depart(self, node: str, lease_ms: int) -> None:
        """A node that ends in order is dead at once, not after its lease, and its people are away since then."""
        await self._depart(["{nodes}:seen"], [node, lease_ms])

    async def due(self, slug: str, at_ms: int | None) -> None:
        """Wake some node for this room at that time; None: time has nothing to do there any more."""
        if at_ms is None:
            await self._store.run("ZREM", "{nodes}:due", slug)
        else:
            await self._store.run("ZADD", "{nodes}:due", at_ms, slug)

    async def due_again(self, when: Mapping[str, int]) -> None:
        """As `due`, for several rooms in one trip."""
        words: list[Word] = [word for slug, at_ms in when.items() for word in (at_ms, slug)]
        await self._store.run("ZADD", "{nodes}:due", *words)

    async def connect(
        self,
        person: str,
        socket: str,
        node: str,
        device: str,
        alive: Collection[str],
        most: int,
        since: int | None = None,
        gone: Sequence[str] = (),
    ) -> Arrival:
        """Registers a socket and dismisses those it replaces (R3, and more than `most`). With `since`, what an earlier
        arrival said, it is registered again: that puts right what a store that was rolled back has forgotten. Those that
        have just `gone` are let go of; their person was online until now."""
        channel = person_channel(person)
        keys = [f"{channel}:sockets", channel, f"{channel}:ringing"]
        words: list[Word] = [socket, node, device.lower(), most, since or 0, len(gone), *gone, *alive]
        online, at, ringing = await self._connect(keys, words)
        return Arrival(was_online=bool(online), since=int(at) or None, ringing=tuple(ringing))

    async def disconnect(self, person: str, socket: str, alive: Collection[str]) -> bool:
        """Is the person still online? Of several sockets that go at once the last one, and only it, is told no."""
        sockets = await self._disconnect([f"{person_channel(person)}:sockets"], [socket])
        return _any_alive(sockets, alive)

    async def online(self, persons: Collection[str], alive: Collection[str], *, unknown: bool) -> set[str]:
        """Those of `persons` who have a socket on a node that is alive (R1). `unknown`: are those counted whom a part of the
        store holds that is away?"""
        if not persons:
            return set()
        rows = await self._store.each(*(("HVALS", f"{person_channel(person)}:sockets") for person in persons))
        return {
            person
            for person, sockets in zip(persons, rows, strict=True)
            if (unknown if isinstance(sockets, Exception) else _any_alive(sockets, alive))
        }

    async def claim(self, person: str, key: str, slug: str) -> bool:
        """True when this key of this person belongs to this room now, for `CLAIM_KEY_S`; `keep` makes it last (L3)."""
        holder = await self._claim([_key(person, key)], [slug, CLAIM_KEY_S])
        return holder in (b"", slug.encode())

    async def keep(self, person: str, key: str, slug: str) -> None:
        """A claimed key was written: it belongs to this room for 24 h at least."""
        await self._store.run("SET", _key(person, key), slug, "EX", KEY_S)

    async def ring(self, person: str, slug: str, frame: bytes, ring_ms: int) -> None:
        """All sockets of the person hear `frame`; those that come while it rings, within `ring_ms`, are given it."""
        keys = [f"{person_channel(person)}:ringing", person_channel(person)]
        await self._ring(keys, [slug, ring_ms, frame, b"N" + frame])

    async def quiet(self, person: str, slug: str, frame: bytes) -> None:
        """The end of `ring`."""
        await self._store.run("HDEL", f"{person_channel(person)}:ringing", slug)
        await self.publish(person_channel(person), b"N" + frame)

    async def knock(self, person: str, slug: str, every_ms: int) -> int:
        """0: may knock, once in `every_ms` for each person and room; else the milliseconds until they may again."""
        name = f"{person_channel(person)}:knocked:{slug}"
        if await self._store.run("SET", name, "1", "NX", "PX", every_ms):
            return 0
        return max(1, int(await self._store.run("PTTL", name)))

    async def publish(self, channel: str, message: bytes) -> int:
        """The number of nodes that heard it."""
        return await self._store.publish(channel, message)


def _key(person: str, key: str) -> str:
    return f"{person_channel(person)}:key:{key.lower()}"


def _times(pairs: list[bytes]) -> dict[str, int]:
    return {pairs[i].decode(): int(float(pairs[i + 1])) for i in range(0, len(pairs), 2)}


def _any_alive(sockets: list[bytes], alive: Collection[str]) -> bool:
    return any(row.split(b" ", 1)[0].decode() in alive for row in sockets)
