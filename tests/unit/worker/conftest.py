"""What the tests of the SDK share: scripts written for a test, and a Python of its own to run them in."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pixyz_worker

ROOT = Path(pixyz_worker.__file__).parents[1]
HEADER = "from pixyz_worker.script import *\n"


@pytest.fixture
def write_script(tmp_path: Path) -> Callable[..., Path]:
    """Write a script, its imports included, and give its path."""

    def write(body: str, name: str = "script.py", header: str = HEADER) -> Path:
        path = tmp_path / name
        path.write_text(header + textwrap.dedent(body), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with arguments in a process of its own, in an empty folder."""

    def run(*args: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *map(str, args)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def through_pickle() -> Callable[[Any], Any]:
    """Send a value to another process and back, as far as it can tell."""
    return lambda value: pickle.loads(pickle.dumps(value))  # noqa: S301 - our own bytes
