"""The folder that an operator backs up: what lies where, whose it is, and who may use it.

    DIR/                    0700, nobody else's business
      telementor.toml       settings, if the operator puts them here
      telementor.db         SQLite: people and pairs (unless another database is set)
      store/                the embedded store: append-only files, socket, pid (unless another store is set)
      valkey.log            what the embedded store says of itself
      engine.json           which engine, in which version, last wrote the store
      mail/                 mails as files, newest 1,000 (unless a mail server is set)
      public_url            the address that links are made from, as the last server knew it
      server.lock           held by the one server that runs the embedded store

Errors: DataFolderError
    The folder cannot be used, with one sentence for the operator.
      └── FolderInUseError  another server holds it
"""

import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec

from signaling.whole_file import whole_file

_OURS: Final = frozenset({"telementor.db", "store", "engine.json", "public_url", "server.lock"})
# Things that may lie in a folder that is new to us: the operator's settings, and what a fresh disk has.
_HARMLESS: Final = frozenset({"telementor.toml", "lost+found"})


class DataFolderError(Exception):
    """The data folder cannot be used; the text is one sentence that says why."""


class FolderInUseError(DataFolderError):
    """Another server runs the embedded store of this folder."""


class Engine(msgspec.Struct, frozen=True):
    """Which program writes the store: `name` is valkey or redis, `version` three numbers such as 8.1.8."""

    name: str
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.name} {'.'.join(map(str, self.version))}"


class DataFolder:
    """One server's folder. Making the object touches nothing; `prepare` does."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path.absolute()
        self.store: Final = self.path / "store"
        self.store_log: Final = self.path / "valkey.log"
        self._lock_fd: int | None = None

    def prepare(self) -> None:
        """Makes the folder if it is not there, and closes it to everybody else (0700).

        A folder that is full of something else is left alone. Raises DataFolderError.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            inside = {entry.name for entry in self.path.iterdir()}
            if inside - _HARMLESS and not inside & _OURS:
                raise DataFolderError(
                    f"{self.path} is not empty and no data folder of telementor; name an empty or a new one."
                )
            self.path.chmod(0o700)
        except NotADirectoryError:
            raise DataFolderError(f"{self.path} is not a folder.") from None
        except FileExistsError:
            raise DataFolderError(f"{self.path} is a file, not a folder.") from None
        except OSError as error:
            raise DataFolderError(f"The data folder {self.path} cannot be used: {error.strerror}.") from None

    # ------------------------------------------------------------------------------------------- one server

    def lock(self) -> None:
        """Keeps a second server off the embedded store until `unlock` or this process ends, however it ends.

        Only servers lock: the other commands work beside a running one. Raises FolderInUseError.
        """
        if self._lock_fd is not None:
            return
        # Not inheritable (Python's default): a store that outlives us must not hold our lock.
        fd = os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            os.close(fd)
            who = f" (process {owner})" if owner else ""
            raise FolderInUseError(f"Another telementor server{who} already uses {self.path}.") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd

    def unlock(self) -> None:
        """Lets the next server in. Does nothing when not locked."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    # ------------------------------------------------------------------------------------ remembered facts

    def engine(self) -> Engine | None:
        """The engine that last wrote the store; None for a folder whose store was never started.

        Raises DataFolderError when the record is gone or spoiled although there is something to lose.
        """
        record = self.path / "engine.json"
        try:
            return msgspec.json.decode(record.read_bytes(), type=Engine)
        except FileNotFoundError:
            if (self.store / "appendonlydir").exists():
                raise DataFolderError(
                    f"{record} is missing, so it is not known which engine wrote {self.store}; restore it"
                    " from the backup that the store came from."
                ) from None
            return None
        except msgspec.MsgspecError:
            raise DataFolderError(f"{record} cannot be understood; restore it from a backup.") from None

    def record_engine(self, engine: Engine) -> None:
        """Remembers, on disk before it returns, that `engine` writes the store from now on."""
        self._write_whole("engine.json", msgspec.json.encode(engine))

    def public_url(self) -> str | None:
        """The address that the running, or else the last, server made its links from."""
        try:
            return (self.path / "public_url").read_text("utf-8").strip() or None
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def remember_public_url(self, url: str) -> None:
        """Tells the other commands where the server is reached; called once it listens."""
        self._write_whole("public_url", f"{url}\n".encode())

    def _write_whole(self, name: str, content: bytes) -> None:
        with whole_file(self.path / name) as file:
            file.write(content)

    # ----------------------------------------------------------------------------------------- what is where

    @property
    def sqlite_url(self) -> str:
        """The default database."""
        return f"sqlite:///{self.path / 'telementor.db'}"

    @property
    def socket(self) -> Path:
        """Where the embedded store listens, or would: beside its files, unless that path is too long."""
        elsewhere = self.store / "socket.path"
        return Path(elsewhere.read_text("utf-8")) if elsewhere.exists() else self.store / "valkey.sock"
