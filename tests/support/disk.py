"""A disk that is full: a small file system of its own where root may mount one, else a bound on one process's files."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

SIZE_BYTES = 192 * 1024 * 1024


class Disk:
    """What a store keeps its files on. `small` says whether it is a file system of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=700", "tmpfs", str(folder)]
        self.small = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0

    def fill(self, pid: int) -> None:
        """From now on nothing can be appended to any file of the process `pid`."""
        if not self.small:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
            return
        with (self.folder / "ballast").open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 1_048_576):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """There is room again; where the process was bound, for its successor."""
        if self.small:
            (self.folder / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Forget the file system and all that is on it."""
        if self.small:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)
