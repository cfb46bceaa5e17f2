"""Take away what the platform stands on, in the middle of jobs: nothing is lost, nothing runs twice at a time."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.platforms import TestPlatform
from tests.postgres import need_sqlite
from tests.rest_client import TERMINAL, RestClient
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("recovery_script.py").read_text(encoding="utf-8")
MIB = 1 << 20
# Twice what the platform wants to have left.
DISK_BYTES = 128 * MIB
QUEUES = {"one": {"num_cpus": 0, "concurrency": 1}, "free": {"num_cpus": 0}}
LOCKED_S = 3.0
AWAY_S = 8.0
GONE_WITHIN_S = 5.0
BACK_WITHIN_S = 40.0
CROWD = 200

Submit = Callable[..., str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """One attempt, as its beats tell."""

    name: str
    attempt: int
    pid: int
    begin: float
    end: float


@dataclass(frozen=True)
class Book:
    """The beats of all attempts."""

    path: Path
    """The file."""

    def lives(self, *beginnings: str) -> list[Life]:
        """Return the attempts in the order in which they began; only those whose name begins so, if any is given."""
        found: dict[tuple[str, int, int], list[float]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            beat = json.loads(line)
            found.setdefault((beat["name"], beat["attempt"], beat["pid"]), []).append(beat["time"])
        lives = [
            Life(name=name, attempt=attempt, pid=pid, begin=times[0], end=times[-1])
            for (name, attempt, pid), times in found.items()
            if not beginnings or name.startswith(beginnings)
        ]
        return sorted(lives, key=lambda life: life.begin)

    def overlaps(self, *beginnings: str) -> list[tuple[Life, Life]]:
        """Return the attempts of these that lived at the same time."""
        lives = self.lives(*beginnings)
        return [(one, two) for n, one in enumerate(lives) for two in lives[n + 1 :] if two.begin < one.end]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk for the share; a plain folder where none may be mounted."""
    folder = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def platform(disk: Path) -> Iterator[TestPlatform]:
    """A platform of two CPUs on that disk, to be hurt."""
    platform = TestPlatform(
        CONCURRENT_TASKS="2",
        SHARE_PATH=str(disk / "share"),
        PIXYZ_QUEUES=json.dumps(QUEUES),
        PIXYZ_POOLS='{"seat": 1}',
    )
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """An empty book."""
    return Book(tmp_path / "book")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """What gated jobs wait for; it is there at the test's end at the latest."""
    path = tmp_path / "gate"
    yield path
    path.touch()


@pytest.fixture
def form(book: Book, gate: Path) -> Callable[..., dict[str, Any]]:
    """A function that returns the form of a job; what else is given is its config."""

    def form(entrypoint: str, name: str, **config: Any) -> dict[str, Any]:
        params = {"book": str(book.path), "gate": str(gate), "name": name, "bytes": 2 * DISK_BYTES}
        return {"script": SCRIPT, "params": params, "name": name, "config": {"entrypoint": entrypoint, **config}}

    return form


@pytest.fixture
def submit(rest: RestClient, form: Callable[..., dict[str, Any]]) -> Submit:
    """A function that submits such a job."""
    return lambda *names, **config: rest.submit(**form(*names, **config))


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the lock of the job store, as another program could."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def away(share: Path) -> Iterator[None]:
    """Take the share away, as a mount that fails would."""
    elsewhere = share.with_name("elsewhere")
    share.rename(elsewhere)
    try:
        yield
    finally:
        if share.exists():
            # Nobody may have made another one in its place.
            made = sorted(map(str, share.rglob("*")))
            shutil.rmtree(share)
            elsewhere.rename(share)
            pytest.fail(f"a share was made where none was: {made}")
        elsewhere.rename(share)


def is_refused(answer: httpx.Response, *codes: int) -> bool:
    """Return whether an answer is an error of the contract with one of these codes, which tells when to try again."""
    if answer.status_code == 200:
        return False
    assert answer.status_code in codes, answer.text
    detail = answer.json()["detail"]
    assert detail["code"] == answer.status_code
    assert detail["details"]
    assert int(answer.headers["Retry-After"]) >= 1
    return True


def is_back(rest: RestClient) -> bool:
    """Return whether the platform takes jobs."""
    try:
        return rest.http.get("/health").json().get("ready") is True
    except (httpx.TransportError, ValueError):
        return False


def kill_tracker(platform: TestPlatform, rest: RestClient) -> float:
    """Kill the tracker, and return when that was, once there is another."""
    at = time.time()
    platform.kill("ray::Tracker")
    wait_until(lambda: is_back(rest), "the tracker is back", deadline_s=BACK_WITHIN_S)
    return at


def all_well(rest: RestClient, uuids: list[str], deadline_s: float = 60.0) -> list[dict[str, Any]]:
    """Return the details of jobs that must end well."""
    details = [rest.end(uuid, deadline_s) for uuid in uuids]
    assert not [(one["name"], one["error"], one["attempts"]) for one in details if one["status"] != "SUCCESS"]
    return details


