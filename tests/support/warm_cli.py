"""Many `telementor` commands from one process: the same entry point and arguments, its imports paid for once.

Run as a program (`python -m tests.support.warm_cli`) it is that process: a JSON list `[arguments, environment]`
comes in on each line, a JSON list `[code, output, error]` goes out. It ends with the tests that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points

from tests.support.needs import REPOSITORY

COMMAND_S = 30


class WarmCli:
    """Owns the process; commands wait for each other. No event loop owns it, so that all of them share it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    async def run(self, *arguments: str, environment: Mapping[str, str]) -> tuple[int, str, str]:
        """One command: code, standard output, standard error. TimeoutError after COMMAND_S."""
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._run, arguments, environment), COMMAND_S)
        except TimeoutError:
            if self._process:
                self._process.kill()  # else the thread would wait for ever
            raise

    def _run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
        with self._turn:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps([arguments, dict(environment)]) + "\n")
            self._process.stdin.flush()
            code, out, err = json.loads(self._process.stdout.readline())
        return code, out, err


def _serve() -> None:
    (command,) = entry_points(group="console_scripts", name="telementor")
    main = command.load()
    requests, answers = sys.stdin, sys.stdout
    sys.stdin = io.StringIO()  # a command that asks reads nothing, as in a script
    for line in requests:
        arguments, environment = json.loads(line)
        sys.argv = ["telementor", *arguments]
        os.environ.clear()
        os.environ.update(environment)
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
