"""What one would take otherwise in Python: python-socketio as it comes, written as its documentation does.

`python -m tests.bench.stock_server <redis url>`. It does what the rivals in Node do (`rivals/socketio_server.js`): a message
is stored, told to the room, acknowledged; a signal is told to the peer it names.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import sys
from typing import Any


async def _serve(url: str) -> None:
    import socketio
    from aiohttp import web
    from redis.asyncio import Redis

    secret = os.environ["BENCH_SECRET"].encode()
    redis = Redis.from_url(
        url, decode_responses=True, max_connections=10_000
    )  # by itself it fails beyond 100
    server = socketio.AsyncServer(async_mode="aiohttp", serializer="msgpack")

    async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
        person, _, mac = auth["token"].partition(".")
        if not hmac.compare_digest(mac, hmac.new(secret, person.encode(), hashlib.sha256).hexdigest()):
            raise ConnectionRefusedError("unauthenticated")
        await server.save_session(sid, {"person": person})

    async def join(sid: str, words: dict[str, Any]) -> dict[str, Any]:
        room = words["room"]
        await server.enter_room(sid, room)
        newest = await redis.xrevrange(f"room:{room}", count=words["limit"])
        events = [_event(room, id_, fields) for id_, fields in reversed(newest)]
        return {"ok": True, "you": {"peer": sid}, "log": {"events": events}}

    async def send(sid: str, words: dict[str, Any]) -> dict[str, Any]:
        room, session = words["room"], await server.get_session(sid)
        fields = {
            "by": session["person"],
            "kind": "chat.posted",
            "key": words["key"],
            "text": words["text"],
        }
        message = _event(room, await redis.xadd(f"room:{room}", fields), fields)
        await server.emit("log", message, room=room)
        return {"ok": True, "id": message["id"], "at": message["at"]}

    async def join_call(sid: str, words: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "call": words["room"], "leg": 1}

    async def signal(sid: str, words: dict[str, Any]) -> dict[str, Any]:
        await server.emit("call.signal", {**words, "from": sid}, to=words["to"])
        return {"ok": True}

    server.on("connect", connect)
    server.on("room.join", join)
    server.on("chat.send", send)
    server.on("call.join", join_call)
    server.on("call.signal", signal)
    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)  # noqa: T201
    await asyncio.Event().wait()


def _event(room: str, id_: str, fields: dict[str, str]) -> dict[str, Any]:
    return {"room": room, "id": id_, "at": int(id_.split("-", maxsplit=1)[0]), **fields}


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
