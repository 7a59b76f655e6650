"""The embedded store against what happens to processes: killed, stopped, left over, cut short (L4)."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import redis.asyncio
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from structlog.testing import capture_logs

from signaling.data_folder import DataFolder, DataFolderError, Engine, FolderInUseError
from signaling.stores import embedded
from signaling.stores import engine as engines
from signaling.stores.child import Child
from signaling.stores.embedded import EmbeddedStore, EmbeddedStoreError, choose_engine
from tests.support.condition import until
from tests.support.processes import stores_of

pytestmark = [pytest.mark.integration, pytest.mark.faults]

BACK_S = 5  # "starts it again within 5 s if it dies"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    """A fresh data folder; whatever still works for it after the test is a failure, and is ended."""
    made = DataFolder(tmp_path / "data")
    made.prepare()
    yield made
    left = stores_of(made.path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "an engine outlived its test"


@pytest.fixture
async def store(folder: DataFolder) -> AsyncIterator[EmbeddedStore]:
    made = EmbeddedStore(folder)
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def started(folder: DataFolder) -> AsyncIterator[EmbeddedStore]:
    made = EmbeddedStore(folder)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@contextlib.asynccontextmanager
async def watched(store: EmbeddedStore) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(store.watch())
        yield
        watching.cancel()


def client(store: EmbeddedStore) -> redis.asyncio.Redis:
    """Never repeats by itself: one call is one command."""
    return redis.asyncio.Redis.from_url(store.url, retry=Retry(NoBackoff(), 0), socket_timeout=2)


async def answers(asked: redis.asyncio.Redis) -> bool:
    try:
        return bool(await asked.ping())
    except (redis.RedisError, OSError):
        return False


def server_process(folder: DataFolder) -> subprocess.Popen[bytes]:
    """Another process that runs the store of this folder, as a server does; it is ready."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from signaling.data_folder import DataFolder\n"
        "from signaling.stores.embedded import EmbeddedStore\n"
        "async def main():\n"
        "    store = EmbeddedStore(DataFolder(Path(sys.argv[1])))\n"
        "    await store.start()\n"
        "    print('ready', flush=True)\n"
        "    await store.watch()\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout
    while (line := process.stdout.readline()) != b"ready\n":
        assert line, "the server process ended"
    return process


# ------------------------------------------------------------------------------------------ what it is


async def test_it_answers_on_a_private_socket_and_nowhere_else(store, folder):
    async with client(store) as asked:
        assert await asked.ping()
        assert (await asked.config_get("port"))["port"] == "0"
        with pytest.raises(redis.ResponseError):
            await asked.execute_command("DEBUG", "SLEEP", "0")
        with pytest.raises(redis.ResponseError):
            await asked.config_set("dir", "/")
    for path in (folder.path, folder.store, folder.store / "appendonlydir"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert folder.socket.stat().st_mode & 0o077 == 0


async def test_it_promises_the_disk_before_the_answer(store):
    async with client(store) as asked:
        told = await asked.config_get("*")
    promised = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
    }
    assert {name: told[name] for name in promised} == promised


async def test_it_does_not_get_our_secrets(folder, tmp_path, monkeypatch):
    engine, binary = choose_engine(None, os.environ)
    # The engine overwrites its own environment, so a script in its place tells.
    telling = tmp_path / "telling"
    telling.write_text(f'#!/bin/sh\nenv > {tmp_path}/environment\nexec {binary} "$@"\n')
    telling.chmod(0o755)
    monkeypatch.setattr(embedded, "choose_engine", lambda *_: (engine, telling))
    monkeypatch.setenv("TELEMENTOR_TURN_SECRET", "hunter2hunter2hunter2")
    async with started(folder):
        told = (tmp_path / "environment").read_text()
    assert "PATH=" in told
    assert "hunter2" not in told


async def test_a_folder_may_have_any_name(tmp_path):
    folder = DataFolder(tmp_path / "100%41 sure? #1")
    folder.prepare()
    async with started(folder) as store, client(store) as asked:
        assert await asked.ping()


