"""One decision for every program a test needs: locally its absence skips, in CI it fails."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def needs(what: str, present: object) -> None:
    """Skip with a reason when `what` is not here; with CI=true fail, so that CI never goes quiet."""
    if present:
        return
    reason = f"needs {what}, which is not here"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def needs_program(name: str, *, variable: str | None = None) -> str:
    """The path of a program: the one `variable` names, else beside our Python, else on PATH."""
    chosen = os.environ.get(variable) if variable else None
    beside = Path(sys.executable).parent / name
    path = chosen or (str(beside) if beside.exists() else shutil.which(name))
    needs(f"the program {name!r}", path)
    assert path
    return path


def needs_node_module(name: str) -> Path:
    """The folder of an npm package: of the web client's (`npm ci` in web_client), else in Node's NODE_PATH."""
    elsewhere = os.environ.get("NODE_PATH", "").split(os.pathsep)
    places = [REPOSITORY / "web_client" / "node_modules", *(Path(place) for place in elsewhere if place)]
    folder = next((place / name for place in places if (place / name).is_dir()), None)
    needs(f"the npm package {name!r} in web_client/node_modules", folder)
    assert folder
    return folder
