"""A real PostgreSQL of our own: Debian's binaries, a fresh cluster in a temporary folder, a unix socket and no TCP."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.needs import needs

START_S = 30


class Postgres:
    """One running cluster. `fresh` makes an empty database; `stop` and `start` are for tests of an outage."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._binaries = binaries
        self._folder = folder
        self._user = user
        self._numbers = itertools.count(1)
        self._run(
            "initdb",
            "--pgdata",
            str(folder / "data"),
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--no-sync",
        )

    def _run(self, program: str, *arguments: str) -> None:
        result = subprocess.run(
            [self._binaries / program, *arguments],
            user=self._user,
            group=self._user and pwd.getpwnam(self._user).pw_gid,
            extra_groups=[] if self._user else None,
            cwd=self._folder,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PGHOST": str(self._folder), "PGUSER": "postgres"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert result.returncode == 0, f"{program} failed:\n{result.stdout}{result.stderr}"

    def start(self) -> None:
        """Returns when it accepts connections. fsync is off: nobody cuts the power of a test."""
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off -c max_connections=60"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "--pgdata", str(self._folder / "data"), "--wait", "-o", options, "--log", log, "start"
        )

    def stop(self) -> None:
        """Cuts every connection."""
        self._run("pg_ctl", "--pgdata", str(self._folder / "data"), "--wait", "--mode", "immediate", "stop")

    def fresh(self) -> str:
        """The address of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self._run("createdb", "--template", "template0", name)
        return f"postgresql://postgres@/{name}?host={self._folder}"


@contextmanager
def running() -> Iterator[Postgres]:
    """A cluster for as long as the block lasts; its files are removed afterwards."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    needs("PostgreSQL (Debian's package postgresql)", found)
    # It refuses to run as root; the package brings a user of its own.
    user = "postgres" if os.getuid() == 0 else None
    # Not below tmp_path: that is closed to everybody but us. Short: it holds a socket.
    folder = Path(tempfile.mkdtemp(prefix="telementor-pg-"))
    if user:
        shutil.chown(folder, user)
    try:
        server = Postgres(found[-1].parent, folder, user)
        server.start()
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One cluster for the whole run: starting it takes about 2 s."""
    with running() as server:
        yield server
