"""One connection to a Redis, and one that many share.

A trip of its own for each command costs more than anything else that happens to a message. Here what is asked in one turn
of the event loop leaves in one write, and its answers, which come in the order of the questions (RESP, "pipelining"), in one
read. redis-py knows the addresses, the passwords and the TLS; hiredis packs and parses the bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import hiredis
from msgspec import Struct
from redis import exceptions as errors
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

Word = str | bytes | int

AWAY: Final = (errors.RedisError, errors.RedisClusterException, OSError)
"""Whatever keeps a store from answering; time limits are OSErrors, too."""

WAITING_MAX = 8_192
"""Commands of one connection that may wait for their answers; more are refused at once. A store answers tens of thousands a
second: so many wait only when it does not."""

WAITING_BYTES = 67_108_864
"""And their bytes."""

_ERRORS: dict[str, type[errors.RedisError]] = {
    "ASK": errors.AskError,
    "CLUSTERDOWN": errors.ClusterDownError,
    "LOADING": errors.BusyLoadingError,
    "MASTERDOWN": errors.MasterDownError,
    "MOVED": errors.MovedError,
    "NOAUTH": errors.AuthenticationError,
    "NOSCRIPT": errors.NoScriptError,
    "OOM": errors.OutOfMemoryError,
    "READONLY": errors.ReadOnlyError,
    "TRYAGAIN": errors.TryAgainError,
    "WRONGPASS": errors.AuthenticationError,
}


class Standing(tuple[Word, ...]):
    """A command, or the first words of one, that is said again and again: packed once. It stands first in a `Command`."""

    _strings: bytes

    def __new__(cls, *words: Word) -> Standing:
        made = super().__new__(cls, words)
        made._strings = _strings(words)
        return made

    def and_then(self, rest: Sequence[Word]) -> bytes:
        """The command that goes on with these words, packed (RESP: how many there are, then each of them)."""
        return b"*%d\r\n%b%b" % (len(self) + len(rest), self._strings, _strings(rest) if rest else b"")


def _strings(words: Sequence[Word]) -> bytes:
    """Each as it stands in a command."""
    packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
    return packed[packed.index(b"\n") + 1 :]


Command = Sequence[Word | Standing]


def words(command: Command) -> Sequence[Word]:
    """What a command says, however it was put together."""
    first = command[0]
    return (*first, *command[1:]) if isinstance(first, Standing) else command  # type: ignore[arg-type,return-value]


class Asked(Struct, gc=False):
    """Who waits since when (the loop's seconds), and for how many answers: of several, those that have come."""

    answer: asyncio.Future[Any]
    since_s: float
    size_bytes: int
    count: int = 1
    come: list[Any] | None = None


class CrowdedError(errors.RedisError):
    """Too many commands wait already; this one was not sent."""


def _refusal(message: str) -> errors.RedisError:
    """As redis-py names what a Redis refuses."""
    code, _, rest = message.partition(" ")
    kind = _ERRORS.get(code)
    return kind(rest) if kind else errors.ResponseError(message)


class Link(asyncio.Protocol):
    """A connection: whole answers are handed to `on_answer`, and that it ended by itself to `on_lost`."""

    on_answer: Callable[[Any], None]
    on_lost: Callable[[], None]

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._reader = hiredis.Reader(protocolError=errors.InvalidResponse, replyError=_refusal)
        self.on_answer, self.on_lost = _unheard, _unmissed
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                self.on_answer(answer)
        except errors.InvalidResponse:
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True
        self.on_lost()

    def write(self, packed: bytes) -> None:
        if not self.lost:
            self._transport.write(packed)

    def send(self, *command: Word) -> None:
        self.write(_pack(command))

    def abort(self) -> None:
        """Ends it now: whatever still comes is not heard."""
        self.on_answer, self.on_lost = _unheard, _unmissed
        self._transport.abort()

    async def first(self, *command: Word) -> None:
        """Says something before anything else is said. Raises what a Redis refuses, and ConnectionError."""
        answered = asyncio.get_running_loop().create_future()
        self.on_answer, self.on_lost = answered.set_result, lambda: answered.set_result(_lost())
        self.send(*command)
        answer = await answered
        if isinstance(answer, Exception):
            raise answer


def _unheard(_: Any) -> None:
    pass


def _unmissed() -> None:
    pass


def _pack(command: Command) -> bytes:
    first = command[0]
    if isinstance(first, Standing):
        return first.and_then(command[1:])  # type: ignore[arg-type]
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
    return packed


def _lost() -> errors.ConnectionError:
    return errors.ConnectionError("the connection to the store was lost")


async def dial(to: Any) -> Link:
    """Connects to where a connection of redis-py's, which is only read, would lead: logged in, on its database, and unheard:
    `on_answer` and `on_lost` have to be set before anything else is awaited. Raises OSError and redis-py's errors."""
    loop = asyncio.get_running_loop()
    link: Link
    if isinstance(to, UnixDomainSocketConnection):
        _, link = await loop.create_unix_connection(Link, to.path)
    else:
        tls = to.ssl_context.get() if isinstance(to, SSLConnection) else None
        _, link = await loop.create_connection(Link, to.host, int(to.port), ssl=tls)
    try:
        if to.username or to.password:
            await link.first("AUTH", *([to.username] if to.username else []), to.password or "")
        if to.db:
            await link.first("SELECT", to.db)
    except BaseException:
        link.abort()
        raise
    if link.lost:
        raise _lost()
    return link


class SharedConnection:
    """Many callers' commands on one connection to one primary, which `where` finds: executed, and answered, in the order of
    asking. It is made when it is needed, and made anew when it is lost.

    A command is never sent twice. What was not answered when the connection ended, and what no answer has come for within
    `timeout_s`, is a `ConnectionError` or `TimeoutError`, its outcome unknown; the connection ends then, because what is
    behind it cannot be answered either. Beyond `WAITING_MAX` and `WAITING_BYTES` nothing is taken. So nothing slow belongs
    here: whoever waits for replicas has a connection of its own.
    """

    def __init__(self, where: Callable[[], Awaitable[Any]], timeout_s: float) -> None:
        self._where = where
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._generation = 0
        self._unsent: list[bytes] = []
        self._waiting: deque[Asked] = deque()
        self._waiting_bytes = 0
        self._watch: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Asked for once: until Python 3.12 each question for the running loop is a system call."""

    def ask(self, command: Command) -> asyncio.Future[Any]:
        """The answer; what the store refuses is raised. Raises `CrowdedError` at once."""
        return self._ask(_pack(command))

    def ask_all(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """All their answers at once; a command that was refused is answered by its exception. Raises `CrowdedError`."""
        if not commands:  # nothing waits for an answer: it would take that of whoever asks next
            nothing: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            nothing.set_result([])
            return nothing
        packed = b"".join([_pack(command) for command in commands])
        return self._ask(packed, len(commands), [])

    def _ask(self, packed: bytes, count: int = 1, come: list[Any] | None = None) -> asyncio.Future[Any]:
        size_bytes = len(packed)
        if len(self._waiting) >= WAITING_MAX or self._waiting_bytes + size_bytes > WAITING_BYTES:
            raise CrowdedError("too many commands wait for the store")
        loop = self._loop = self._loop or asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(Asked(answer, loop.time(), size_bytes, count, come))
        self._waiting_bytes += size_bytes
        if not self._unsent:
            loop.call_soon(self._flush)
        self._unsent.append(packed)
        if self._watch is None:
            self._watch = loop.call_later(self._timeout_s, self._look)
        return answer

    def drop(self) -> None:
        """The primary is another one now: nothing more is said to this one, and what waits for its answers is lost."""
        self._generation += 1
        if self._link is not None:
            self._link.abort()
            self._end(_lost())

    async def aclose(self) -> None:
        self._generation += 1
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        if self._link is not None:
            self._link.abort()
        self._end(_lost())

    def _flush(self) -> None:
        if not self._unsent:
            return
        if self._link is not None:
            unsent, self._unsent = self._unsent, []
            self._link.write(b"".join(unsent))
        elif self._dialling is None:
            self._dialling = asyncio.create_task(self._dial(), name="dial the store")

    async def _dial(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                link = await self._dialled()
        except AWAY as error:
            self._end(error)
        else:
            self._link = link
            self._flush()
        finally:
            self._dialling = None

    async def _dialled(self) -> Link:
        while True:
            to = await self._where()
            generation = self._generation
            link = await dial(to)
            if generation == self._generation:
                link.on_answer = self._answered
                link.on_lost = partial(self._gone, link)
                return link
            link.abort()

    def _answered(self, value: Any) -> None:
        asked = self._waiting[0]
        if asked.come is not None:
            asked.come.append(value)
            if len(asked.come) < asked.count:
                return
            value = asked.come
        self._waiting.popleft()
        self._waiting_bytes -= asked.size_bytes
        answer = asked.answer
        if answer.done():
            return  # nobody waits for it any more
        if not isinstance(value, Exception):
            answer.set_result(value)
        elif isinstance(value, errors.ReadOnlyError):
            answer.set_exception(errors.ConnectionError("the primary is a replica now"))
            self.drop()
        else:
            answer.set_exception(value)

    def _gone(self, link: Link) -> None:
        if link is self._link:
            self._end(_lost())

    def _end(self, error: Exception) -> None:
        """Whoever waits is told; the next command dials anew."""
        self._link = None
        waiting, self._waiting = self._waiting, deque()
        self._unsent, self._waiting_bytes = [], 0
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        for asked in waiting:
            if not asked.answer.done():
                asked.answer.set_exception(error)

    def _look(self) -> None:
        """One timer for the connection, not one for each command: is the oldest one answered in time?"""
        self._watch = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        left_s = self._waiting[0].since_s + self._timeout_s - loop.time()
        if left_s > 0:
            self._watch = loop.call_later(left_s, self._look)
            return
        if self._link is not None:
            self._link.abort()
        self._end(TimeoutError("the store does not answer"))
