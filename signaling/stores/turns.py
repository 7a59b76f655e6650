"""Whose turn it is: of all nodes one does a task that comes round."""

from __future__ import annotations

from signaling.stores.store import Store


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

    async def give_back(self, task: str) -> None:
        """It was not done: the next node that asks has the turn."""
        await self._store.run("DEL", _name(task))


def _name(task: str) -> str:
    return f"{{nodes}}:turn:{task}"
