"""A TCP proxy between nodes and their store, or between clients and a node: it delays, stalls, cuts, and loses replies.

It reads RESP (https://redis.io/docs/latest/develop/reference/protocol-spec/) well enough to know which command a reply
belongs to, so that a fault can be put between the effect of a command and its caller's knowing of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from signaling.stores.redis_log import RedisRoomLog
from signaling.stores.registry import Registry
from signaling.stores.store import Script

CHUNK_BYTES = 65_536
PUSHES = frozenset({b"smessage", b"message", b"pmessage"})
REPLICATION = frozenset({"PSYNC", "SYNC"})


def script_names() -> dict[str, str]:
    """The digest by which the server calls each of its scripts → the name of its file."""
    store: Any = None  # a script needs one only when it is called
    parts = [*vars(RedisRoomLog(store)).values(), *vars(Registry(store)).values()]
    return {part.digest: part.name for part in parts if isinstance(part, Script)}


def frame_end(data: bytes | bytearray, at: int = 0) -> int | None:
    """Where the RESP value that begins at `at` ends; None when it is not there in full."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return None
    kind, end = data[at : at + 1], line + 2
    if kind == b"$":
        size = int(data[at + 1 : line])
        end += size + 2 if size >= 0 else 0
        return end if end <= len(data) else None
    if kind in b"*%~>":
        count = int(data[at + 1 : line]) * (2 if kind == b"%" else 1)
        for _ in range(count):
            inner = frame_end(data, end)
            if inner is None:
                return None
            end = inner
    return end


def words(frame: bytes, most: int) -> list[bytes]:
    """The first bulk strings of an array; empty for anything else."""
    found: list[bytes] = []
    if frame[:1] not in b"*>":
        return found
    at = frame.index(b"\r\n") + 2
    while len(found) < most and at < len(frame) and frame[at : at + 1] == b"$":
        line = frame.index(b"\r\n", at)
        end = frame_end(frame, at)
        found.append(frame[line + 2 : end - 2] if end else b"")
        at = end or len(frame)
    return found


class Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, target: asyncio.StreamWriter) -> None:
        self._writers = (client, target)
        self.flows = asyncio.Event()
        self.flows.set()
        self.replicates = False
        """Whether a replica follows its primary here."""
        self.asked: deque[str] = deque()
        """The commands whose replies are still to come."""
        self.partial: dict[bool, bytearray] = {True: bytearray(), False: bytearray()}

    def cut(self) -> None:
        """Reset both sides."""
        for writer in self._writers:
            writer.transport.abort()
        self.flows.set()


Which = Callable[[Link], bool]


def every(_: Link) -> bool:
    """All links."""
    return True


class Proxy:
    """Listens on a port of its own, which stays the same, and forwards to `target` = (host, port).

    With `reads_resp` it knows the commands; `seen` counts their replies.
    """

    def __init__(self, target: tuple[str, int], *, reads_resp: bool = False) -> None:
        self.target = target
        self.port = 0
        self.links: list[Link] = []
        self.delay_s = 0.0
        """Every chunk, either way, is handed on this much later."""
        self.refuses: Which | None = None
        """New connections that fit are closed, or for replication: as soon as they ask for it."""
        self.seen: Counter[str] = Counter()
        self._names = script_names() if reads_resp else {}
        self._reads_resp = reads_resp
        self._stalls: Which | None = None
        self._losing: dict[str, deque[asyncio.Future[None]]] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Proxy:
        """Listen; the port is chosen at the first start."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Cut everything and listen no more."""
        if self._server:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, which: Which = every) -> int:
        """Reset the connections that fit; how many."""
        fitting = [link for link in self.links if which(link)]
        for link in fitting:
            link.cut()
        return len(fitting)

    def stall(self, which: Which = every) -> int:
        """Half-open: connections that fit, and new ones, take bytes and hand none on, nor the other side's end."""
        self._stalls = which
        fitting = [link for link in self.links if which(link)]
        for link in fitting:
            link.flows.clear()
        return len(fitting)

    def flow(self) -> None:
        """The end of `stall`: what was held is handed on."""
        self._stalls = None
        for link in self.links:
            link.flows.set()

    def lose_reply(self, command: str) -> asyncio.Future[None]:
        """The next reply to `command` (a script's name, or a command's) is dropped and its connection reset; done then."""
        future = asyncio.get_running_loop().create_future()
        self._losing.setdefault(command, deque()).append(future)
        return future

    def lose_nothing(self) -> None:
        """Forget what `lose_reply` still waits for."""
        self._losing.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, up_writer)
        self.links.append(link)
        if self._stalls and self._stalls(link):
            link.flows.clear()
        if self.refuses and self.refuses(link):
            link.cut()
        pumps: list[asyncio.Task[None]] = []
        try:
            pumps += [
                asyncio.create_task(self._pump(link, reader, up_writer, upward=True)),
                asyncio.create_task(self._pump(link, up_reader, writer, upward=False)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.links.remove(link)
            for pump in pumps:
                pump.cancel()
            for one in (writer, up_writer):
                one.close()

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upward: bool
    ) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await link.flows.wait()
                writer.write(self._passed(link, data, upward))
                await writer.drain()
            await link.flows.wait()
        except OSError:
            await link.flows.wait()

    def _passed(self, link: Link, data: bytes, upward: bool) -> bytes:
        """What of `data` is handed on: all of it, but for a reply that is lost."""
        if not self._reads_resp or link.replicates:
            return data
        if upward:
            for frame in self._frames(link, data, upward):
                self._ask(link, frame)
            return b"" if link.replicates and self._cut_replication(link) else data
        passed = bytearray()
        for frame in self._frames(link, data, upward):
            if self._is_lost(link, frame):
                link.cut()
                return bytes(passed)
            passed += frame
        return bytes(passed)

    def _cut_replication(self, link: Link) -> bool:
        """A link shows only now what it is for: what holds for such links holds for it from here on."""
        if self._stalls and self._stalls(link):
            link.flows.clear()
        if self.refuses and self.refuses(link):
            link.cut()
            return True
        return False

    def _frames(self, link: Link, data: bytes, upward: bool) -> Iterator[bytes]:
        waiting = link.partial[upward]
        waiting += data
        at = 0
        while at < len(waiting) and (end := frame_end(waiting, at)):
            yield bytes(waiting[at:end])
            at = end
        del waiting[:at]

    def _ask(self, link: Link, frame: bytes) -> None:
        command, *rest = [word.decode(errors="replace") for word in words(frame, 2)] or ["?"]
        command = command.upper()
        if command == "EVALSHA":
            command = self._names.get(rest[0], command)
        elif command == "EVAL":
            command = self._names.get(hashlib.sha1(rest[0].encode()).hexdigest(), command)  # noqa: S324
        link.replicates = link.replicates or command in REPLICATION
        link.asked.append(command)

    def _is_lost(self, link: Link, frame: bytes) -> bool:
        if PUSHES.intersection(words(frame, 1)) or not link.asked:
            return False
        command = link.asked.popleft()
        self.seen[command] += 1
        armed = self._losing.get(command)
        if not armed:
            return False
        future = armed.popleft()
        if not future.done():
            future.set_result(None)
        return True
