"""Kill and freeze Ray's own processes, Serve's, the driver and the supervisor: the platform comes back by itself.

Each test has a platform of its own, since restarts in a row are counted.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from pixyz_ray.cluster.environment import ray_folder
from pixyz_ray.home import read_platform
from pixyz_ray.reaper import marked
from pixyz_ray.run_record import read_record
from pixyz_ray.store import JobStore
from tests.integration.conftest import CPUS
from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

BACK_WITHIN_S = 30.0
SUPERVISOR_FROZEN_S = 15.0

# Each attempt writes when it began and ended, so that two at the same time are seen.
SCRIPT = """
import os, time
from pathlib import Path

def note(params, what, pc):
    with open(params["book"], "a") as book:
        book.write(f"{params['n']} {pc['retry'] + 1} {os.getpid()} {what} {time.time()}\\n")

def main(pc, params):
    note(params, "begin", pc)
    deadline = time.monotonic() + 180
    while not Path(params["gate"]).exists():
        note(params, "alive", pc)
        if time.monotonic() > deadline:
            raise TimeoutError("nobody opened the gate")
        time.sleep(0.05)
    note(params, "end", pc)
    return {"n": params["n"]}
"""


@dataclass
class Life:
    """One attempt, as its script wrote it down."""

    job: int
    attempt: int
    begin: float
    last: float
    ended: bool = False


class Jobs:
    """Running and waiting jobs, and those that a client goes on sending.

    Args:
        platform: where they are sent.
        folder: for the gate that lets them end, and the book of their attempts.
    """

    def __init__(self, platform: TestPlatform, folder: Path) -> None:
        self._platform = platform
        self._gate = folder / "gate"
        self._book = folder / "book"
        self._numbers = iter(range(1000))
        self._over = threading.Event()
        self._sender = threading.Thread(target=self._send, daemon=True)
        self.sent: dict[str, int] = {}
        self.running: list[str] = []

    def start(self) -> None:
        """Send as many as run at a time, and some that wait."""
        with self._platform.client() as rest:
            self.running = [self._submit(rest) for _ in range(CPUS)]
            for uuid in self.running:
                rest.wait_for(uuid, "RUNNING")
            for _ in range(3):
                self._submit(rest)
        wait_until(lambda: len(self.lives()) >= CPUS, "the scripts have begun")
        # The tracker writes a start a little later; one that is lost with it is not among the attempts.
        with closing(JobStore(f"sqlite:///{self._platform.home}/jobs.db")) as store:
            wait_until(lambda: all(_start_is_written(store, uuid) for uuid in self.running), "their starts are written")

    def keep_sending(self) -> None:
        """Send more from now on, a few each second, as long as `check` has not begun."""
        self._sender.start()

    def check(self, *, ran_again: bool) -> None:
        """Let them end, and check that each has ended well, once, and without two attempts at the same time."""
        self._over.set()
        if self._sender.ident is not None:
            self._sender.join(30)
        self._gate.touch()
        with self._platform.client() as rest:
            for uuid, number in self.sent.items():
                details = rest.end(uuid, deadline_s=60)
                assert (details["status"], details["result"]) == ("SUCCESS", {"n": number}), details
                failures = [attempt["failure"] for attempt in details["attempts"]]
                assert failures[-1] is None and set(failures[:-1]) <= {"node_lost"}, details
                if uuid in self.running:
                    assert len(failures) == (2 if ran_again else 1), details
        for number in self.sent.values():
            lives = self.lives(number)
            assert [life.ended for life in lives] == [False] * (len(lives) - 1) + [True], lives
            for earlier, later in itertools.pairwise(lives):
                assert earlier.last < later.begin, lives

    def lives(self, number: int | None = None) -> list[Life]:
        """Return the attempts of one job, or of all, in the order in which they began."""
        lives: dict[tuple[int, int, int], Life] = {}
        text = self._book.read_text() if self._book.exists() else ""
        for line in text.splitlines():
            job, attempt, pid, what, at = line.split()
            key = (int(job), int(attempt), int(pid))
            life = lives.setdefault(key, Life(key[0], key[1], float(at), float(at)))
            life.last = float(at)
            life.ended |= what == "end"
        return [life for life in lives.values() if number in (None, life.job)]

    def _submit(self, rest: RestClient) -> str:
        number = next(self._numbers)
        answer = rest.post(SCRIPT, params={"gate": str(self._gate), "book": str(self._book), "n": number})
        if answer.status_code != 200:
            raise httpx.TransportError(answer.text)
        uuid = str(answer.json()["uuid"])
        self.sent[uuid] = number
        return uuid

    def _send(self) -> None:
        with self._platform.client(timeout_s=2.0) as rest:
            while not self._over.wait(0.5):
                try:
                    self._submit(rest)
                except httpx.TransportError:
                    continue


@pytest.fixture
def platform() -> Iterator[TestPlatform]:
    """A platform of two CPUs for one test."""
    platform = TestPlatform(CONCURRENT_TASKS=str(CPUS))
    try:
        platform.up()
        yield platform
    finally:
        record = read_platform(platform.home)
        if record is not None:
            platform.sessions.append(record.session)
        platform.close()


@pytest.fixture
def jobs(platform: TestPlatform, tmp_path: Path) -> Iterator[Jobs]:
    """Jobs that run and that wait."""
    jobs = Jobs(platform, tmp_path)
    jobs.start()
    yield jobs
    jobs._over.set()


def _start_is_written(store: JobStore, uuid: str) -> bool:
    job = store.get(uuid)
    return job is not None and bool(job.attempts) and job.attempts[-1].started is not None


def _find(platform: TestPlatform, name: str) -> psutil.Process:
    """Return the process with that program name, or whose command line has that in it."""

    def found() -> psutil.Process | None:
        for process in marked(platform.record.session):
            try:
                if process.name() == name or name in " ".join(process.cmdline()):
                    return process
            except psutil.Error:
                continue
        return None

    return wait_until(found, f"there is a process {name!r}")


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _is_ready(platform: TestPlatform) -> bool:
    try:
        # A connection of its own each time: one to a frozen process would wait with it.
        return httpx.get(f"{platform.url}/health", timeout=1.0).json().get("ready") is True
    except (httpx.TransportError, ValueError):
        return False


def _strike(platform: TestPlatform, victim: psutil.Process, number: int, is_back: Callable[[], bool]) -> float:
    """Send a signal; return after how many seconds the platform was back."""
    began = time.monotonic()
    os.kill(victim.pid, number)
    wait_until(
        lambda: _is_gone(victim) and is_back() and _is_ready(platform), "it is back", deadline_s=90.0, every_s=0.1
    )
    return time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_given_jobs_when_a_process_of_ray_dies_or_freezes_then_everything_is_restarted(
    platform: TestPlatform, jobs: Jobs, name: str, number: int
) -> None:
    """Given running, waiting and arriving jobs, when raylet or GCS goes, then all end well and none runs twice."""
    before = platform.record
    victim = _find(platform, name)
    jobs.keep_sending()
    after_s = _strike(platform, victim, number, lambda: platform.record.session != before.session)
    jobs.check(ran_again=True)
    assert after_s < BACK_WITHIN_S
    now = platform.record
    assert (now.url, now.token, now.pid) == (before.url, before.token, before.pid)
    assert not list(marked(before.session))
    assert "1 of 3" in platform.supervisor_log()


def test_given_jobs_when_the_driver_is_killed_then_everything_is_restarted(platform: TestPlatform, jobs: Jobs) -> None:
    """Given running and waiting jobs, when the driver is killed, then it is replaced with all that it had started."""
    before = platform.record
    victim = _find(platform, "pixyz_ray.cluster.driver")
    after_s = _strike(platform, victim, signal.SIGKILL, lambda: platform.record.session != before.session)
    jobs.check(ran_again=True)
    assert after_s < BACK_WITHIN_S


def test_given_jobs_when_the_supervisor_is_killed_then_another_one_takes_its_place(
    platform: TestPlatform, jobs: Jobs
) -> None:
    """Given a detached platform, when its supervisor is killed, then another starts by itself, and one alone."""
    before = platform.record
    victim = psutil.Process(before.pid)
    after_s = _strike(platform, victim, signal.SIGKILL, lambda: platform.record.session != before.session)
    assert platform.record.pid != before.pid
    jobs.check(ran_again=True)
    assert after_s < BACK_WITHIN_S
    refused = platform.cli("up", "--detach", "--port", str(platform.port))
    assert refused.returncode != 0 and "is up already" in refused.stderr


def test_given_a_frozen_supervisor_when_it_goes_on_then_nothing_was_hurt(platform: TestPlatform, jobs: Jobs) -> None:
    """Given running jobs, when the supervisor is frozen for a while, then they go on, also after its end."""
    before = platform.record
    os.kill(before.pid, signal.SIGSTOP)
    until = time.monotonic() + SUPERVISOR_FROZEN_S
    try:
        # Time must pass here: nothing is to happen meanwhile.
        wait_until(lambda: time.monotonic() > until, "it was frozen long enough", every_s=0.5)
        assert _is_ready(platform)
        assert httpx.get(f"{platform.url}/health/live").status_code == 200
    finally:
        os.kill(before.pid, signal.SIGCONT)
    jobs.check(ran_again=False)
    assert platform.record.session == before.session


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("title", ["ray::ServeController", "ray::ServeReplica", "ray::TrackerActor"])
def test_given_jobs_when_a_process_that_ray_replaces_dies_or_freezes_then_it_alone_is_replaced(
    platform: TestPlatform, jobs: Jobs, title: str, number: int
) -> None:
    """Given running jobs, when a part of Serve or the tracker goes, then there is no restart, and all end well."""
    before = platform.record
    victim = _find(platform, title)

    def is_replaced() -> bool:
        return _find(platform, title).pid != victim.pid

    after_s = _strike(platform, victim, number, is_replaced)
    jobs.check(ran_again=title == "ray::TrackerActor")
    assert after_s < BACK_WITHIN_S
    assert platform.record.session == before.session


def test_given_a_platform_that_is_restarted_when_it_is_stopped_then_nothing_is_left(platform: TestPlatform) -> None:
    """Given a killed supervisor, or a restart in progress, when `pixyz down` comes, then no process is left."""
    for find in (lambda: psutil.Process(platform.record.pid), lambda: _find(platform, "raylet")):
        victim = find()
        sessions = {platform.record.session}
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(lambda victim=victim: _is_gone(victim), "it has died")
        platform.down()
        wait_until(lambda sessions=sessions: not _ours(platform, sessions), "no process is left")
        assert read_platform(platform.home) is None
        platform.up()


def test_given_restarts_that_fail_when_three_have_then_the_supervisor_gives_up(platform: TestPlatform) -> None:
    """Given a driver that dies again and again, when three restarts were short, then exit and a reason on disk."""
    supervisor = psutil.Process(platform.record.pid)
    for _ in range(4):
        session = platform.record.session
        wait_until(lambda: _status(platform) == "up", "it is up", deadline_s=90)
        os.kill(_find(platform, "pixyz_ray.cluster.driver").pid, signal.SIGKILL)
        wait_until(
            lambda session=session: _status(platform) == "failed" or platform.record.session != session,
            "it is restarted, or the supervisor has given up",
            deadline_s=30,
        )
    wait_until(lambda: _is_gone(supervisor), "the supervisor has ended")
    record = read_record(platform.home)
    assert record is not None and "3 restarts in a row have failed" in record.message
    assert str(ray_folder(platform.home)) in record.message
    assert not _ours(platform, set(platform.sessions))


def test_given_a_platform_in_the_foreground_when_its_supervisor_is_killed_then_it_ends_with_it(
    tmp_path: Path,
) -> None:
    """Given `pixyz up` under a process manager, when it is killed, then all processes end: the manager acts."""
    platform = TestPlatform(CONCURRENT_TASKS=str(CPUS))
    command = [sys.executable, "-c", "from pixyz_ray.cli import main; main()", "up", "--port", str(platform.port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=platform.env, cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_until(lambda: _status(platform) == "up", "it is up", deadline_s=90)
        sessions = {platform.record.session}
        process.kill()
        process.wait(5)
        wait_until(lambda: not _ours(platform, sessions), "all its processes have ended", deadline_s=20)
    finally:
        process.kill()
        process.wait(5)
        platform.close()


def _status(platform: TestPlatform) -> str | None:
    record = read_record(platform.home)
    return record.status if record else None


def _ours(platform: TestPlatform, sessions: set[str]) -> list[psutil.Process]:
    """Return the processes of a platform's runs and its supervisor, whichever that is now."""
    record = read_platform(platform.home)
    known = sessions | ({record.session} if record else set())
    left = [process for session in known for process in marked(session)]
    return [*left, psutil.Process(record.pid)] if record and psutil.pid_exists(record.pid) else left
