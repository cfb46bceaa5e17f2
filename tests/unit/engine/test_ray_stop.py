"""Ending the Ray of the platform, and no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pixyz_ray.cluster.ray_stop import stop_ray

PROGRAM = """
import signal, sys, time
{preparation}
print("up", flush=True)
time.sleep(60)
"""


class Programs:
    """Programs with the command lines of Ray's processes."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, folder: Path, *, preparation: str = "") -> subprocess.Popen[bytes]:
        """Start one that names a session in a temporary folder."""
        code = PROGRAM.format(preparation=preparation)
        command = [sys.executable, "-c", code, f"--session-dir={folder}/session_1"]
        program = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.started.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == b"up\n"
        return program


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Programs that are killed afterwards."""
    programs = Programs()
    yield programs
    for program in programs.started:
        program.kill()
        program.wait()
        if program.stdout is not None:
            program.stdout.close()


def test_only_processes_of_the_folder_end(programs: Programs, tmp_path: Path) -> None:
    """Given two folders, when one is stopped, then the processes of the other go on."""
    ours, other, longer = (programs.start(tmp_path / name) for name in ("ray", "other", "ray-2"))
    assert stop_ray(tmp_path / "ray") == 1
    assert ours.wait(5) == -15
    assert (other.poll(), longer.poll()) == (None, None)


def test_process_that_ignores_sigterm_is_killed(programs: Programs, tmp_path: Path) -> None:
    """Given a process that ignores SIGTERM, when its time is over, then it is killed."""
    program = programs.start(tmp_path / "ray", preparation="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert stop_ray(tmp_path / "ray", grace_s=0.1) == 1
    assert program.wait(5) == -9


def test_zombie_is_not_waited_for(programs: Programs, tmp_path: Path) -> None:
    """Given processes that nobody fetches after their end, when stopped, then it does not wait for their time."""
    program = programs.start(tmp_path / "ray")
    assert stop_ray(tmp_path / "ray", grace_s=3600) == 1
    assert psutil.Process(program.pid).status() == psutil.STATUS_ZOMBIE


def test_nothing_to_stop(tmp_path: Path) -> None:
    """Given no process of the folder, when stopped, then it says so."""
    assert stop_ray(tmp_path / "ray") == 0
