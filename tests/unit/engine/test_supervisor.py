"""The supervisor with drivers that fail: real processes, but no Ray."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixyz_ray.cluster.driver_order import Options
from pixyz_ray.cluster.supervisor import Pace, Supervisor
from pixyz_ray.home import read_platform
from pixyz_ray.reaper import marked
from pixyz_ray.run_record import read_record
from pixyz_ray.settings import Settings
from pixyz_ray.stop_request import StopRequest, write_stop_request
from pixyz_ray.supervisor_lock import AlreadyRunning, if_free, only_one
from pixyz_worker.exception import InternalError, PixyzSecurityViolation
from tests.small_disk import small_disk
from tests.waiting import wait_until

# The n-th start follows the n-th word of the plan; each is noted with its session. A script's child must not survive.
DRIVER = """
import json, os, signal, socket, subprocess, sys, time
line = socket.socket(fileno=int(sys.argv[2]))
sys.stdin.buffer.read()
with open(os.path.join(sys.argv[1], "starts"), "a+") as starts:
    starts.write(os.environ["PIXYZ_SESSION"] + chr(10))
    starts.seek(0)
    number = len(starts.readlines())
word = open(os.path.join(sys.argv[1], "plan")).read().split()[number - 1]
subprocess.Popen(["sleep", "60"])
if word == "fails":
    line.send(json.dumps({"kind": "failed", "error": "The disk is full."}).encode())
    sys.exit(1)
if word == "hangs":
    time.sleep(60)
up = {"kind": "up", "ray_address": "127.0.0.1:1", "raylet_address": "127.0.0.1:1", "owns_serve": word == "owns"}
if word == "listens":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
line.send(json.dumps(up).encode())
if word == "listens":
    heard = line.recv(1000)
    line.send(json.dumps({"kind": "note", "text": "waiting for 3 running jobs, 41 s left"}).encode())
    with open(os.path.join(sys.argv[1], "heard"), "wb") as file:
        file.write(heard)
    sys.exit()
if word in ("dies", "owns"):
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    line.send(json.dumps({"kind": "beat", "tracker_silent_s": 0.0}).encode())
    time.sleep(0.05)
"""
PACE = Pace(check_every_s=0.05, start_within_s=1.5, pause_s=0.0)


class Stage:
    """A supervisor in a thread, with drivers that follow a plan."""

    def __init__(self, folder: Path, address: str | None = None) -> None:
        self._folder = folder
        command = (sys.executable, "-c", DRIVER, str(folder))
        options = Options(address=address)
        self.supervisor = Supervisor(Settings(api_port=1), options, folder, pace=PACE, driver_command=command)
        self.error: InternalError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, *plan: str) -> None:
        """Begin."""
        (self._folder / "plan").write_text(" ".join(plan))
        self._thread.start()

    def end(self) -> str:
        """Wait for the end of the supervisor; return the message of its error, which is empty where it was stopped."""
        self._thread.join(20)
        assert not self._thread.is_alive()
        assert not self.processes
        return self.error.message if self.error else ""

    @property
    def starts(self) -> list[str]:
        """Marks of the drivers so far."""
        path = self._folder / "starts"
        return path.read_text().split() if path.exists() else []

    @property
    def processes(self) -> list[int]:
        """What is left of them."""
        return [process.pid for session in self.starts for process in marked(session)]

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except InternalError as error:
            self.error = error


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A supervisor that has not begun."""
    stage = Stage(tmp_path)
    yield stage
    stage.supervisor.stop()


def test_given_a_first_start_that_fails_when_tried_then_it_is_not_tried_again(stage: Stage) -> None:
    """Given a driver that cannot start, when it says why, then that is the supervisor's error, and nothing is left."""
    stage.start("fails")
    assert stage.end() == "The disk is full."
    assert len(stage.starts) == 1


def test_given_a_platform_that_was_up_when_three_restarts_fail_then_it_gives_up_with_a_reason(
    stage: Stage, tmp_path: Path
) -> None:
    """Given a driver that dies, when restarts die, hang and fail, then the third is the last, and the file says why."""
    stage.start("dies", "dies", "hangs", "fails")
    message = stage.end()
    assert len(set(stage.starts)) == 4
    assert message.startswith("The disk is full. 3 restarts in a row have failed")
    record = read_record(tmp_path)
    assert record is not None
    assert (record.status, record.message) == ("failed", message)


def test_given_a_driver_that_dies_when_it_is_replaced_then_address_and_token_stay_and_the_record_says_why(
    stage: Stage, tmp_path: Path
) -> None:
    """Given one death, when another driver runs, then clients find the same URL, and the mark is the new one's."""
    stage.start("dies", "hangs")
    wait_until(lambda: len(stage.starts) == 1 and read_platform(tmp_path), "it was up")
    before = read_platform(tmp_path)
    wait_until(lambda: len(stage.starts) == 2, "another driver has started")
    record, after = read_record(tmp_path), read_platform(tmp_path)
    assert record and before and after
    assert (record.status, record.message) == ("restarting", "restarting: the driver has died (1 of 3)")
    assert (after.url, after.token, after.pid) == (before.url, before.token, os.getpid())
    assert record.session == after.session == stage.starts[1]
    stage.supervisor.stop()
    assert stage.end() == ""


