"""The shipped HAProxy configuration, run as it is, with addresses put in by the environment."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from pathlib import Path

from tests.support.condition import until
from tests.support.needs import REPOSITORY, needs_program
from tests.support.processes import with_us
from tests.support.server import Server

CONFIG = REPOSITORY / "config" / "haproxy.cfg"


class HAProxy:
    """In front of two servers; it has a `url` as they have."""

    def __init__(self, folder: Path, nodes: tuple[Server, Server]) -> None:
        self._log_file = folder / "haproxy.log"
        self._nodes = nodes
        self.url = ""

    async def start(self) -> HAProxy:
        """Bound and asking its nodes."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        places = {"TELEMENTOR_BIND": f"127.0.0.1:{port}"}
        for number, node in enumerate(self._nodes, start=1):
            places[f"TELEMENTOR_NODE{number}"] = node.url.removeprefix("http://")
        with self._log_file.open("wb") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *with_us(),
                *(needs_program("haproxy"), "-db", "-f", str(CONFIG)),
                env={**os.environ, **places},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await until(listens, "HAProxy to listen")
        return self

    @property
    def log(self) -> str:
        """What it has said: one line per request, and each change of a node."""
        return self._log_file.read_text(errors="replace")

    def changes(self, node: int) -> list[str]:
        """DOWN, UP, … of a node, in order."""
        return re.findall(rf"Server nodes/node{node} is (\w+)", self.log)

    async def stop(self) -> None:
        """At once."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
