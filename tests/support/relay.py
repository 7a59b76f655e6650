"""A real coturn: relay and STUN server, over UDP, TCP and TLS, with credentials that expire (rule K4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.support.condition import until
from tests.support.needs import needs_program
from tests.support.processes import with_us

PORT = 3478
TLS_PORT = 443
SECRET = "shared by the relay and the server of this test"


class Relay:
    """One `turnserver` on an address; `prefix` are the words that make it run on another host."""

    def __init__(
        self, folder: Path, address: str, *, prefix: Sequence[str] = (), certificate: Path | None = None
    ) -> None:
        """`certificate`: a PEM file with the private key in it; without one there is no TLS."""
        self._folder = folder
        self._address = address
        self._prefix = prefix
        self._certificate = certificate

    @property
    def stun(self) -> str:
        """Its STUN address."""
        return f"stun:{self._address}:{PORT}"

    @property
    def urls(self) -> dict[str, str]:
        """Its TURN addresses, by the way to it."""
        return {
            "udp": f"turn:{self._address}:{PORT}?transport=udp",
            "tcp": f"turn:{self._address}:{PORT}?transport=tcp",
            "tls": f"turns:{self._address}:{TLS_PORT}?transport=tcp",
        }

    @property
    def log(self) -> str:
        """What it has said."""
        return (self._folder / "turn.log").read_text(errors="replace")

    async def start(self) -> Relay:
        """Start it and wait until it serves."""
        self._folder.mkdir(parents=True, exist_ok=True)
        tls = [
            f"--cert={self._certificate}",
            f"--pkey={self._certificate}",
            f"--tls-listening-port={TLS_PORT}",
        ]
        options = [
            *(
                "-n",
                "--no-cli",
                "--no-dtls",
                "--no-rfc5780",
                "--log-file=stdout",
                "--verbose",
                "--simple-log",
            ),
            *(f"--listening-ip={self._address}", f"--relay-ip={self._address}", f"--listening-port={PORT}"),
            *("--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=relay.example.org"),
            *("--fingerprint", f"--userdb={self._folder}/turndb", f"--pidfile={self._folder}/turn.pid"),
            *(tls if self._certificate else ["--no-tls"]),
        ]
        with (self._folder / "turn.log").open("wb") as sink:
            self._process = await asyncio.create_subprocess_exec(
                *with_us(),
                *self._prefix,
                needs_program("turnserver"),
                *options,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        await until(lambda: "UDP listener opened" in self.log or self._ended(), "coturn to serve")
        return self

    def _ended(self) -> bool:
        if self._process.returncode is not None:
            raise RuntimeError(f"coturn ended:\n{self.log}")
        return False

    async def stop(self) -> None:
        """At once."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