async def test_it_ends_with_stop_and_leaves_no_trace_of_a_running_engine(folder):
    async with started(folder) as store:
        pid = store.pid
    assert store.pid is None
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.socket.exists()
    await store.stop()


async def test_what_it_kept_is_there_after_a_full_restart(folder):
    async with started(folder) as store, client(store) as asked:
        await asked.set("word", "kept")
    async with started(folder) as store, client(store) as asked:
        assert await asked.get("word") == b"kept"


async def test_the_same_object_can_start_again(folder):
    store = EmbeddedStore(folder)
    for _ in range(2):
        await store.start()
        async with watched(store), client(store) as asked:
            os.kill(store.pid, signal.SIGKILL)
            await until(lambda: answers(asked), "the store", timeout_s=BACK_S)
        await store.stop()


async def _two_lives(folder: DataFolder) -> None:
    """The store dies, and there is another one."""
    async with started(folder) as store, watched(store), client(store) as asked:
        first = store.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: answers(asked), "the store", timeout_s=BACK_S)
        assert store.pid != first


def test_it_works_on_uvloop_too(folder):
    uvloop.run(_two_lives(folder))


def test_no_copy_of_the_server_is_made_for_it(folder):
    """A copy runs the interpreter on locks that other threads held when it was made: it, and whoever waits for it, may stand
    still for ever. And the page tables of thousands of clients would be copied."""
    copies: list[float] = []
    os.register_at_fork(
        before=lambda: copies.append(time.monotonic())
    )  # nothing takes it back; it harms nobody

    uvloop.run(_two_lives(folder))
    assert copies == []


async def test_one_whose_end_nobody_could_wait_for_is_not_left_running(folder, monkeypatch):
    real = threading.Thread.start

    def no_more(thread: threading.Thread) -> None:
        if thread.name.startswith("end of "):
            raise RuntimeError("can't start new thread")
        real(thread)

    before = set(psutil.Process().children())
    monkeypatch.setattr(threading.Thread, "start", no_more)
    with pytest.raises(RuntimeError):
        await EmbeddedStore(folder).start()
    assert set(psutil.Process().children()) <= before


# ------------------------------------------------------------------------------- killed and left over


async def test_no_acknowledged_write_is_lost_when_the_store_is_killed(store):
    """L4: an ack means on disk. Four writers are at it while the engine is killed three times."""
    acked: list[str] = []
    writing = True

    async def write(writer: int) -> None:
        number = 0
        async with client(store) as asked:
            while writing:
                number += 1
                key = f"{writer}:{number}"
                with contextlib.suppress(redis.RedisError, OSError):
                    await asked.set(key, key)
                    acked.append(key)
                await asyncio.sleep(0)

    async with watched(store), asyncio.TaskGroup() as writers, client(store) as asked:
        for writer in range(4):
            writers.create_task(write(writer))
        for kill in range(1, 4):
            await until(lambda kill=kill: len(acked) > 200 * kill, "writes")
            before = len(acked)
            os.kill(store.pid, signal.SIGKILL)
            killed = time.monotonic()
            await until(lambda before=before: len(acked) > before + 4, "writes after the kill")
            assert time.monotonic() - killed < BACK_S
        writing = False
        os.kill(store.pid, signal.SIGKILL)
        await until(lambda: answers(asked), "the store", timeout_s=BACK_S)
        found = await asked.mget(acked)
    assert [key for key, value in zip(acked, found, strict=True) if value != key.encode()] == []


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is of Linux")
async def test_the_engine_ends_with_a_killed_server(folder):
    server = server_process(folder)
    server.kill()
    server.wait()
    await until(lambda: not stores_of(folder.path), "the engine's end")


async def test_a_killed_server_is_followed_by_the_next_at_once(folder):
    server = server_process(folder)
    async with redis.asyncio.Redis.from_url(EmbeddedStore(folder).url) as asked:
        await asked.set("word", "kept")
    server.kill()
    server.wait()
    async with started(folder) as store, client(store) as asked:
        assert await asked.get("word") == b"kept"
        assert stores_of(folder.path) == [store.pid]


