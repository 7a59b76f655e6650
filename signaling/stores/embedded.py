"""The store that comes with the server: a Valkey of our own, on a unix socket in the data folder.

What it promises: a write that was answered is in the append-only file, and that file is synced, before the
answer. So it outlives `kill -9` of the server, of the store, and a power cut (protocol rule L4).

One engine per folder, and it is held in three ways:

- `server.lock` keeps a second server off (DataFolder.lock).
- `store/engine.lock` is a lock that the engine inherits and holds as long as it, or a child of it, lives.
  A server that was killed leaves it held, so the next one knows for certain that an engine is left over,
  ends that engine (it has promised nothing that is not on disk), and starts its own.
- `engine.json` names who wrote the files; an older or another engine is never started on them.

On Linux the engine is also asked to stop (SIGTERM) when the server process dies. That is a courtesy: nothing
relies on it.

Errors: EmbeddedStoreError and those of data_folder, each one sentence for the operator.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from signaling.data_folder import DataFolder, DataFolderError
from signaling.stores.child import Child
from signaling.stores.engine import EmbeddedStoreError, choose_engine
from signaling.stores.store import sent

log = structlog.get_logger(__name__)

# sockaddr_un holds 104 bytes on macOS and 108 on Linux, the end mark included.
_SOCKET_PATH_BYTES: Final = 103
_LOG_BYTES: Final = 4 * 1024 * 1024
_POLL_S: Final = 0.01
# An engine that neither answers nor says that it is loading its files by then is taken for broken.
_SILENCE_S: Final = 20.0
_SHUTDOWN_S: Final = 3.0
_TERMINATE_S: Final = 2.0
# Only a process that waits for a broken disk outlives SIGKILL for longer.
_KILLED_S: Final = 0.4
_REWRITE_S: Final = 600.0
_REWRITE_POLL_S: Final = 0.05
# The first restart is at once; a store that keeps dying is tried every second, so that it is
# back well within 5 s of the moment when it can be.
_RESTART_DELAYS_S: Final = (0.0, 0.1, 0.2, 0.5, 1.0)

# Runs before the engine, as a program of its own because code between fork and exec is not safe in a
# threaded parent (`child`): private files, and on Linux SIGTERM (15) when the parent dies (PR_SET_PDEATHSIG = 1).
# The parent may have died before that call; then nobody needs the engine.
_LAUNCHER: Final = """
import os, sys
os.umask(0o077)
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedStore:
    """One engine process on one data folder. Belongs to one event loop.

    store = EmbeddedStore(folder)
    url = await store.start()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(store.watch())
        ...
        watching.cancel()
    await store.stop()
    """

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder
        self._process: Child | None = None
        self._stopping = asyncio.Event()
        # One launch or one end at a time: `stop` must not overtake a restart.
        self._changing = asyncio.Lock()

    @property
    def url(self) -> str:
        """Where to connect, in redis-py's spelling. The same over every restart of the engine."""
        return f"unix://{quote(str(self._folder.socket))}"

    @property
    def pid(self) -> int | None:
        """The engine's process, None when it does not run."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def start(self) -> str:
        """Locks the folder, ends a leftover engine, starts ours and waits until it answers. Returns `url`.

        Loading a large file takes as long as it takes; an engine that says nothing for 20 s is given up.
        Raises EmbeddedStoreError, FolderInUseError, DataFolderError; nothing is left running then.
        """
        self._folder.lock()
        self._stopping.clear()
        try:
            self._folder.store.mkdir(mode=0o700, exist_ok=True)
            await self._launch()
        except BaseException:
            self._folder.unlock()
            raise
        return self.url

    async def watch(self) -> None:
        """Starts the engine again whenever it ends, until `stop` or until this task is cancelled.

        Its end is noticed at once. It is tried again without a limit, after at most 1 s; what happens is
        logged once for each change, not for each try.
        """
        failed = 0
        while self._process is not None:
            code = await self._process.wait()
            if failed == 0 and not self._stopping.is_set():
                log.error("embedded store died", code=code, last_words=self._last_words())
            await asyncio.sleep(_RESTART_DELAYS_S[min(failed, len(_RESTART_DELAYS_S) - 1)])
            if self._stopping.is_set():
                return
            try:
                await self._launch()
            except Exception as error:  # noqa: BLE001 - whatever it is, giving up would leave the server without a store
                failed += 1
                if failed == 1 and not self._stopping.is_set():
                    log.error("embedded store does not come back, trying on", reason=_reason(error))
            else:
                failed = 0

    async def stop(self, within_s: float = _SHUTDOWN_S + _TERMINATE_S) -> None:
        """Ends the engine within that time: SHUTDOWN, then SIGTERM, then SIGKILL. Lets the next server in.

        May be called twice, and after a `start` that failed.
        """
        self._stopping.set()
        async with self._changing:
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(within_s * 2 / 3):
                        await _shutdown(self._folder.socket)
                        await self._process.wait()
                await self._end(self._process, within_s / 3)
            self._process = None
            self._forget_short_folder()
            self._folder.unlock()

    async def rewrite(self) -> None:
        """Writes the append-only file anew from what the store holds now: what was removed before is in no file then (L8).

        Also for a command beside the server whose store it is. Raises EmbeddedStoreError when it fails, or takes longer than
        10 min.
        """
        try:
            async with asyncio.timeout(_REWRITE_S), _client(self._folder.socket) as client:
                await _rewritten(client)  # one that is under way may have begun before the removal
                await _begin_rewrite(client)
                status = await _rewritten(client)
        except (redis.exceptions.RedisError, OSError) as error:  # the time limit is an OSError
            raise EmbeddedStoreError(f"The embedded store's file was not written anew: {error!r}.") from None
        if status != "ok":
            raise EmbeddedStoreError(
                f"The embedded store's file could not be written anew; its log is {self._folder.store_log}."
            )

    # -------------------------------------------------------------------------------------- one life

    async def _launch(self) -> None:
        """Starts one engine process and waits until it serves. Ends it again when it does not."""
        async with self._changing:
            # In a thread: it runs programs to ask for their version.
            engine, binary = await asyncio.to_thread(choose_engine, self._folder.engine(), os.environ)
            engine_lock = os.open(self._folder.store / "engine.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                await self._end_leftover(engine_lock)
                self._place_socket()
                self._bound_log()
                # Before the engine can have written anything: a crash in between must not hide who did.
                if self._folder.engine() != engine:
                    self._folder.record_engine(engine)
                self._process = process = self._spawn(binary, engine_lock)
            finally:
                os.close(engine_lock)
            try:
                await self._answers(process)
            except BaseException:
                await self._end(process)
                raise
            log.info("embedded store runs", engine=str(engine), pid=process.pid)

    def _spawn(self, binary: Path, engine_lock: int) -> Child:
        with self._folder.store_log.open("ab") as sink:
            return Child(
                (
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _LAUNCHER,
                    str(os.getpid()),
                    str(binary),
                    *self.arguments(),
                ),
                # Settings in our environment may be secrets, and none is the engine's business.
                env={"PATH": os.defpath, "LC_ALL": "C"},
                sink=sink,
                pass_fds=(engine_lock,),
            )

    def arguments(self) -> list[str]:
        """What the engine is told. No configuration file, so nothing else can be in force."""
        told: Mapping[str, str] = {
            # Nobody but us: no TCP, a socket and a folder of our own, no door to the rest of the machine.
            "port": "0",
            "unixsocket": str(self._folder.socket),
            "unixsocketperm": "700",
            "enable-debug-command": "no",
            "enable-module-command": "no",
            "enable-protected-configs": "no",
            # The promise of L4.
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "appenddirname": "appendonlydir",
            "appendfilename": "appendonly.aof",
            # A power cut can leave half an entry, which was never answered: it is cut off.
            "aof-load-truncated": "yes",
            "save": "",
            "dir": str(self._folder.store),
            # A slow command would be remembered with its arguments, a text that is deleted later included (L8).
            "slowlog-log-slower-than": "-1",
            # Out of memory is an error that we report, never a silent loss of old messages.
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "supervised": "no",
            "pidfile": str(self._folder.store / "valkey.pid"),
            "logfile": "",
            "loglevel": "notice",
            "always-show-logo": "no",
        }
        return [word for name, value in told.items() for word in (f"--{name}", value)]

    async def _answers(self, process: Child) -> None:
        loop = asyncio.get_running_loop()
        silent_since = loop.time()
        while process.returncode is None:
            if self._stopping.is_set():
                raise EmbeddedStoreError("The embedded store was stopped while it started.")
            try:
                async with _client(self._folder.socket) as client:
                    await sent(client.ping())
                    return
            except redis.exceptions.BusyLoadingError:
                silent_since = loop.time()
            except (redis.exceptions.RedisError, OSError):
                if loop.time() - silent_since > _SILENCE_S:
                    raise EmbeddedStoreError(
                        f"The embedded store does not answer (for {_SILENCE_S:.0f} s); its log is"
                        f" {self._folder.store_log}."
                    ) from None
            await asyncio.sleep(_POLL_S)
        raise EmbeddedStoreError(
            f"The embedded store ended while it started: {self._last_words()} (see {self._folder.store_log})"
        )

    async def _end(self, process: Child, within_s: float = _TERMINATE_S) -> None:
        """SIGTERM, time to obey, then SIGKILL for it and what it forked (it leads a process group)."""
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), within_s)
        _kill_group(process.pid)
        try:
            await asyncio.wait_for(process.wait(), _KILLED_S)
        except TimeoutError:  # it still holds the engine's lock: no other is started beside it
            log.error("embedded store outlives its end", pid=process.pid)

    # ------------------------------------------------------------------------------- what was left over

    async def _end_leftover(self, engine_lock: int) -> None:
        """Takes the engine's lock, after ending whoever holds it. EmbeddedStoreError when that fails."""
        if _taken(engine_lock):
            self._sweep()
            return
        leftover = self._leftover_pid()
        log.warning("an engine of an earlier server is left over, ending it", pid=leftover)
        await _shutdown(self._folder.socket)
        if not await _taken_within(engine_lock, _SHUTDOWN_S) and leftover is not None:
            # It hangs, or only a child of it is left. Nothing that it answered is lost: that is on disk.
            _kill_group(leftover)
        if not await _taken_within(engine_lock, _TERMINATE_S):
            raise EmbeddedStoreError(
                f"An engine of an earlier server still holds {self._folder.store} and does not end;"
                f" end it by hand (process {leftover or 'unknown'})."
            )
        self._sweep()

    def _leftover_pid(self) -> int | None:
        """The pid in the engine's file, if that is still an engine of this folder: pids are used again."""
        try:
            pid = int((self._folder.store / "valkey.pid").read_text("ascii"))
            process = psutil.Process(pid)
            ours = Path(process.cwd()).samefile(self._folder.store)
        except (OSError, ValueError, psutil.Error):
            return None
        return pid if ours and pid > 1 else None

    def _sweep(self) -> None:
        """What a dead engine leaves: its socket and pid files would only mislead."""
        for path in (self._folder.socket, self._folder.store / "valkey.pid"):
            path.unlink(missing_ok=True)

    # --------------------------------------------------------------------------------- files beside it

    def _place_socket(self) -> None:
        """A socket's path has a small limit: a long data folder gets a short one elsewhere, and notes it."""
        note = self._folder.store / "socket.path"
        if len(os.fsencode(self._folder.store / "valkey.sock")) <= _SOCKET_PATH_BYTES:
            note.unlink(missing_ok=True)
            return
        if note.exists() and _is_private_folder(Path(note.read_text("utf-8")).parent):
            return
        short = Path(tempfile.mkdtemp(prefix="telementor-"))
        if len(os.fsencode(short / "valkey.sock")) > _SOCKET_PATH_BYTES:
            short.rmdir()
            raise EmbeddedStoreError(
                f"Both {self._folder.store} and {short.parent} are too long for a socket's path."
            )
        note.write_text(str(short / "valkey.sock"), "utf-8")

    def _forget_short_folder(self) -> None:
        note = self._folder.store / "socket.path"
        if note.exists():
            socket = Path(note.read_text("utf-8"))
            socket.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                socket.parent.rmdir()
            note.unlink()

    def _bound_log(self) -> None:
        """At most two files of 4 MiB and what one life adds (a few lines an hour)."""
        file = self._folder.store_log
        if file.exists() and file.stat().st_size > _LOG_BYTES:
            file.replace(file.with_suffix(".log.1"))

    def _last_words(self) -> str:
        """The last line that the engine logged, without its own time stamp."""
        try:
            with self._folder.store_log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
                lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        except OSError:
            return ""
        return re.sub(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ . ", "", lines[-1])[:300] if lines else ""


# ------------------------------------------------------------------------------------------ small parts


def _client(socket: Path) -> redis.asyncio.Redis:
    return redis.asyncio.Redis(
        unix_socket_path=str(socket),
        socket_timeout=1.0,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
    )


async def _begin_rewrite(client: redis.asyncio.Redis) -> None:
    try:
        await sent(client.bgrewriteaof())
    except redis.exceptions.ResponseError as error:
        if "in progress" not in str(error):
            raise
        # Somebody else began one after the look that found none: it serves as well.


async def _rewritten(client: redis.asyncio.Redis) -> str:
    """How the last rewrite of the append-only file went, once none is under way."""
    while True:
        info = await sent(client.info("persistence"))
        if not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]:
            return str(info["aof_last_bgrewrite_status"])
        await asyncio.sleep(_REWRITE_POLL_S)


async def _shutdown(socket: Path) -> None:
    """Asks whoever listens there to end; an answer is neither expected nor needed."""
    with contextlib.suppress(redis.exceptions.RedisError, OSError):
        async with _client(socket) as client:
            await client.shutdown(nosave=True)


def _reason(error: Exception) -> str:
    """One sentence for the operator; of what nobody has thought of, what it is."""
    known = isinstance(error, EmbeddedStoreError | DataFolderError | OSError)
    return str(error) if known else repr(error)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _taken_within(lock: int, limit_s: float) -> bool:
    loop = asyncio.get_running_loop()
    until = loop.time() + limit_s
    while not (taken := _taken(lock)) and loop.time() < until:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)  # a file lock tells nobody when it falls
    return taken


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _is_private_folder(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return (
        path.is_dir() and not path.is_symlink() and found.st_uid == os.getuid() and not found.st_mode & 0o077
    )
