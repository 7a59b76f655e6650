"""The other end of the load generator's pipe."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.bench.cores import OTHER_CORES, pin
from tests.support.processes import with_us

LINE_BYTES = 1 << 26


class FailedError(Exception):
    """The generator could not do a job."""


class Load:
    """Jobs of `generator.py`, each of which may run beside others."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def crowd(self, name: str, people: list[dict[str, str]], *, engine_io: bool, key: str) -> None:
        """People who come to one server; two by two they are in one room. `key` begins the uuid of each message."""
        self._write({"crowd": name, "people": people, "engine_io": engine_io, "key": key})

    async def __call__(self, job: str, crowd: str, **how: Any) -> dict[str, Any]:
        """What the job told when it was done. Raises FailedError."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._write({"number": number, "job": job, "crowd": crowd, "how": how})
        answer = await self._answers[number]
        if "failure" in answer:
            raise FailedError(f"{crowd}: {answer['failure']}")
        return answer

    def _write(self, line: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            self._answers.pop(answer["number"]).set_result(answer)
        for waiting in self._answers.values():
            waiting.set_exception(FailedError("the load generator ended"))

    async def close(self) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def generator() -> AsyncIterator[Load]:
    """A load generator, on the cores that no measured server is on."""
    process = await asyncio.create_subprocess_exec(
        *(*with_us(), sys.executable, "-m", "tests.bench.generator"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
        start_new_session=True,
    )
    pin(process.pid, OTHER_CORES)
    load = Load(process)
    try:
        yield load
    finally:
        await load.close()
