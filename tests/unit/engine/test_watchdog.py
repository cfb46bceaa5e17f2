"""What a worker and its watchdog do with an attempt that ends by itself, and how they measure it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pixyz_ray.watchdog.death import exit_of
from pixyz_ray.watchdog.log_file import trim
from pixyz_ray.watchdog.page import UNBOUNDED, Page
from pixyz_ray.watchdog.process_tree import descendants, read_process
from tests.waiting import wait_until
from tests.watched_workers import Start, Tracker

MIB = 1 << 20


def test_given_an_attempt_when_it_ends_then_its_usage_is_known_and_nobody_must_leave(start: Start) -> None:
    """A short one, which the watchdog never saw, with a child that is counted nevertheless."""
    worker = start("""
begin()
subprocess.run([sys.executable, "-c", "x = bytearray(150 << 20)"])
until = time.process_time() + 0.05
while time.process_time() < until: pass
end()
begin(2); end()
""")
    worker.process.wait(20)
    first, second = (each for each in worker.said() if "left" in each)
    assert first["left"] == 0
    assert not first["must_leave"]
    assert first["peak_rss"] > 150 * MIB
    assert first["cpu_time"] > 0.06
    assert 5 * MIB < second["peak_uss"] < second["peak_rss"] < 100 * MIB
    assert second["cpu_time"] < 0.05


def test_given_a_large_allocation_when_given_back_then_the_peak_is_that_of_its_attempt_alone(start: Start) -> None:
    """The next attempt of the same worker begins afresh."""
    worker = start("begin(); x = bytearray(200 << 20); del x; end(); begin(2); end()")
    worker.process.wait(20)
    first, second = (each for each in worker.said() if "left" in each)
    assert first["peak_rss"] > 200 * MIB
    assert first["peak_uss"] > 200 * MIB
    assert second["peak_rss"] < 100 * MIB


def test_given_child_processes_when_they_hold_memory_then_the_peak_counts_them_together(
    start: Start, tracker: Tracker
) -> None:
    """The tracker hears the figures while they change."""
    worker = start("""
begin()
children = [kids("x = bytearray(80 << 20); print(flush=True); input()", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for _ in range(2)]
for child in children: child.stdout.readline()
while not os.path.exists("enough"): time.sleep(0.01)
for child in children: child.communicate(b"\\n")
end()
""")
    wait_until(lambda: any(about["uss"] > 160 * MIB for _, about in tracker.find("usage")), "the usage is told")
    (worker.folder / "enough").touch()
    report = worker.report()
    assert report["peak_rss"] > 160 * MIB
    assert report["peak_uss"] > 160 * MIB
    assert report["left"] == 0


LEFT = {
    "child": ("child = kids('import time; time.sleep(60)')", 1),
    "stubborn": (
        "child = kids('import signal, time; signal.signal(15, 1); print(flush=True); time.sleep(60)', stdout=-1)\n"
        "child.stdout.readline()",
        1,
    ),
    "stopped": ("child = kids('import time; time.sleep(60)'); os.kill(child.pid, signal.SIGSTOP)", 1),
    "daemon": ("subprocess.run(['setsid', 'sh', '-c', 'sleep 60 >/dev/null & sleep 61 >/dev/null &'], env={})", 2),
    "thread's child": (
        "import threading\nthread = threading.Thread(target=lambda: kids('import time; time.sleep(60)'))\n"
        "thread.start(); thread.join()",
        1,
    ),
    "dead": ("child = kids(''); os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)", 0),
}


@pytest.mark.parametrize("name", LEFT)
def test_given_processes_left_running_when_the_attempt_ends_then_they_are_ended(start: Start, name: str) -> None:
    """Whatever they did to get away; the next attempt finds nothing."""
    code, count = LEFT[name]
    worker = start(f"begin()\n{code}\nend(); begin(2); end(); input() if 0 else time.sleep(60)")
    wait_until(lambda: len([each for each in worker.said() if "left" in each]) == 2, "both have ended")
    assert [each["left"] for each in worker.said() if "left" in each] == [count, 0]
    assert descendants(worker.process.pid) == []


def test_given_the_helper_of_multiprocessing_when_left_then_the_next_script_gets_another_without_a_warning(
    start: Start,
) -> None:
    """It is no leftover of the script's."""
    worker = start("""
import warnings; warnings.simplefilter("error")
from multiprocessing.shared_memory import SharedMemory
for number in (1, 2):
    begin(number)
    memory = SharedMemory(create=True, size=100); memory.close(); memory.unlink()
    end()
""")
    assert worker.process.wait(20) == 0
    assert [each["left"] for each in worker.said() if "left" in each] == [0, 0]


def test_given_a_bomb_of_forks_left_when_the_attempt_ends_then_nothing_is_left(start: Start) -> None:
    """Each of its processes starts again what dies below it."""
    worker = start(FORKS + "begin(); bomb(5); time.sleep(0.3); end(); time.sleep(60)")
    report = worker.report()
    assert report["left"] > 30
    assert not report["must_leave"]
    assert descendants(worker.process.pid) == []


FORKS = """
def bomb(depth):
    # Bounded: two below each, five deep; but each comes back.
    if os.fork():
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if depth % 2:
        os.setsid()
    os.environ.clear()
    while True:
        if depth:
            bomb(depth - 1); bomb(depth - 1)
            os.wait()
        else:
            time.sleep(60)
"""


def test_given_a_worker_that_dies_idle_when_gone_then_its_watchdog_leaves(start: Start, tracker: Tracker) -> None:
    """There is nothing to tell."""
    worker = start("begin(); end(); time.sleep(60)")
    worker.hear("must_leave")
    assert worker.watchdog()
    worker.process.kill()
    worker.wait_until_gone()
    assert tracker.told == []


def test_given_a_watchdog_that_was_killed_when_the_next_attempt_begins_then_there_is_another(start: Start) -> None:
    """It is no child of the worker's, nor taken for something that a script has left."""
    worker = start("""
begin(); end()
while not os.path.exists("killed"): time.sleep(0.01)
begin(2); end(); say(over=1); time.sleep(60)
""")
    worker.hear("must_leave")
    first = worker.watchdog()
    assert first
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: read_process(first) is None, "it is dead")
    (worker.folder / "killed").touch()
    worker.hear("over")
    assert worker.watchdog() not in (None, first)
    assert descendants(worker.process.pid) == []


