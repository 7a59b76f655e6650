"""`telementor` whose collector never runs, so what ends in a cycle stays; `/metrics` counts what belongs to sockets and
rooms. What keeps something for a time keeps it for a moment: pings, rooms that nobody is in any more."""

from __future__ import annotations

import asyncio
import gc
import sys

from prometheus_client import Gauge

from signaling import app, collector, hub, sockets
from signaling.cli import main
from signaling.engine import EngineSocket, Outbox
from signaling.front import Opening
from signaling.hub import Resident, Seat
from signaling.sockets import SocketConnection
from signaling.websocket import WebSocket

COUNTED = (EngineSocket, Opening, Outbox, Resident, Seat, SocketConnection, WebSocket)
NAME = "left_behind"


def uncollected() -> None:
    gc.disable()
    gc.unfreeze()  # else they are not among what is counted


def count() -> list[str]:
    """The names of what is there, each as often as it is."""
    return [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, COUNTED)]


async def run(node: app.Node) -> None:
    left = Gauge(NAME, "What belongs to sockets and rooms", registry=node.metrics.registry)
    left.set_function(lambda: len(count()))
    await RUN(node)


async def nobody_looks(_: hub.Hub) -> None:
    await asyncio.Event().wait()


RUN = app.Node.run

if __name__ == "__main__":
    collector.begin = uncollected
    app.Node.run = run  # type: ignore[method-assign]
    hub.LINGER_S = 0.05
    hub.Hub.sweep = nobody_looks  # type: ignore[method-assign]  # it keeps the rooms that it has asked about last
    sockets.PING_EVERY_S = sockets.PING_TIMEOUT_S = 1
    sys.exit(main())
