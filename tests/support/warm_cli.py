"""Many `telementor` commands from one process: the same entry point and arguments, its imports paid for once.

Run as a program (`python -m tests.support.warm_cli`) it is that process: a JSON list of arguments comes in
on each line, a JSON
list `[code, output, error]` goes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
from importlib.metadata import entry_points

from tests.support.needs import REPOSITORY

COMMAND_S = 30
LINE_BYTES = 4 * 1024 * 1024


class WarmCli:
    """Owns the process; commands wait for each other."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """One command: code, standard output, standard error."""
        async with self._turn:
            self._process = self._process or await self._start()
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(arguments).encode() + b"\n")
            line = await asyncio.wait_for(self._process.stdout.readline(), COMMAND_S)
        code, out, err = json.loads(line)
        return code, out, err

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__),
            cwd=REPOSITORY,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )

    async def stop(self) -> None:
        """End the process."""
        if self._process:
            assert self._process.stdin
            self._process.stdin.close()
            await asyncio.wait_for(self._process.wait(), COMMAND_S)


def _serve() -> None:
    (command,) = entry_points(group="console_scripts", name="telementor")
    main = command.load()
    answers = sys.stdout
    for line in sys.stdin:
        sys.argv = ["telementor", *json.loads(line)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main() or 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
        answers.write(json.dumps([code, out.getvalue(), err.getvalue()]) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