def leftover_engine(folder: DataFolder) -> subprocess.Popen[bytes]:
    """An engine whose server is gone and did not take it along."""
    store = EmbeddedStore(folder)
    folder.store.mkdir(exist_ok=True)
    engine, binary = choose_engine(folder.engine(), os.environ)
    folder.record_engine(engine)
    with (folder.store / "engine.lock").open("w") as lock:
        assert embedded._taken(lock.fileno())
        return subprocess.Popen(
            [binary, *store.arguments()],
            pass_fds=(lock.fileno(),),
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


async def test_a_leftover_engine_is_ended_and_nothing_of_it_is_lost(folder):
    leftover = leftover_engine(folder)
    async with redis.asyncio.Redis.from_url(EmbeddedStore(folder).url) as asked:
        await until(lambda: answers(asked), "the leftover engine")
        await asked.set("word", "kept")
    async with started(folder) as store, client(store) as asked:
        assert leftover.wait() == 0
        assert await asked.get("word") == b"kept"
        assert stores_of(folder.path) == [store.pid]


async def test_a_leftover_engine_that_hangs_is_killed(folder, monkeypatch):
    monkeypatch.setattr(embedded, "_SHUTDOWN_S", 0.1)
    leftover = leftover_engine(folder)
    async with redis.asyncio.Redis.from_url(EmbeddedStore(folder).url) as asked:
        await until(lambda: answers(asked), "the leftover engine")
        await asked.set("word", "kept")
        leftover.send_signal(signal.SIGSTOP)
    async with started(folder) as store, client(store) as asked:
        assert leftover.wait() == -signal.SIGKILL
        assert await asked.get("word") == b"kept"


async def test_a_stale_pid_of_somebody_else_harms_nobody(folder):
    folder.store.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        (folder.store / "valkey.pid").write_text(str(innocent.pid))
        folder.socket.touch()
        async with started(folder):
            assert innocent.poll() is None


async def test_a_holder_that_cannot_be_ended_is_named_and_no_stranger_is_killed(folder, monkeypatch):
    monkeypatch.setattr(embedded, "_SHUTDOWN_S", 0.1)
    monkeypatch.setattr(embedded, "_TERMINATE_S", 0.1)
    folder.store.mkdir()
    with (
        (folder.store / "engine.lock").open("w") as lock,
        subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
        ) as innocent,
    ):
        assert embedded._taken(lock.fileno())
        (folder.store / "valkey.pid").write_text(str(innocent.pid))
        with pytest.raises(EmbeddedStoreError, match=r"still holds .*end it by hand"):
            await EmbeddedStore(folder).start()
        assert innocent.poll() is None
        innocent.communicate(b"\n")
        assert innocent.returncode == 0
    assert not stores_of(folder.path)


async def test_a_half_written_entry_is_cut_off(folder):
    async with started(folder) as store, client(store) as asked:
        await asked.set("first", "kept")
        await asked.set("last", "x" * 100)
    (newest,) = (folder.store / "appendonlydir").glob("*.incr.aof")
    os.truncate(newest, newest.stat().st_size - 7)
    async with started(folder) as store, client(store) as asked:
        assert await asked.get("first") == b"kept"
        assert await asked.get("last") is None
        await asked.set("next", "kept")
    async with started(folder) as store, client(store) as asked:
        assert await asked.get("next") == b"kept"


async def test_a_hanging_engine_does_not_keep_the_server_from_stopping(folder):
    async with started(folder) as store:
        os.kill(store.pid, signal.SIGSTOP)
        async with asyncio.timeout(1):
            await store.stop(0.3)
    assert not stores_of(folder.path)


