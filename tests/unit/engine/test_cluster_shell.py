"""The shell lines that prepare a node of a cluster, as cluster.yaml evaluates them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PREPARE = (
    f'eval "$({sys.executable} -m pixyz_ray.cluster.environment)" && echo "$RAY_TMPDIR $(umask) $PIXYZ_MASK_OF_SHARE"'
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for temporary files with a short name."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="px") as name:
        yield Path(name)


def prepare(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the lines with a umask of 002, as a user of a group would."""
    env = {**os.environ, "TMPDIR": str(folder), "PIXYZ_HOME": str(folder / "home")}
    return subprocess.run(["sh", "-c", f"umask 002; {PREPARE}"], env=env, capture_output=True, text=True)


def test_node_is_private_but_for_the_share(folder: Path) -> None:
    """Given a node, when prepared, then Ray's folder is in a closed one, and only the share keeps the user's umask."""
    done = prepare(folder)
    assert done.stdout.split() == [f"{folder}/pixyz-{os.geteuid()}", "0077", "002"], done.stderr
    assert (folder / f"pixyz-{os.geteuid()}").stat().st_mode & 0o777 == 0o700


def test_node_whose_folder_is_a_link_does_not_start(folder: Path, tmp_path: Path) -> None:
    """Given a link in the place of the closed folder, when prepared, then the line fails and says why."""
    (folder / f"pixyz-{os.geteuid()}").symlink_to(tmp_path)
    done = prepare(folder)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "is a link" in done.stderr
