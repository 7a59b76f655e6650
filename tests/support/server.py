"""A real `telementor serve` on a data folder of its own, started, killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.condition import until
from tests.support.needs import needs_program
from tests.support.people import Pair, fresh_email
from tests.support.processes import send_signal, stores_of, with_us
from tests.support.warm_cli import WarmCli

START_S = 30
LISTENING = re.compile(r"^listening on (https?://\S+)", re.MULTILINE)
COMMANDS = WarmCli()
"""For the commands that tests only need; those under test are processes of their own (`run_telementor`)."""


class CommandFailedError(Exception):
    """A `telementor` command ended with another code than 0."""

    def __init__(self, arguments: tuple[str, ...], code: int, output: str) -> None:
        super().__init__(f"telementor {' '.join(arguments)} ended with {code}:\n{output}")
        self.code = code
        self.output = output


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without any TELEMENTOR_* of the machine's, with those of this test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TELEMENTOR_")}
    return {**kept, **(settings or {})}


async def run_telementor(*arguments: str, settings: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run one command to its end: code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        needs_program("telementor"),
        *arguments,
        env=environment(settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), START_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class Server:
    """One server process (and its store); its port and data stay the same over every restart."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        program: Sequence[str] = (),
        host: str = "127.0.0.1",
    ) -> None:
        """`program` stands for `telementor` when the server is started; `host` is the address it listens on."""
        self._host = host
        self._program = program
        self.data = folder / "data"
        self.log_file = folder / "server.log"
        self.settings = dict(settings or {})
        self.url = ""
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        """Everything that all its lives have printed, standard error included."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> Server:
        """Start it and wait for its line; on failure the raised error holds the log."""
        assert not self.running
        before = len(self.log)
        with self.log_file.open("ab") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *with_us(),
                *(self._program or [needs_program("telementor")]),
                *("serve", "--host", self._host, "--port", str(self._port), "--data", str(self.data)),
                env=environment(self.settings),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        line = await until(lambda: self._line_or_exit(before), "the line `listening on`", timeout_s=START_S)
        if line is True:
            raise RuntimeError(f"the server ended before it listened:\n{self.log[before:]}")
        self.url = line.rstrip("/")
        self._port = int(self.url.rsplit(":", 1)[1])
        return self

    def _line_or_exit(self, before: int) -> str | bool:
        found = LISTENING.search(self.log[before:])
        return found.group(1) if found else not self.running

    @property
    def pid(self) -> int:
        """The server's own process id."""
        assert self._process
        return self._process.pid

    async def kill(self) -> None:
        """`kill -9`, as a power cut would: no drain, no good-bye. The store may be left behind."""
        assert self._process
        send_signal(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def terminate(self, *, timeout_s: float = 10) -> int:
        """SIGTERM; the exit code, or TimeoutError beyond the contract's 10 s."""
        self.ask_to_stop()
        return await self.ended(timeout_s=timeout_s)

    def ask_to_stop(self) -> None:
        """SIGTERM and no waiting."""
        assert self._process
        send_signal(self._process.pid, signal.SIGTERM)

    async def ended(self, *, timeout_s: float = 10) -> int:
        """Wait for its end; the exit code."""
        assert self._process
        return await asyncio.wait_for(self._process.wait(), timeout_s)

    async def restart(self) -> None:
        """`kill -9` and start again on the same data and port."""
        await self.kill()
        await self.start()

    def stores(self) -> list[int]:
        """The store processes that work for this data folder."""
        return stores_of(self.data)

    def signal_store(self, number: signal.Signals) -> None:
        """Send a signal to the embedded store."""
        stores = self.stores()
        assert stores, "no store process works for this data folder"
        for pid in stores:
            send_signal(pid, number)

    async def close(self) -> None:
        """End the server and whatever it left behind."""
        if self.running:
            await self.kill()  # a drain takes its time, and has tests of its own
        for pid in self.stores():
            send_signal(pid, signal.SIGCONT)
            send_signal(pid, signal.SIGKILL)
        await until(lambda: not self.stores(), "the store's end")

    async def command(self, *arguments: str) -> str:
        """The output of a `telementor` command on this server's data, while it runs or not."""
        words = (*arguments, "--data", str(self.data))
        code, out, err = await COMMANDS.run(*words, environment=environment(self.settings))
        if code:
            raise CommandFailedError(words, code, out + err)
        return out.strip()

    async def pair(
        self,
        mentor: tuple[str, str] | None = None,
        mentee: tuple[str, str] | None = None,
    ) -> Pair:
        """Add a pair of (name, email) each; fresh people where none are given."""
        mentor = mentor or ("Mara Mentor", fresh_email("mara"))
        mentee = mentee or ("Mio Mentee", fresh_email("mio"))
        answer = await self.command(
            *("pair", "add", "--mentor", f"{mentor[0]} <{mentor[1]}>"),
            *("--mentee", f"{mentee[0]} <{mentee[1]}>", "--json"),
        )
        return Pair.read(json.loads(answer), mentor, mentee)

    async def token(self, email: str, ttl_s: int) -> str:
        """A fresh access token for scripts."""
        return await self.command("token", "--email", email, "--ttl-s", str(ttl_s))

    async def link(self, email: str) -> str:
        """A fresh log-in link."""
        return (await self.command("link", "--email", email)).split()[-1]

    async def revoke(self, email: str) -> None:
        """End all of a person's logins and tokens."""
        await self.command("revoke", "--email", email)
