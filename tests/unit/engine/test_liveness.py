"""Whether the platform can come back by itself, as `/health/live` sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from pixyz_ray.cluster.liveness import SUPERVISOR, Liveness
from tests.waiting import wait_until


@pytest.fixture
def supervisor() -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a supervisor."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "pixyz_ray.cluster.supervisor"])
    wait_until(lambda: "pixyz_ray.cluster.supervisor" in psutil.Process(process.pid).cmdline(), "it runs")
    yield process
    process.kill()
    process.wait(5)


def test_given_no_supervisor_on_this_machine_when_asked_then_there_is_no_problem() -> None:
    """Given a node that was started with `ray start`, when asked, then nothing is checked."""
    assert Liveness({}).problem() is None


@pytest.mark.parametrize("is_reaped", [False, True])
def test_given_a_supervisor_when_it_dies_then_that_is_a_problem(
    supervisor: subprocess.Popen[bytes], is_reaped: bool
) -> None:
    """Given a living supervisor, when it has died, as a zombie too, then a sentence says what to do."""
    liveness = Liveness({SUPERVISOR: str(supervisor.pid)})
    assert liveness.problem() is None
    supervisor.kill()
    if is_reaped:
        supervisor.wait(5)
    else:
        wait_until(lambda: psutil.Process(supervisor.pid).status() == psutil.STATUS_ZOMBIE, "it is a zombie")
    assert "pixyz up" in (liveness.problem() or "")


def test_given_a_number_that_a_stranger_has_now_when_asked_then_the_supervisor_counts_as_dead() -> None:
    """Given the process id of another program, when asked, then it is not taken for the supervisor."""
    with subprocess.Popen(["sleep", "60"]) as stranger:
        assert Liveness({SUPERVISOR: str(stranger.pid)}).problem() is not None
        stranger.kill()


def test_given_a_frozen_supervisor_when_the_raylet_is_there_then_no_problem_else_one(
    supervisor: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a stopped supervisor, when this process loses its parent (the raylet), then nobody restarts it."""
    liveness = Liveness({SUPERVISOR: str(supervisor.pid)})
    supervisor.send_signal(signal.SIGSTOP)
    wait_until(lambda: psutil.Process(supervisor.pid).status() == psutil.STATUS_STOPPED, "it is stopped")
    assert liveness.problem() is None
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert "kill -CONT" in (liveness.problem() or "")
    supervisor.send_signal(signal.SIGCONT)
    wait_until(lambda: liveness.problem() is None, "it goes on, and can restart the platform")
