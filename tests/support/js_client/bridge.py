"""One Node process that holds the JavaScript clients of a whole test session."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

from tests.support.client import ASK_S, Client, Options, RefusedError
from tests.support.needs import needs_node_module, needs_program
from tests.support.people import Person

PROGRAM = Path(__file__).with_name("main.mjs")
LINE_BYTES = 16 * 1024 * 1024


def _pack(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} does not cross to JavaScript")


class JsBridge:
    """Speaks lines of JSON with `main.mjs`; each line of it goes to the client it belongs to."""

    def __init__(self) -> None:
        self._calls = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._clients: dict[int, JsClient] = {}

    async def start(self) -> JsBridge:
        """Start Node; skips (or fails in CI) where Node or the packages are missing."""
        package = needs_node_module("socket.io-client").parents[1] / "package.json"
        needs_node_module("socket.io-msgpack-parser")
        self._node = await asyncio.create_subprocess_exec(
            needs_program("node"),
            str(PROGRAM),
            str(package),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def stop(self) -> None:
        """End Node and with it every socket."""
        assert self._node.stdin
        self._node.stdin.close()
        try:
            await asyncio.wait_for(self._node.wait(), 5)
        except TimeoutError:
            self._node.kill()
            await self._node.wait()
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    def adopt(self, client: JsClient) -> int:
        """A number for a new client; what that socket says goes to it."""
        number = next(self._calls)
        self._clients[number] = client
        return number

    async def call(self, op: str, socket: int, **fields: Any) -> dict[str, Any]:
        """One operation of main.mjs, and its answer."""
        number = next(self._calls)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"call": number, "op": op, "socket": socket, **fields}, default=_pack)
        assert self._node.stdin
        self._node.stdin.write(line.encode() + b"\n")
        return await asyncio.wait_for(future, ASK_S)

    async def _read(self) -> None:
        assert self._node.stdout
        while line := await self._node.stdout.readline():
            said = json.loads(line)
            if "call" in said:
                future = self._waiting.pop(said["call"])
                if not future.done():
                    future.set_result(said)
            else:
                await self._clients[said["socket"]].heard_line(said)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RuntimeError("Node ended"))


class JsClient(Client):
    """The official socket.io-client."""

    def __init__(self, url: str, person: Person | None, options: Options, bridge: JsBridge) -> None:
        super().__init__(url, person, options)
        self._bridge = bridge
        self._socket = bridge.adopt(self)
        self._acks: dict[int, asyncio.Future[Any]] = {}

    async def connect(self) -> Client:
        answer = await self._bridge.call(
            "open",
            self._socket,
            url=self.url + (f"?{self.options.query}" if self.options.query else ""),
            auth=self.auth,
            transports=list(self.options.transports),
            headers=self.options.headers,
            namespace=self.options.namespace,
            msgpack=self.options.msgpack,
            reconnect=self.options.reconnect,
        )
        if "refused" in answer:
            self._closed.set()
            raise RefusedError(answer["refused"])
        return self

    async def emit(self, event: str, *arguments: Any) -> None:
        await self._bridge.call("emit", self._socket, event=event, args=arguments)

    async def begin(self, event: str, *arguments: Any) -> asyncio.Future[Any]:
        self._asked += 1
        future = self._acks[self._asked] = asyncio.get_running_loop().create_future()
        await self._bridge.call("ask", self._socket, event=event, args=arguments, number=self._asked)
        return future

    async def drop(self) -> None:
        if not self._closed.is_set():
            await self._bridge.call("drop", self._socket)
            self._closed.set()

    async def transport(self) -> str:
        """The name of Engine.IO's transport in use."""
        name: str = (await self._bridge.call("transport", self._socket))["transport"]
        return name

    async def heard_line(self, said: dict[str, Any]) -> None:
        """One thing that this socket said."""
        if "push" in said:
            await self._hear(said["push"], said["args"][0] if len(said["args"]) == 1 else said["args"])
        elif "ack" in said:
            self.acked.append(said["number"])
            future = self._acks.pop(said["number"])
            if not future.done():
                future.set_result(said["ack"][0] if len(said["ack"]) == 1 else said["ack"])
        elif "closed" in said:
            self._closed.set()