# --- The store, the share, the disk ----------------------------------------------------------------------------------


def test_given_jobs_when_the_database_is_locked_for_a_while_then_none_is_lost_and_all_goes_on(
    platform: TestPlatform, rest: RestClient, form: Callable[..., dict[str, Any]], submit: Submit, gate: Path
) -> None:
    """Given running and waiting jobs, when nothing can be written for 3 s, then callers are answered, jobs go on."""
    need_sqlite()
    running = [submit("gated", f"running {n}") for n in range(2)]
    for uuid in running:
        rest.wait_for(uuid, "RUNNING")
    waiting = [submit("main", f"waiting {n}", queue="one") for n in range(3)]
    answers: list[httpx.Response] = []

    def send() -> None:
        with platform.client() as client:
            answers.extend(client.post(**form("main", f"during {n}")) for n in range(3))

    with locked(platform.home / "jobs.db"):
        sender = threading.Thread(target=send)
        sender.start()
        gate.touch()
        until = time.monotonic() + LOCKED_S
        while time.monotonic() < until:
            asked = time.monotonic()
            rest.state(running[0])
            assert time.monotonic() - asked < LOCKED_S, "a question waits for the database"
            time.sleep(0.1)
    sender.join(30)
    assert len(answers) == 3
    accepted = [answer.json()["uuid"] for answer in answers if not is_refused(answer, 503)]
    all_well(rest, [*running, *waiting, *accepted, submit("main", "afterwards")])
    jobs = rest.get("/jobs", params={"limit": 1000})["jobs"]
    assert {job["status"] for job in jobs if job["label"].startswith("during")} <= {"SUCCESS"}


def test_given_jobs_when_the_share_is_gone_for_a_while_then_they_go_on_when_it_is_back(
    platform: TestPlatform,
    rest: RestClient,
    disk: Path,
    form: Callable[..., dict[str, Any]],
    submit: Submit,
    gate: Path,
) -> None:
    """Given one that runs and two that wait, when the share is away for 8 s, then all end well, and 503 meanwhile."""
    running = submit("gated", "running", queue="one")
    rest.wait_for(running, "RUNNING")
    waiting = [submit("main", f"waiting {n}", queue="one") for n in range(2)]
    with away(disk / "share"):
        until = time.monotonic() + AWAY_S
        while time.monotonic() < until:
            assert is_refused(rest.post(**form("main", "during")), 503)
            assert is_refused(rest.post(**form("main", "during"), file=("part.bin", b"...")), 503)
            assert rest.state(running)["status"] in {"RUNNING", "RETRY", "PENDING", "SUCCESS"}
            health = rest.http.get("/health")
            assert (health.status_code, health.json()["checks"]["tracker"]) == (503, "ok")
            assert "SHARE_PATH" in health.json()["checks"]["share"]
            if time.monotonic() > until - AWAY_S / 2:
                gate.touch()
            time.sleep(0.5)
    for details in all_well(rest, [running, *waiting, submit("main", "afterwards")]):
        assert {one["failure"] for one in details["attempts"]} <= {"node_lost", None}, details
    assert is_back(rest)
    during = [job for job in rest.get("/jobs", params={"limit": 1000})["jobs"] if job["name"] == "during"]
    assert not [job for job in during if job["status"] not in TERMINAL]


def test_given_a_full_disk_when_jobs_come_and_run_then_they_are_told_and_there_is_no_harm_afterwards(
    rest: RestClient, disk: Path, form: Callable[..., dict[str, Any]], submit: Submit
) -> None:
    """Given a share without any room, when a job is sent, then 503; when one fills it, then its error says so."""
    if not disk.is_mount():
        pytest.skip("a small disk cannot be mounted here: that is root's to do")
    details = rest.end(submit("fills", "fills"), 60)
    assert details["status"] == "FAILURE"
    assert "No space left on device" in details["error"]
    assert {one["failure"] for one in details["attempts"]} <= {"user_error", "internal"}
    for left in (disk / "share" / details["uuid"]).glob("outputs*/*"):
        left.unlink()
    all_well(rest, [submit("main", "between")])
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    assert is_refused(rest.post(**form("main", "no room"), file=("part.bin", bytes(MIB))), 503)
    assert is_refused(rest.post(**form("main", "no room")), 503)
    assert "full" in rest.http.get("/health").json()["checks"]["share"]
    ballast.unlink()
    wait_until(lambda: is_back(rest), "it is ready again")
    all_well(rest, [submit("main", "afterwards")])
    jobs = rest.get("/jobs", params={"limit": 1000})["jobs"]
    assert {job["status"] for job in jobs if job["name"] == "no room"} <= TERMINAL


# --- Kills -----------------------------------------------------------------------------------------------------------