def test_given_a_flood_in_the_log_when_it_runs_then_the_log_is_cut_to_its_beginning(start: Start) -> None:
    """What comes last is there, and a line says that something is missing."""
    worker = start("""
begin(max_log_bytes=2 << 20)
os.write(1, b"first\\n")
for _ in range(300):
    os.write(1, b"x" * (1 << 20)); time.sleep(0.001)
end()
# The watchdog may be about to write its line, having cut the log just before the end.
while b"left out here" not in open("job.log", "rb").read(): time.sleep(0.01)
os.write(1, b"last\\n")
""")
    log = worker.folder / "job.log"
    worker.process.wait(20)
    text = log.read_bytes()
    assert len(text) <= 2 * MIB + 100
    assert text.startswith(b"first\n")
    assert text.endswith(b"last\n")
    assert text.count(b"bytes left out here") == 1


def test_given_a_log_when_it_is_within_its_bounds_or_not_there_then_it_is_left_alone(tmp_path: Path) -> None:
    """Small bounds keep half of what they allow."""
    log = tmp_path / "log"
    assert not trim(str(log), 10)
    log.write_bytes(b"0123456789")
    assert not trim(str(log), 10)
    assert trim(str(log), 8)
    assert log.read_text() == "0123\n--- the log was longer than 8 bytes: 6 bytes left out here ---\n"


def test_given_an_attempt_when_written_to_the_page_then_the_watchdog_reads_the_same() -> None:
    """Idle, there is nothing to read; a path that is too long is none."""
    page = Page.make()
    other = Page(page.descriptor)
    assert other.order() is None
    page.write_endpoint(("10.0.0.1", 4711, "abc"))
    page.write_order(3, 1 << 40, UNBOUNDED, 5, 6, 7, b"job", "/lög".encode())
    page.serial += 1
    order = other.order()
    assert order is not None
    assert (order.serial, order.uuid, order.attempt, order.memory_limit) == (1, "job", 3, 1 << 40)
    assert order.gpu_limit == UNBOUNDED
    assert (order.log, order.max_log_bytes, order.endpoint) == ("/lög", 5, ("10.0.0.1", 4711, "abc"))
    page.write_endpoint(None)
    page.write_order(3, 0, 0, 5, 6, 7, b"job", b"/" * 2000)
    order = other.order()
    assert order is not None
    assert (order.log, order.endpoint) == ("", None)
    page.serial += 1
    assert other.order() is None
    os.close(page.descriptor)


def test_given_a_kernel_that_tells_nothing_when_a_worker_is_dead_then_marker_and_log_tell_how() -> None:
    """Without either it was killed."""
    gone = (1 << 22) + 1
    cases = [
        (None, b"", (9, None)),
        (7, b"Fatal Python error: Segmentation fault\n", (None, 7)),
        (None, b"...\nFatal Python error: Segmentation fault\n\nThread", (11, None)),
        (None, b"Fatal Python error: Segmentation fault\nFatal Python error: Aborted\n", (6, None)),
        (None, b"Fatal Python error: Bus error\n", (7, None)),
    ]
    for marker, log, expected in cases:
        assert exit_of(gone, -1, marker, log) == expected


def test_given_a_kernel_without_lists_of_children_when_asked_for_descendants_then_they_are_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are found by their parents' numbers."""
    worker = start("begin(); subprocess.Popen(['sh', '-c', 'sleep 60 & sleep 61 & wait']); time.sleep(60)")
    wait_until(lambda: len(descendants(worker.process.pid)) == 3, "all three are there")
    quick = {process.key for process in descendants(worker.process.pid)}
    monkeypatch.setattr("pixyz_ray.watchdog.process_tree._HAS_CHILDREN", False)
    assert {process.key for process in descendants(worker.process.pid)} == quick
