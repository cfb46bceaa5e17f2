"""Temporary folders of a run on the workstation: one for outputs that stay, one for archives that goes."""

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
        """Where outputs go; stays after the run."""
        if self._path is None:
            self._path = tempfile.mkdtemp(prefix=f"{self._name}_outputs_")
            print(f"Outputs go to {self._path}", file=sys.stderr)
        return self._path

    def scratch(self) -> str:
        """Where the input is unpacked; goes away with the process."""
        if self._scratch is None:
            self._scratch = tempfile.mkdtemp(prefix=f"{self._name}_input_")
            atexit.register(shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch

    def extraction_dir(self, archive: Path) -> Path:
        """Where an archive is unpacked to; a changed file is another archive."""
        about = archive.stat()
        key = archive, about.st_size, about.st_mtime_ns
        return Path(self.scratch()) / f"extracted_{self._archives.setdefault(key, len(self._archives))}"
