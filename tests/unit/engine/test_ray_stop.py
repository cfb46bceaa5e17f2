"""Ending the Ray of the platform, and no other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pixyz_ray.cluster.ray_stop import Stopped, stop_ray
from pixyz_ray.reaper import has_ended
from tests.waiting import wait_until

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
        self.children: list[psutil.Process] = []

    def start_worker(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start one with the title and the log of a worker, whose raylet is gone."""
        with _log(folder).open("wb") as log:
            program = subprocess.Popen(["ray::IDLE", "60"], executable=shutil.which("sleep"), stdout=log)
        self.started.append(program)
        return program

    def start_watchdog(self, folder: Path, worker: int) -> subprocess.Popen[bytes]:
        """Start one with the name and the arguments of a watchdog, which does not see the end of its worker."""
        program = subprocess.Popen([_called("pixyz-watchdog", "sleep", folder), "60", str(worker), "0"])
        self.started.append(program)
        return program

    def start_raylet(self, folder: Path) -> tuple[subprocess.Popen[bytes], psutil.Process]:
        """Start one with the name of a raylet, and a worker as its child; return both."""
        code = '(exec -a ray::IDLE sleep 60 > "$0") & echo $!; wait'
        command = [_called("raylet", "bash", folder), "-c", code, str(_log(folder))]
        program = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.started.append(program)
        assert program.stdout is not None
        child = psutil.Process(int(program.stdout.readline()))
        self.children.append(child)
        wait_until(lambda: child.cmdline()[:1] == ["ray::IDLE"], "the worker has its title")
        return program, child

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
    for child in programs.children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    for program in programs.started:
        program.kill()
        program.wait()
        if program.stdout is not None:
            program.stdout.close()


def test_only_processes_of_the_folder_end(programs: Programs, tmp_path: Path) -> None:
    """Given two folders, when one is stopped, then the processes of the other go on."""
    ours, other, longer = (programs.start(tmp_path / name) for name in ("ray", "other", "ray-2"))
    assert stop_ray(tmp_path / "ray") == Stopped(processes=1, orphans=0)
    assert ours.wait(5) == -15
    assert (other.poll(), longer.poll()) == (None, None)


def test_process_that_ignores_sigterm_is_killed(programs: Programs, tmp_path: Path) -> None:
    """Given a process that ignores SIGTERM, when its time is over, then it is killed."""
    program = programs.start(tmp_path / "ray", preparation="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert stop_ray(tmp_path / "ray", grace_s=0.1).processes == 1
    assert program.wait(5) == -9


def test_zombie_is_not_waited_for(programs: Programs, tmp_path: Path) -> None:
    """Given processes that nobody fetches after their end, when stopped, then it does not wait for their time."""
    program = programs.start(tmp_path / "ray")
    assert stop_ray(tmp_path / "ray", grace_s=3600).processes == 1
    assert psutil.Process(program.pid).status() == psutil.STATUS_ZOMBIE


def test_nothing_to_stop(tmp_path: Path) -> None:
    """Given no process of the folder, when stopped, then it says so."""
    assert str(stop_ray(tmp_path / "ray")) == "No Ray of the platform runs here."


def test_workers_without_a_raylet_end(programs: Programs, tmp_path: Path) -> None:
    """Given workers whose raylet has died, when their Ray is stopped, then they and their watchdogs end, no others."""
    ours, other = (programs.start_worker(tmp_path / name) for name in ("ray", "other"))
    watchdog, stranger = (programs.start_watchdog(tmp_path / "ray", one.pid) for one in (ours, other))
    assert str(stop_ray(tmp_path / "ray", grace_s=0.1)) == "Ended: 1 worker that had outlived an earlier Ray."
    assert (ours.wait(5), watchdog.wait(5)) == (-9, -9)
    assert (other.poll(), stranger.poll()) == (None, None)


def test_workers_of_a_raylet_are_no_orphans(programs: Programs, tmp_path: Path) -> None:
    """Given a raylet whose worker does not end with it, when stopped, then both end, and one process is counted."""
    raylet, worker = programs.start_raylet(tmp_path / "ray")
    stopped = stop_ray(tmp_path / "ray", grace_s=0.1)
    assert (str(stopped), raylet.wait(5)) == ("Ended: 1 process of Ray.", -15)
    assert has_ended(worker, within_s=5)


def _log(folder: Path) -> Path:
    """Return the log of a worker of a session."""
    path = folder / "session_1" / "logs" / "worker.out"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _called(name: str, program: str, folder: Path) -> str:
    """Return a program under another name."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    if not path.exists():
        found = shutil.which(program)
        assert found is not None
        path.symlink_to(found)
    return str(path)