async def test_an_engine_that_outlives_its_end_does_not_either(folder, monkeypatch):
    """As one does that waits for a broken disk. It keeps the next one off."""
    monkeypatch.setattr(embedded, "_kill_group", lambda _: None)
    store = EmbeddedStore(folder)
    await store.start()
    pid = store.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with capture_logs() as logged:
            async with asyncio.timeout(2):
                await store.stop(0.3)
        assert {"event": "embedded store outlives its end", "pid": pid, "log_level": "error"} in logged
        with (folder.store / "engine.lock").open("w") as lock:
            assert not embedded._taken(lock.fileno())
    finally:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not stores_of(folder.path), "its end after all")


# ------------------------------------------------------------------------------------- the watch


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (EmbeddedStoreError("it is not there"), "it is not there"),
        (RuntimeError("can't start new thread"), """RuntimeError("can't start new thread")"""),
    ],
    ids=["known", "unthought-of"],
)
async def test_a_store_that_does_not_come_back_is_tried_on_and_logged_once(store, monkeypatch, why, said):
    tries = 0
    real = choose_engine

    def missing_at_first(*given):
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise why
        return real(*given)

    monkeypatch.setattr(embedded, "choose_engine", missing_at_first)
    monkeypatch.setattr(embedded, "_RESTART_DELAYS_S", (0.0,))
    with capture_logs() as logged:
        async with watched(store), client(store) as asked:
            os.kill(store.pid, signal.SIGKILL)
            await until(lambda: answers(asked), "the store")
            await until(lambda: logged[-1]["event"] == "embedded store runs", "its line")
    assert [line["event"] for line in logged] == [
        "embedded store died",
        "embedded store does not come back, trying on",
        "embedded store runs",
    ]
    assert logged[1]["reason"] == said


async def test_the_watch_ends_with_stop(folder):
    store = EmbeddedStore(folder)
    await store.start()
    with capture_logs() as logged:
        watching = asyncio.create_task(store.watch())
        await asyncio.sleep(0)
        await store.stop()
        await watching
    assert logged == []


async def test_stop_while_it_comes_back_leaves_nothing(folder):
    store = EmbeddedStore(folder)
    await store.start()
    first = store.pid
    watching = asyncio.create_task(store.watch())
    os.kill(first, signal.SIGKILL)
    await until(lambda: store.pid not in {None, first}, "the second engine")
    await store.stop()
    await watching
    assert not stores_of(folder.path)