def test_given_jobs_in_line_when_the_tracker_is_killed_then_order_seats_and_pauses_are_as_before(
    platform: TestPlatform, rest: RestClient, book: Book, submit: Submit, gate: Path
) -> None:
    """Given holders of a place and of a seat, some in line, one that pauses, when it is killed, then none is lost."""
    holders = [
        submit("gated", "one holder", queue="one"),
        submit("gated", "seat holder", queue="free", pools=["seat"]),
    ]
    for uuid in holders:
        rest.wait_for(uuid, "RUNNING")
    pausing = submit("fails_thrice", "pausing", queue="free", retry_on=["user_error"], retries=3)
    line = [submit("main", f"one {n}", queue="one", priority=n) for n in (2, 8, 5)]
    line += [submit("main", f"seat {n}", queue="free", pools=["seat"]) for n in range(3)]
    wait_until(lambda: len(book.lives("pausing")) >= 2, "it pauses after its second attempt")
    wait_until(lambda: rest.state(pausing)["status"] == "RETRY", "its pause is written down")
    kill_tracker(platform, rest)
    gate.touch()
    details = all_well(rest, [*holders, pausing, *line])
    assert [[one["failure"] for one in job["attempts"]] for job in details[:2]] == [["node_lost", None]] * 2
    assert [one["failure"] for one in details[2]["attempts"]] == ["user_error"] * 3 + [None]
    assert all(len(job["attempts"]) == 1 for job in details[3:])
    # Who was cut short stands in line again, where its priority puts it; the others are as they were.
    assert [life.name for life in book.lives("one ") if life.name != "one holder"] == ["one 8", "one 5", "one 2"]
    assert [life.name for life in book.lives("seat") if life.name != "seat holder"] == ["seat 0", "seat 1", "seat 2"]
    assert [life.attempt for life in book.lives("pausing")] == [1, 2, 3, 4]
    assert not book.overlaps("one") + book.overlaps("seat")
    assert [pool["held"] for pool in rest.get("/queues")["pools"]] == [0]


def test_given_jobs_just_cancelled_when_the_tracker_is_killed_then_they_stay_so_and_nothing_of_them_runs(
    platform: TestPlatform, rest: RestClient, book: Book, submit: Submit
) -> None:
    """Given a running and a waiting job, when both are cancelled and the tracker dies at once, then REVOKED it is."""
    running = submit("stubborn", "running", queue="one")
    rest.wait_for(running, "RUNNING")
    waiting = submit("main", "waiting", queue="one")
    wait_until(book.lives, "it has begun")
    (life,) = book.lives()
    for uuid in (waiting, running):
        assert rest.http.post(f"/jobs/{uuid}/cancel").json()["status"] == "REVOKED"
    platform.kill("ray::Tracker")
    wait_until(lambda: not lives(life), "its process is gone", deadline_s=GONE_WITHIN_S)
    wait_until(lambda: is_back(rest), "the tracker is back", deadline_s=BACK_WITHIN_S)
    all_well(rest, [submit("main", "afterwards", queue="one")])
    for uuid in (waiting, running):
        assert rest.state(uuid)["status"] == "REVOKED"
    assert [attempt["failure"] for attempt in rest.details(running)["attempts"]] == ["cancelled"]
    assert [one.name for one in book.lives()] == ["running", "afterwards"]


def test_given_a_job_that_blocks_signals_when_the_tracker_is_killed_then_its_attempts_do_not_overlap(
    platform: TestPlatform, rest: RestClient, book: Book, submit: Submit, gate: Path
) -> None:
    """Given a script deaf to SIGTERM on a seat, when its tracker dies, then it goes, and only then anything begins."""
    uuid = submit("stubborn", "stubborn", queue="free", pools=["seat"])
    rest.wait_for(uuid, "RUNNING")
    other = submit("main", "other", queue="free", pools=["seat"])
    wait_until(book.lives, "it has begun")
    (life,) = book.lives()
    platform.kill("ray::Tracker")
    wait_until(lambda: not lives(life), "its process is gone", deadline_s=GONE_WITHIN_S)
    wait_until(lambda: is_back(rest), "the tracker is back", deadline_s=BACK_WITHIN_S)
    wait_until(lambda: len(book.lives("stubborn")) == 2, "it runs again", deadline_s=30)
    gate.touch()
    all_well(rest, [uuid, other])
    assert not book.overlaps()


def test_given_a_crowd_in_line_when_everything_is_killed_then_the_next_start_runs_each_once(
    platform: TestPlatform, rest: RestClient, book: Book, submit: Submit, gate: Path
) -> None:
    """Given two hundred jobs that wait, when all processes die at once, then all end, and none has begun twice."""
    running = [submit("gated", f"running {n}") for n in range(2)]
    for uuid in running:
        rest.wait_for(uuid, "RUNNING")
    crowd = [submit("main", f"crowd {n}") for n in range(CROWD)]
    platform.kill_everything()
    platform.up()
    gate.touch()
    all_well(rest, [*running, *crowd], deadline_s=90)
    begun = [life.name for life in book.lives("crowd")]
    assert len(begun) == len(set(begun)) == CROWD
    assert len(book.lives("running")) == 4
    assert not book.overlaps("running 0") + book.overlaps("running 1")


def lives(life: Life) -> bool:
    """Return whether a process is still there."""
    try:
        return psutil.Process(life.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
