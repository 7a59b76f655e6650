"""Whose turn it is: of all nodes one does a task that comes round."""

from __future__ import annotations

import re

from signaling.stores.store import Store

NEWEST_MS = 172_800_000
"""After that an older version counts again: somebody went back to it."""


class Turns:
    """Every method raises `Unavailable` when the store is away."""

    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self._node = node

    async def take(self, task: str, every_ms: int) -> bool:
        """True for one node, the one whose turn it is; nobody has the next one before `every_ms` are over."""
        return bool(await self._store.run("SET", _name(task), self._node, "NX", "PX", every_ms))

    async def keep(self, task: str, for_ms: int) -> None:
        """It is done, and nobody has the next turn before `for_ms` are over."""
        await self._store.run("SET", _name(task), self._node, "PX", for_ms)

    async def is_newest(self, what: str, version: str) -> bool:
        """Whether no node has come with a newer one in the last two days; versions are compared by their numbers."""
        name = _name(f"newest {what}")
        known = await self._store.run("GET", name)
        if known is not None and _numbers(known.decode()) > _numbers(version):
            return False
        await self._store.run("SET", name, version, "PX", NEWEST_MS)
        return True

    async def give_back(self, task: str) -> None:
        """It was not done: the next node that asks has the turn."""
        await self._store.run("DEL", _name(task))


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _name(task: str) -> str:
    return f"{{nodes}}:turn:{task}"