async def test_stop_waits_for_a_restart_that_has_just_begun(folder, monkeypatch):
    store = EmbeddedStore(folder)
    await store.start()
    coming_back, go_on = asyncio.Event(), asyncio.Event()
    really_end_leftover, really_spawn = store._end_leftover, store._spawn
    spawned: list[Child] = []

    async def slowly_end_leftover(lock: int) -> None:
        coming_back.set()
        await go_on.wait()
        await really_end_leftover(lock)

    def spawn(*given: Any) -> Child:
        spawned.append(really_spawn(*given))
        return spawned[-1]

    monkeypatch.setattr(store, "_end_leftover", slowly_end_leftover)
    monkeypatch.setattr(store, "_spawn", spawn)
    watching = asyncio.create_task(store.watch())
    os.kill(store.pid, signal.SIGKILL)
    await coming_back.wait()
    stopping = asyncio.create_task(store.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert [process.returncode is not None for process in spawned] == [True]
    await watching


@pytest.fixture
def mute(tmp_path, monkeypatch) -> Path:
    """An engine that starts and never says a word; the returned file holds its process id."""
    script = tmp_path / "mute"
    script.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/mute.pid.new\nmv {tmp_path}/mute.pid.new {tmp_path}/mute.pid\nexec sleep 600\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(embedded, "choose_engine", lambda *_: (Engine("valkey", (8, 1, 8)), script))
    return tmp_path / "mute.pid"


def lives(pid_file: Path) -> bool:
    return Path(f"/proc/{pid_file.read_text().strip()}").exists()


async def test_an_engine_that_never_answers_is_given_up_and_ended(folder, mute, monkeypatch):
    monkeypatch.setattr(embedded, "_SILENCE_S", 0.3)
    with pytest.raises(EmbeddedStoreError, match="does not answer"):
        await EmbeddedStore(folder).start()
    assert not lives(mute)
    DataFolder(folder.path).lock()


async def test_a_start_that_is_cancelled_leaves_nothing(folder, mute):
    starting = asyncio.create_task(EmbeddedStore(folder).start())
    await until(mute.exists, "the engine")
    assert lives(mute)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not lives(mute)
    DataFolder(folder.path).lock()


# ------------------------------------------------------------------------------------- who may write


async def test_a_second_server_is_kept_off(store, folder):
    with pytest.raises(FolderInUseError, match="already uses"):
        await EmbeddedStore(DataFolder(folder.path)).start()
    async with client(store) as asked:
        assert await asked.ping()


@pytest.mark.parametrize("wrote", [Engine("redis", (7, 0, 15)), Engine("valkey", (99, 0, 0))])
async def test_an_older_or_other_engine_is_never_started(folder, wrote):
    folder.record_engine(wrote)
    with pytest.raises(EmbeddedStoreError, match=f"^The store was written by {wrote}, and only that engine"):
        await EmbeddedStore(folder).start()
    assert folder.engine() == wrote
    assert not folder.store_log.exists()
    DataFolder(folder.path).lock()  # it is free again


async def test_a_newer_engine_may_and_is_recorded(folder):
    folder.record_engine(Engine("valkey", (8, 0, 0)))
    async with started(folder):
        assert folder.engine().version > (8, 0, 0)


async def test_files_that_cannot_be_read_are_said_and_left_alone(folder):
    async with started(folder) as store, client(store) as asked:
        await asked.set("word", "kept")
    (manifest,) = (folder.store / "appendonlydir").glob("*.manifest")
    whole = manifest.read_bytes()
    manifest.write_bytes(b"nonsense\n")
    with pytest.raises(EmbeddedStoreError, match=r"ended while it started: .+ \(see "):
        await EmbeddedStore(folder).start()
    assert not stores_of(folder.path)
    manifest.write_bytes(whole)
    async with started(folder) as store, client(store) as asked:
        assert await asked.get("word") == b"kept"


async def test_files_without_a_record_are_refused(folder):
    async with started(folder):
        pass
    (folder.path / "engine.json").unlink()
    with pytest.raises(DataFolderError, match=r"engine\.json is missing"):
        await EmbeddedStore(folder).start()


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_recent_valkey_on_path_serves_where_none_is_bundled(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda _name: None)
    env = {"PATH": str(tmp_path / "bin")}
    with pytest.raises(EmbeddedStoreError, match=r"needs Valkey 8 or newer \(found: none\)"):
        choose_engine(None, env)
    binary = program(tmp_path / "bin" / "valkey-server", "Valkey server v=7.2.9 sha=00000000:0")
    with pytest.raises(EmbeddedStoreError, match=r"needs Valkey 8 or newer \(found: valkey 7\.2\.9\)"):
        choose_engine(None, env)
    program(binary, "Valkey server v=9.0.1 sha=00000000:0")
    assert choose_engine(None, env) == (Engine("valkey", (9, 0, 1)), binary)
    assert choose_engine(Engine("valkey", (9, 0, 1)), env)[1] == binary


def test_a_folder_of_a_newer_engine_gets_it_from_path(tmp_path):
    binary = program(tmp_path / "bin" / "valkey-server", "Valkey server v=99.0.0 sha=00000000:0")
    env = {"PATH": str(tmp_path / "bin")}
    assert choose_engine(Engine("valkey", (98, 0, 0)), env) == (Engine("valkey", (99, 0, 0)), binary)
    assert choose_engine(None, env)[1] != binary, "a new folder gets the bundled engine"


# -------------------------------------------------------------------------------------- files beside it


@pytest.fixture
def deep(tmp_path: Path, folder: DataFolder) -> DataFolder:
    """A data folder whose path does not fit into a socket's address."""
    made = DataFolder(folder.path / ("d" * 60) / ("e" * 60) / 'it\'s a "data" folder')
    made.prepare()
    return made


async def test_a_long_path_gets_a_short_socket(deep):
    async with started(deep) as store, client(store) as asked:
        await asked.set("word", "kept")
        socket = deep.socket
        assert len(str(socket)) < 104
        assert socket.parent.stat().st_mode & 0o077 == 0
    assert not socket.parent.exists()
    async with started(deep) as store, client(store) as asked:
        assert await asked.get("word") == b"kept"


async def test_the_short_socket_of_a_killed_server_is_used_again(deep):
    server = server_process(deep)
    socket = deep.socket
    server.kill()
    server.wait()
    async with started(deep) as store, client(store) as asked:
        assert deep.socket == socket
        assert await asked.ping()
    assert not socket.parent.exists()


async def test_a_short_folder_that_others_could_enter_is_not_used_again(deep, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o777)
    foreign.chmod(0o777)
    deep.store.mkdir()
    (deep.store / "socket.path").write_text(str(foreign / "valkey.sock"))
    async with started(deep):
        assert deep.socket.parent != foreign


async def test_the_log_is_bounded(folder, monkeypatch):
    monkeypatch.setattr(embedded, "_LOG_BYTES", 1000)
    folder.store_log.write_text("old\n" * 1000)
    async with started(folder):
        pass
    assert "old" not in folder.store_log.read_text()
    assert folder.store_log.with_suffix(".log.1").stat().st_size == 4000
    assert {path.name for path in folder.path.glob("valkey.log*")} == {"valkey.log", "valkey.log.1"}


# -------------------------------------------------------------------------------- what was removed is in no file


def files_with(folder: DataFolder, word: bytes) -> list[Path]:
    return [file for file in folder.store.rglob("*") if file.is_file() and word in file.read_bytes()]


async def test_a_rewrite_leaves_nothing_of_what_was_removed(folder, store):
    asked = client(store)
    await asked.mset({"doomed": "words-that-go", "kept": "words-that-stay"})
    await asked.delete("doomed")
    assert files_with(folder, b"words-that-go")
    await store.rewrite()
    assert not files_with(folder, b"words-that-go")
    assert files_with(folder, b"words-that-stay")
    await asked.aclose()


async def test_a_slow_command_is_not_remembered_with_its_words(folder, store):
    asked = client(store)
    slow = "for _ = 1, 10000000 do end"  # 10 ms would be enough
    await asked.eval(slow, 0, "words-that-go")
    assert await asked.slowlog_get() == []
    await asked.aclose()


async def test_a_rewrite_that_began_before_the_removal_does_not_count(folder, store):
    asked = client(store)
    await asked.set("doomed", "words-that-go")
    await asked.bgrewriteaof()  # what it writes holds them
    await asked.delete("doomed")
    await store.rewrite()
    assert not files_with(folder, b"words-that-go")
    await asked.aclose()


async def test_several_may_ask_for_a_rewrite_at_once(folder, store):
    asked = client(store)
    await asked.set("doomed", "words-that-go")
    await asked.delete("doomed")
    await asyncio.gather(*(store.rewrite() for _ in range(5)))
    assert not files_with(folder, b"words-that-go")
    await asked.aclose()


async def test_a_rewrite_that_fails_is_said_and_the_store_serves_on(folder, store):
    asked = client(store)
    await asked.mset({f"key{number}": "x" for number in range(100)})
    await asked.config_set("rdb-key-save-delay", 100_000)  # it would take 10 s
    rewriting = asyncio.create_task(store.rewrite())
    engine = psutil.Process(store.pid)
    (child,) = await until(engine.children, "the process that writes")
    child.kill()
    with pytest.raises(EmbeddedStoreError, match="could not be written anew"):
        await rewriting
    assert await answers(asked)
    await asked.aclose()


async def test_a_store_that_is_not_there_cannot_be_rewritten(folder):
    with pytest.raises(EmbeddedStoreError, match="was not written anew"):
        await EmbeddedStore(folder).rewrite()
