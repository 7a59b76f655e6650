"""A Redis Cluster as a store. redis-py keeps the map of slots, the connections and their parsing; the way of a command is
ours.

redis-py's own way closes every connection when one part of a cluster is down, also those to the parts that are well, and
with them requests that are under way there. Here a redirection is followed (nothing was executed), and everything else is
the caller's to know, while the map is asked for again beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode, PipelineCommand
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError, ClusterDownError, MovedError, NoScriptError, RedisError, ResponseError

from rooms.errors import Unavailable
from signaling.stores.redis_link import AWAY, Command, SharedConnection, Word, words
from signaling.stores.store import RETRY_MS, Gate, Store, answered, key_of, sent

LOOK_EVERY_S = 1.0
"""The map of a cluster that is not well is asked for this often at most."""

REDIRECTIONS = 5
"""More of them than nodes agree in a moment: then it is `unavailable`."""


On = Callable[[Any, Sequence[Command]], Awaitable[list[Any]]]


class ClusterStore(Store):
    def __init__(self, redis: RedisCluster, timeout_s: float, connections: int) -> None:
        self.redis: RedisCluster = redis
        self.timeout_s = timeout_s
        # One for each primary: one that hangs holds up nobody else's requests.
        self._gates: defaultdict[str, Gate] = defaultdict(lambda: Gate(connections, timeout_s))
        self._shared: dict[str, SharedConnection] = {}
        self._looked_s = -LOOK_EVERY_S
        self._looking: asyncio.Task[None] | None = None

    def execute(self, command: Command) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._execute(command))

    async def _execute(self, command: Command) -> Any:
        (answer,) = await self._followed(key_of(command), [command], self._on_shared)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def in_turn(self, key: str, *commands: Command) -> list[Any]:
        return await self._followed(key, commands, self._on_own)

    async def _followed(self, key: str, commands: Sequence[Command], on: On) -> list[Any]:
        await sent(self.redis.initialize())
        node, asking = self.redis.get_node_from_key(key), False
        for _ in range(REDIRECTIONS):
            answers = await on(node, [("ASKING",), *commands] if asking else commands)
            first = answers[1 if asking else 0]
            if isinstance(first, MovedError):
                await sent(self.redis.nodes_manager.move_slot(first))
                node, asking = self._node(first), False
            elif isinstance(first, AskError):
                node, asking = self._node(first), True
            else:
                return answers[-len(commands) :]
        self._look_soon()
        raise RedisError("the nodes of the cluster do not agree on who serves a slot")

    async def each(self, *commands: Command) -> list[Any]:
        return await answered(self._each(commands))

    async def _each(self, commands: Sequence[Command]) -> list[Any]:
        await sent(self.redis.initialize())
        parts: dict[Any, list[int]] = {}
        answers: list[Any] = [RedisError("no primary serves this slot")] * len(commands)
        for number, command in enumerate(commands):
            with contextlib.suppress(*AWAY):
                parts.setdefault(self.redis.get_node_from_key(key_of(command)), []).append(number)
        found = await asyncio.gather(
            *(
                self._on_shared(node, [commands[number] for number in numbers])
                for node, numbers in parts.items()
            )
        )
        for numbers, some in zip(parts.values(), found, strict=True):
            for number, answer in zip(numbers, some, strict=True):
                answers[number] = answer
                if isinstance(answer, AskError):  # or MovedError, which is one
                    key, again = key_of(commands[number]), [commands[number]]
                    (answers[number],) = await self._followed(key, again, self._on_shared)
        if answers and all(
            isinstance(answer, Exception) and not isinstance(answer, NoScriptError) for answer in answers
        ):
            raise answers[0]
        return answers

    async def _on_shared(self, node: Any, commands: Sequence[Command]) -> list[Any]:
        """On the connection that all share. Never raises: a command that could not be executed, or was refused, is answered
        by its exception."""
        shared = self._shared.get(node.name)
        if shared is None:
            where = partial(self._where, node.name)
            shared = self._shared[node.name] = SharedConnection(where, self.timeout_s)
        try:
            answers: list[Any] = await shared.ask_all(commands)
        except AWAY as error:
            answers = [error for _ in commands]
        self._look_at(node, answers)
        return answers

    async def _on_own(self, node: Any, commands: Sequence[Command]) -> list[Any]:
        """As `_on_shared`, on a connection of their own."""
        asked = [PipelineCommand(number, *words(command)) for number, command in enumerate(commands)]
        try:
            async with self._gates[node.name]:
                await sent(node.execute_pipeline(asked))
            answers = [one.result for one in asked]
        except AWAY as error:
            answers = [error for _ in asked]
        self._look_at(node, answers)
        return answers

    def _look_at(self, node: Any, answers: Sequence[Any]) -> None:
        if any(_speaks_of_trouble(answer) for answer in answers):
            self.redis.nodes_manager.move_node_to_end_of_cached_nodes(node.name)  # asked last for the map
            self._look_soon()

    async def _where(self, name: str) -> Any:
        node = self.redis.get_node(node_name=name)
        if node is None:
            raise RedisError("the cluster does not have this node any more")
        return node.connection_class(**{**node.connection_kwargs, "retry": Retry(NoBackoff(), 0)})

    def _node(self, redirection: AskError) -> ClusterNode:
        node = self.redis.get_node(host=redirection.host, port=redirection.port)
        if node is None:
            self._look_soon()
            raise RedisError("the cluster has a node that we do not know yet")
        return node

    async def on_each_primary(self, *command: Word) -> list[Any]:
        await answered(sent(self.redis.initialize()))
        return [await answered(sent(node.execute_command(*command))) for node in self.redis.get_primaries()]

    async def ping(self) -> None:
        """A cluster of which one part is away still serves the rooms of all others: one answer is enough."""
        await answered(sent(self.redis.initialize()))
        left = {asyncio.create_task(_pong(node)) for node in self.redis.get_primaries()}
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            if any(pong.result() for pong in done):
                for slower in left:
                    slower.cancel()
                return
        raise Unavailable(retry_ms=RETRY_MS)

    async def home(self, channel: str) -> str:
        return await answered(self._home(channel))

    async def _home(self, channel: str) -> str:
        await sent(self.redis.initialize())
        node: Any = self.redis.get_node_from_key(channel)
        return str(node.name)

    async def look_again(self) -> None:
        await answered(sent(self.redis.nodes_manager.initialize()))

    def _look_soon(self) -> None:
        """One look at a time, and not all the time, however many requests have seen that the map is not right: after it
        redis-py opens every connection anew."""
        now_s = asyncio.get_running_loop().time()
        if (self._looking is None or self._looking.done()) and now_s >= self._looked_s + LOOK_EVERY_S:
            self._looked_s = now_s
            self._looking = asyncio.create_task(self._look(), name="look at the cluster")

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self.timeout_s):
                await self.redis.nodes_manager.initialize()
        except AWAY:
            return  # whoever asks next finds out the same
        for name in self._shared.keys() - {node.name for node in self.redis.get_nodes()}:
            await self._shared.pop(name).aclose()

    async def listening(self, home: str) -> Any:
        return await self._where(home)

    async def aclose(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*(shared.aclose() for shared in self._shared.values()))
        await super().aclose()


def _speaks_of_trouble(answer: object) -> bool:
    """A node that does not answer, or a slot that nobody serves: the map may have changed."""
    if isinstance(answer, ResponseError):
        return isinstance(answer, ClusterDownError)
    return isinstance(answer, AWAY)


async def _pong(node: ClusterNode) -> bool:
    try:
        await sent(node.execute_command("PING"))
    except AWAY:
        return False
    return True
