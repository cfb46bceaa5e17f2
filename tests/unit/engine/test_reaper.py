"""Ending the processes of one run, and no others."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from pixyz_ray.reaper import _is_our_program, end_marked, has_ended, is_supervisor, marked

STUBBORN = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)\n"
POLITE = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"

Family = dict[str, subprocess.Popen[str]]


@pytest.fixture
def family() -> Iterator[tuple[str, Family]]:
    """Two processes of a run, and a stranger."""
    session = secrets.token_hex(8)
    environments = {"polite": session, "stubborn": session, "stranger": secrets.token_hex(8)}
    processes = {}
    for name, mark in environments.items():
        code = STUBBORN if name == "stubborn" else POLITE
        process = subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, "PIXYZ_SESSION": mark}, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        processes[name] = process
    yield session, processes
    for process in processes.values():
        process.kill()
        process.communicate()


def test_given_a_run_when_ended_then_its_processes_are_gone_and_strangers_live(family: tuple[str, Family]) -> None:
    """The stubborn one too."""
    session, processes = family
    assert {process.pid for process in marked(session)} == {processes["polite"].pid, processes["stubborn"].pid}
    assert end_marked(session, patience_s=0.3) == 2
    assert processes["polite"].wait(5) is not None
    assert processes["stubborn"].wait(5) is not None
    assert processes["stranger"].poll() is None
    assert list(marked(session)) == []
    assert end_marked(session, patience_s=0.3) == 0


def test_zombie_has_ended(family: tuple[str, Family]) -> None:
    """Given a process that nobody has waited for, when it is dead, then it counts as ended."""
    _, processes = family
    process = psutil.Process(processes["polite"].pid)
    assert not has_ended(process, within_s=0.05)
    processes["polite"].kill()
    assert has_ended(process, within_s=5)
    assert process.status() == psutil.STATUS_ZOMBIE


def test_given_numbers_of_processes_when_asked_then_only_a_living_one_of_ours_is_a_supervisor(
    family: tuple[str, Family],
) -> None:
    """A number may have been given to a stranger since."""
    _, processes = family
    assert not is_supervisor(processes["stranger"].pid)
    processes["polite"].kill()
    assert not is_supervisor(processes["polite"].pid)
    processes["polite"].wait()
    assert not is_supervisor(processes["polite"].pid)


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("/srv/venv/bin/pixyz", True),
        ("pixyz_ray.cluster.supervisor", True),
        ("/srv/venv/lib/pixyz_ray/cli/__main__.py", True),
        ("/home/pixyz/venv/bin/python", False),
        ("/home/pixyzuser/src/.venv/bin/python", False),
        ("import time", False),
    ],
)
def test_a_folder_with_a_name_like_ours_is_not_ours(word: str, ours: bool) -> None:
    """Given words of command lines, when the supervisor is looked for, then the folder of a Python does not count."""
    assert _is_our_program(word) is ours


def test_given_a_frozen_run_when_killed_then_it_is_gone_at_once_and_its_child_that_kills_is_not(
    family: tuple[str, Family],
) -> None:
    """Given stopped processes, one of them with a child that calls it, when killed, then strangers and it live."""
    session, processes = family
    code = (
        "import subprocess, sys\n"
        "environment = {'PATH': '/usr/bin:/bin', 'PYTHONPATH': sys.argv[2]}\n"
        "code = 'import sys; from pixyz_ray.reaper import kill_marked; print(kill_marked(sys.argv[1]), flush=True)'\n"
        "subprocess.run([sys.executable, '-c', code, sys.argv[1]], env=environment)\n"
    )
    for name in ("polite", "stubborn"):
        processes[name].send_signal(signal.SIGSTOP)
    environment = {**os.environ, "PIXYZ_SESSION": session}
    command = [sys.executable, "-c", code, session, os.pathsep.join(sys.path)]
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        out, _ = parent.communicate(timeout=20)
    finally:
        parent.kill()
    assert (out, parent.returncode) == ("3\n", -signal.SIGKILL)
    for name in ("polite", "stubborn"):
        assert processes[name].wait(5) == -signal.SIGKILL
    assert processes["stranger"].poll() is None
