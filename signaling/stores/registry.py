"""Who has a socket on which node, which nodes are alive, and which rooms time has something to do for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis

from signaling.stores.redis_client import Script, answered, publish

CLAIM_MS = 5_000
"""A node that takes a due room and dies leaves it to another after this."""

KEY_S = 172_800
"""As long as the room log knows a key, at least."""

CLAIM_KEY_S = 60
"""A key that was claimed and not written, such as one over the rate, is forgotten after this: longer than any write."""

DUE_MAX = 64
"""Rooms that one beat takes at most; the others wait for the next beat, a second later."""


class Beat(Struct, frozen=True):
    """`seen`: every node of the last day and when it was last alive, in the store's milliseconds, like `now`."""

    now: int
    seen: Mapping[str, int]
    due: Sequence[str]


def person_channel(person: str) -> str:
    return f"{{p:{person}}}"


def node_channel(node: str) -> str:
    return f"{{n:{node}}}"


class Registry:
    """Every method raises `Unavailable` when the store is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._connect = Script(redis, "connect")
        self._beat = Script(redis, "beat")

    async def beat(self, node: str) -> Beat:
        now, nodes, due = await self._beat(["{nodes}:seen", "{nodes}:due"], [node, CLAIM_MS, DUE_MAX])
        seen = {nodes[i].decode(): int(float(nodes[i + 1])) for i in range(0, len(nodes), 2)}
        return Beat(now=int(now), seen=seen, due=[slug.decode() for slug in due])

    async def depart(self, node: str) -> None:
        """A node that ends in order is dead at once, not after its lease."""
        await answered(self._redis.zadd("{nodes}:seen", {node: 1}))

    async def due(self, slug: str, at_ms: int | None) -> None:
        """Wake some node for this room at that time; None: time has nothing to do there any more."""
        if at_ms is None:
            await answered(self._redis.zrem("{nodes}:due", slug))
        else:
            await answered(self._redis.zadd("{nodes}:due", {slug: at_ms}))

    async def connect(
        self, person: str, socket: str, node: str, device: str, alive: Collection[str], most: int
    ) -> bool:
        """Registers a socket and dismisses those it replaces (R3, and more than `most`). Was the person online before?"""
        keys = [f"{person_channel(person)}:sockets", person_channel(person)]
        return bool(await self._connect(keys, [socket, node, device.lower(), most, *alive]))

    async def disconnect(self, person: str, socket: str, alive: Collection[str]) -> bool:
        """Is the person still online? Of several sockets that go at once the last one, and only it, is told no."""
        name = f"{person_channel(person)}:sockets"
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hdel(name, socket)
            pipe.hvals(name)
            _, sockets = await answered(pipe.execute())
        return _any_alive(sockets, alive)

    async def online(self, persons: Collection[str], alive: Collection[str]) -> set[str]:
        """Those of `persons` who have a socket on a node that is alive (R1)."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for person in persons:
                pipe.hvals(f"{person_channel(person)}:sockets")
            rows = await answered(pipe.execute())
        return {person for person, sockets in zip(persons, rows, strict=True) if _any_alive(sockets, alive)}

    async def claim(self, person: str, key: str, slug: str) -> bool:
        """True when this key of this person belongs to this room now, for `CLAIM_KEY_S`; `keep` makes it last (L3)."""
        holder: Any = await answered(
            self._redis.set(_key(person, key), slug, nx=True, get=True, ex=CLAIM_KEY_S)
        )
        return holder is None or holder.decode() == slug

    async def keep(self, person: str, key: str, slug: str) -> None:
        """A claimed key was written: it belongs to this room for 24 h at least."""
        await answered(self._redis.set(_key(person, key), slug, ex=KEY_S))

    async def ring(self, person: str, slug: str, frame: bytes, ring_ms: int) -> None:
        """All sockets of the person hear `frame`; those that come while it rings, within `ring_ms`, are given it."""
        async with self._redis.pipeline(transaction=True) as pipe:
            ringing = f"{person_channel(person)}:ringing"
            pipe.hset(ringing, slug, frame)
            pipe.pexpire(ringing, ring_ms)
            await answered(pipe.execute())
        await self.publish(person_channel(person), b"N" + frame)

    async def quiet(self, person: str, slug: str, frame: bytes) -> None:
        """The end of `ring`."""
        await answered(self._redis.hdel(f"{person_channel(person)}:ringing", slug))
        await self.publish(person_channel(person), b"N" + frame)

    async def ringing(self, person: str) -> list[bytes]:
        """The frames of what rings for this person now."""
        frames: Any = await answered(self._redis.hvals(f"{person_channel(person)}:ringing"))
        return list(frames)

    async def publish(self, channel: str, message: bytes) -> int:
        """The number of nodes that heard it."""
        return await answered(publish(self._redis, channel, message))


def _key(person: str, key: str) -> str:
    return f"{person_channel(person)}:key:{key.lower()}"


def _any_alive(sockets: list[bytes], alive: Collection[str]) -> bool:
    return any(row.split(b" ", 1)[0].decode() in alive for row in sockets)
