"""Temporary folders of a run on the workstation: for outputs, which are kept, and for unpacked archives."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path


class LocalFolders:
    """Temporary folders of a local run, made when first asked for; clones of a context share them."""

    def __init__(self, script: str) -> None:
        self._name = Path(script).stem
        self._path: str | None = None
        self._scratch: str | None = None
        self._archives: dict[tuple[Path, int, int], int] = {}

    def path(self) -> str:
        """Return the folder for outputs; it is kept after the run."""
        if self._path is None:
            self._path = tempfile.mkdtemp(prefix=f"{self._name}_outputs_")
            print(f"Outputs go to {self._path}", file=sys.stderr)
        return self._path

    def scratch(self) -> str:
        """Return the folder for unpacked archives; it is removed when the process ends."""
        if self._scratch is None:
            self._scratch = tempfile.mkdtemp(prefix=f"{self._name}_input_")
            atexit.register(shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch

    def extraction_dir(self, archive: Path) -> Path:
        """Return the folder that an archive is unpacked to; a changed file gets another one."""
        about = archive.stat()
        key = archive, about.st_size, about.st_mtime_ns
        return Path(self.scratch()) / f"extracted_{self._archives.setdefault(key, len(self._archives))}"