def test_given_a_full_disk_when_the_driver_dies_then_another_is_started_and_the_files_are_right() -> None:
    """Given a home on a disk without room, when the driver dies, then the platform comes back and `down` finds it."""
    with small_disk(1 << 20) as folder:
        stage = Stage(folder)
        stage.start("stays", "stays")
        wait_until(lambda: len(stage.processes) >= 2 and read_platform(folder), "it is up")
        wait_until(lambda: (record := read_record(folder)) and record.status == "up", "it says so")
        with (folder / "fill").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        first = stage.starts[0]
        for process in marked(first):
            process.kill()
        wait_until(lambda: len(stage.starts) == 2, "another driver has started")
        wait_until(lambda: (record := read_record(folder)) and record.status == "up", "it is up again")
        platform = read_platform(folder)
        assert platform is not None
        assert platform.session == stage.starts[1]
        stage.supervisor.stop()
        assert stage.end() == ""
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("word", ["hangs", "stays"])
def test_given_a_driver_that_starts_or_is_up_when_stopped_then_everything_ends(stage: Stage, word: str) -> None:
    """Given any moment, when told to stop, then no process is left."""
    stage.start(word)
    wait_until(lambda: len(stage.processes) >= 2, "the driver and its child run")
    stage.supervisor.stop()
    assert stage.end() == ""


def test_given_a_joined_cluster_when_its_driver_dies_then_another_joins_it(tmp_path: Path) -> None:
    """Given a cluster that was started elsewhere, when drivers die, then others follow; the last error names it."""
    stage = Stage(tmp_path, address="127.0.0.1:6379")
    stage.start("dies", "dies", "dies", "fails")
    assert "The Ray cluster at 127.0.0.1:6379 is not restarted from here." in stage.end()
    assert len(stage.starts) == 4


@pytest.mark.parametrize(("pid", "expected"), [(0, {}), (1, {"drain_s": 7.0, "leave": True})])
def test_stop_request_reaches_the_driver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pid: int, expected: dict[str, object]
) -> None:
    """Given a request to stop, when it is for this supervisor, then its driver gets it; else it stops at once."""
    stage = Stage(tmp_path, address="127.0.0.1:6379")
    stage.start("listens")
    wait_until(lambda: (record := read_record(tmp_path)) and record.status == "up", "it is up")
    write_stop_request(StopRequest(pid=os.getpid() if pid else 999_999_999, drain_s=7.0, leave=True), tmp_path)
    stage.supervisor.stop()
    assert stage.end() == ""
    heard = json.loads((tmp_path / "heard").read_text())
    assert heard == {"pid": os.getpid(), "drain_s": 0.0, "leave": False, "upgrade": False, **expected}
    assert "Waiting for 3 running jobs, 41 s left\n" in capsys.readouterr().out


def test_joined_platform_stays_on_record_when_its_supervisor_fails(tmp_path: Path) -> None:
    """Given a platform on a cluster, when its supervisor gives up, then the file that finds it there is kept."""
    stage = Stage(tmp_path, address="127.0.0.1:6379")
    stage.start("owns", "fails", "fails", "fails")
    stage.end()
    platform = read_platform(tmp_path)
    assert platform is not None
    assert (platform.cluster, platform.owns_serve) == ("127.0.0.1:1", True)


def test_given_a_lock_that_is_held_when_another_comes_then_it_is_refused_and_learns_the_owner(tmp_path: Path) -> None:
    """Given one owner, when others want the home, then `pixyz up` is refused, and `pixyz down` learns whom to end."""
    with only_one(tmp_path):
        with if_free(tmp_path) as owner:
            assert owner == os.getpid()
        with pytest.raises(AlreadyRunning), only_one(tmp_path):
            pytest.fail("two have it")
    with if_free(tmp_path) as owner:
        assert owner is None


def test_given_an_open_umask_when_the_lock_is_taken_then_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Given umask 022, when `pixyz down` is the first command in a home, then the lock's file is private."""
    before = os.umask(0o022)
    try:
        with if_free(tmp_path):
            assert (tmp_path / "supervisor.lock").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_given_a_file_as_home_when_it_is_locked_then_the_error_names_the_setting(tmp_path: Path) -> None:
    """Given PIXYZ_HOME that is a file, when a command needs the folder, then it is told what to correct."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="PIXYZ_HOME must name a folder"), if_free(tmp_path / "file"):
        pass


def test_given_a_home_of_another_user_when_it_is_locked_then_nothing_is_made_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a home that another user owns, when it is stopped or restored, then it is refused and no file is left."""
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(PixyzSecurityViolation, match="sudo -u"), if_free(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
