"""A client of the wire, as tests see it, and the one that stands on python-socketio."""

from __future__ import annotations

import abc
import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import socketio

from tests.support.people import Person
from tests.support.witness import Witness, check_ack, check_error

ASK_S = 10
PUSH_S = 5

Where = Mapping[str, Any] | Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Push:
    """One thing that the server said unasked."""

    name: str
    data: dict[str, Any]

    def fits(self, name: str, where: Where | None) -> bool:
        """Whether it has this name and these fields (or this quality)."""
        if self.name != name:
            return False
        if where is None:
            return True
        if callable(where):
            return bool(where(self.data))
        return all(self.data.get(key) == value for key, value in where.items())


class RefusedError(Exception):
    """CONNECT_ERROR: the server did not let this client in."""

    def __init__(self, data: Any) -> None:
        super().__init__(str(data))
        self.data = data

    @property
    def error(self) -> dict[str, Any]:
        """C2: the error object, checked: `{message: code, data: error}`."""
        assert isinstance(self.data, dict), self.data
        check_error(self.data.get("data"))
        assert self.data["message"] == self.data["data"]["code"], self.data
        error: dict[str, Any] = self.data["data"]
        return error


@dataclass
class Options:
    """How a client connects; the defaults are those of the contract."""

    device: str = field(default_factory=lambda: str(uuid.uuid4()))
    auth: dict[str, Any] | None = None
    transports: tuple[str, ...] = ("websocket",)
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    namespace: str = "/"
    msgpack: bool = True
    reconnect: bool = False


class Client(abc.ABC):
    """One device's socket. Every ack and push it hears is held against the rules of `witness`."""

    def __init__(self, url: str, person: Person | None, options: Options) -> None:
        self.url = url
        self.person = person
        self.options = options
        self.device = options.device
        self.heard: list[Push] = []
        self.acked: list[int] = []
        self._unread: list[Push] = []
        self._news = asyncio.Condition()
        self._witness = Witness()
        self._asked = 0
        self.broken: Exception | None = None
        self._closed = asyncio.Event()

    @property
    def auth(self) -> dict[str, Any]:
        """C1: what it shows at the door."""
        if self.options.auth is not None:
            return self.options.auth
        shown: dict[str, Any] = {"v": 1, "device": self.device}
        return {**shown, "token": self.person.token} if self.person else shown

    @abc.abstractmethod
    async def connect(self) -> Client:
        """Come in, or raise RefusedError."""

    @abc.abstractmethod
    async def emit(self, event: str, *arguments: Any) -> None:
        """Say something without asking for an ack."""

    @abc.abstractmethod
    async def begin(self, event: str, *arguments: Any) -> asyncio.Future[Any]:
        """Send now; the future is the raw ack. `acked` holds the numbers of acks as they came."""

    @abc.abstractmethod
    async def drop(self) -> None:
        """Lose the connection without saying anything of rooms."""

    async def ask(self, event: str, *arguments: Any) -> dict[str, Any]:
        """Send and wait for the ack, which must keep T2 and T5."""
        future = await self.begin(event, *arguments)
        return check_ack(await asyncio.wait_for(future, ASK_S))

    async def done(self, event: str, *arguments: Any) -> dict[str, Any]:
        """`ask` where only `ok: true` will do."""
        ack = await self.ask(event, *arguments)
        assert ack["ok"], f"{event} was refused: {ack['error']}"
        return ack

    async def refused(self, event: str, *arguments: Any) -> dict[str, Any]:
        """`ask` where only a refusal will do; its error."""
        ack = await self.ask(event, *arguments)
        assert not ack["ok"], f"{event} was not refused: {ack}"
        error: dict[str, Any] = ack["error"]
        return error

    async def next_push(
        self, name: str, where: Where | None = None, *, timeout_s: float = PUSH_S
    ) -> dict[str, Any]:
        """The first push not yet read that fits; those before it stay unread."""

        def take() -> Push | None:
            if self.broken:
                raise self.broken
            fitting = next((push for push in self._unread if push.fits(name, where)), None)
            if fitting:
                self._unread.remove(fitting)
            return fitting

        async with self._news:
            try:
                async with asyncio.timeout(timeout_s):
                    while not (push := take()):
                        await self._news.wait()
            except TimeoutError:
                heard = [(one.name, one.data) for one in self._unread[-8:]]
                raise TimeoutError(
                    f"no push {name!r} where {where} within {timeout_s} s; unread: {heard}"
                ) from None
        return push.data

    def unread(self, name: str, where: Where | None = None) -> list[dict[str, Any]]:
        """Pushes that came and were not yet read."""
        return [push.data for push in self._unread if push.fits(name, where)]

    def all(self, name: str, where: Where | None = None) -> list[dict[str, Any]]:
        """Pushes that ever came, read or not."""
        return [push.data for push in self.heard if push.fits(name, where)]

    async def closed(self, *, timeout_s: float = PUSH_S) -> None:
        """Wait until the connection is gone."""
        await asyncio.wait_for(self._closed.wait(), timeout_s)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        return self._closed.is_set()

    async def _hear(self, name: str, data: Any) -> None:
        async with self._news:
            try:
                self._witness.hear(name, data)
            except AssertionError as error:
                self.broken = error
            push = Push(name, data)
            self.heard.append(push)
            self._unread.append(push)
            self._news.notify_all()


class PythonClient(Client):
    """python-socketio's AsyncClient, which no one on the server's side wrote either."""

    def __init__(self, url: str, person: Person | None, options: Options) -> None:
        super().__init__(url, person, options)
        serializer = "msgpack" if options.msgpack else "default"
        self._sio = socketio.AsyncClient(serializer=serializer, reconnection=options.reconnect)
        self._refusal: Any = None
        namespace = options.namespace
        self._sio.on("*", self._hear, namespace=namespace)
        self._sio.on("connect_error", self._on_refusal, namespace=namespace)
        self._sio.on("disconnect", self._on_disconnect, namespace=namespace)
        self._sio.on("connect", self._on_connect, namespace=namespace)

    async def connect(self) -> Client:
        query = f"?{self.options.query}" if self.options.query else ""
        try:
            await self._sio.connect(
                self.url + query,
                auth=self.auth,
                headers=self.options.headers,
                transports=list(self.options.transports),
                namespaces=[self.options.namespace],
                wait_timeout=ASK_S,
            )
        except socketio.exceptions.ConnectionError as error:
            await self._sio.shutdown()
            raise RefusedError(self._refusal if self._refusal is not None else str(error)) from error
        return self

    async def emit(self, event: str, *arguments: Any) -> None:
        await self._sio.emit(event, arguments, namespace=self.options.namespace)

    async def begin(self, event: str, *arguments: Any) -> asyncio.Future[Any]:
        self._asked += 1
        number, future = self._asked, asyncio.get_running_loop().create_future()

        def on_ack(*answer: Any) -> None:
            self.acked.append(number)
            if not future.done():
                future.set_result(answer[0] if len(answer) == 1 else answer)

        await self._sio.emit(event, arguments, namespace=self.options.namespace, callback=on_ack)
        return future

    async def drop(self) -> None:
        await self._sio.shutdown()
        self._closed.set()

    async def _on_connect(self) -> None:
        self._closed.clear()

    async def _on_refusal(self, data: Any = None) -> None:
        self._refusal = data

    async def _on_disconnect(self, reason: str = "") -> None:
        self._closed.set()
