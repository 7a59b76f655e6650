"""The data folder: closed to others, held by one server, and honest about who wrote it."""

import os
import stat
import subprocess
import sys

import pytest

from signaling.data_folder import DataFolder, DataFolderError, Engine, FolderInUseError

pytestmark = pytest.mark.unit


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_made_and_closed_to_others(tmp_path):
    folder = DataFolder(tmp_path / "a" / "b")
    folder.prepare()
    assert mode(folder.path) == 0o700


def test_an_open_folder_is_closed(tmp_path):
    path = tmp_path / "data"
    path.mkdir(mode=0o755)
    (path / "telementor.toml").write_text("")
    DataFolder(path).prepare()
    assert mode(path) == 0o700


def test_a_folder_full_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "home"
    path.mkdir(mode=0o755)
    (path / "thesis.odt").write_text("years of work")
    with pytest.raises(DataFolderError, match=r"home is not empty and no data folder of telementor"):
        DataFolder(path).prepare()
    assert mode(path) == 0o755


def test_ours_may_hold_other_things_too(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    folder.remember_public_url("http://127.0.0.1:8000")
    (folder.path / "notes.txt").write_text("of the operator")
    DataFolder(folder.path).prepare()


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "data"
    path.write_text("")
    for wrong in (path, path / "below"):
        with pytest.raises(DataFolderError, match=r"is not a folder|is a file"):
            DataFolder(wrong).prepare()


def test_only_one_server_holds_it(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    folder.lock()
    folder.lock()
    with pytest.raises(FolderInUseError) as caught:
        DataFolder(folder.path).lock()
    assert (
        str(caught.value) == f"Another telementor server (process {os.getpid()}) already uses {folder.path}."
    )
    folder.unlock()
    DataFolder(folder.path).lock()


def test_a_killed_server_holds_nothing(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    holds = (
        "import sys; from pathlib import Path; from signaling.data_folder import DataFolder\n"
        "DataFolder(Path(sys.argv[1])).lock(); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holds, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"held\n"
        with pytest.raises(FolderInUseError, match=f"process {server.pid}"):
            folder.lock()
        server.kill()
        server.wait()
    folder.lock()


def test_it_remembers_the_engine(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    assert folder.engine() is None
    folder.record_engine(Engine("valkey", (8, 1, 8)))
    assert DataFolder(folder.path).engine() == Engine("valkey", (8, 1, 8))
    assert str(folder.engine()) == "valkey 8.1.8"


@pytest.mark.parametrize("record", [None, b"", b"{}", b"valkey 8", b"\xff"])
def test_files_of_an_unknown_engine_are_not_taken_for_new_ones(tmp_path, record):
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    (folder.store / "appendonlydir").mkdir(parents=True)
    if record is not None:
        (folder.path / "engine.json").write_bytes(record)
    with pytest.raises(DataFolderError, match=r"engine\.json (is missing|cannot be understood)"):
        folder.engine()


def test_it_remembers_where_the_server_is_reached(tmp_path):
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    assert folder.public_url() is None
    folder.remember_public_url("https://mentoring.example.org")
    assert DataFolder(folder.path).public_url() == "https://mentoring.example.org"


def test_a_fact_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    folder.remember_public_url("https://old.example.org")
    monkeypatch.setattr(os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        folder.remember_public_url("https://new.example.org")
    assert folder.public_url() == "https://old.example.org"
