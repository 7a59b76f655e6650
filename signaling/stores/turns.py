"""Whose turn it is: of all nodes one does a task that comes round."""

from __future__ import annotations

from redis.asyncio import Redis

from signaling.stores.redis_client import answered


class Turns:
    """Every method raises `Unavailable` when the store is away."""

    def __init__(self, redis: Redis, node: str) -> None:
        self._redis = redis
        self._node = node

    async def take(self, task: str, every_ms: int) -> bool:
        """True for one node, the one whose turn it is; nobody has the next one before `every_ms` are over."""
        return bool(await answered(self._redis.set(_name(task), self._node, nx=True, px=every_ms)))

    async def give_back(self, task: str) -> None:
        """It was not done: the next node that asks has the turn."""
        await answered(self._redis.delete(_name(task)))


def _name(task: str) -> str:
    return f"{{nodes}}:turn:{task}"
