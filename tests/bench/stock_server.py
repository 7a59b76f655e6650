"""What one would take otherwise: python-socketio as it comes, with its AsyncRedisManager between the nodes.

`python -m tests.bench.stock_server <redis url>` is one node of it. It answers to the names of our protocol, so that the same
clients talk to it.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.condition import until
from tests.support.people import Pair, Person
from tests.support.processes import with_us
from tests.support.redis_topologies import RedisServer
from tests.support.server import LISTENING, START_S


async def _serve(redis: str) -> None:
    import socketio
    from aiohttp import web

    server = socketio.AsyncServer(
        async_mode="aiohttp", serializer="msgpack", client_manager=socketio.AsyncRedisManager(redis)
    )

    async def join(sid: str, words: dict[str, Any]) -> dict[str, Any]:
        await server.enter_room(sid, words["room"])
        return {"ok": True, "you": {"peer": sid}}

    async def send(sid: str, words: dict[str, Any]) -> dict[str, Any]:
        at, id_ = time.time_ns() // 1_000_000, str(uuid.uuid4())
        message = {**words, "id": id_, "at": at, "by": sid, "kind": "chat.posted"}
        await server.emit("log", message, room=words["room"])
        return {"ok": True, "id": id_, "at": at, "dup": False}

    server.on("room.join", join)
    server.on("chat.send", send)
    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)  # noqa: T201
    await asyncio.Event().wait()


@asynccontextmanager
async def stock(
    folder: Path, count: int, pairs: int
) -> AsyncIterator[tuple[RedisServer, list[str], list[int], list[Pair]]]:
    """So many nodes on a Redis of their own: that, their addresses, their process ids, and people whom nobody checks."""
    redis = await RedisServer().start()
    processes: list[asyncio.subprocess.Process] = []
    addresses = []
    try:
        for number in range(count):
            log = folder / f"stock{number}.log"
            with log.open("wb") as sink:
                processes.append(await _start(redis, sink))
            found = await until(
                lambda log=log: LISTENING.search(log.read_text()), f"node {number}", timeout_s=START_S
            )
            addresses.append(found[1])
        yield redis, addresses, [process.pid for process in processes], [_pair(n) for n in range(pairs)]
    finally:
        for process in processes:
            process.kill()
            await process.wait()
        await redis.close()


async def _start(redis: RedisServer, sink: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(*with_us(), sys.executable, "-m", "tests.bench.stock_server", f"redis://127.0.0.1:{redis.port}/0"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
    )


def _pair(number: int) -> Pair:
    two = [Person(role, "", f"{role}{number}", token="", link="") for role in ("mentor", "mentee")]
    return Pair(f"room{number}", "", *two)


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(sys.argv[1]))
