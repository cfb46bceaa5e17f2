"""What a watchdog does with an attempt that must end, or whose worker dies."""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.watched_workers import Start, Tracker, Worker

MIB = 1 << 20
GRACE_S = 0.3
SLACK_S = 3.0


STUBBORN = {
    "python loop": "while True: pass",
    "C loop with the interpreter's lock": "sum(range(10 ** 13))",
    "blocked signal": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); time.sleep(60)",
    "ignored signal": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
    "sleeping child in a session of its own": "subprocess.run(['setsid', 'sleep', '60'])",
    "stubborn daemons": "subprocess.run(['setsid', 'sh', '-c', 'trap \"\" TERM; sleep 60 & sleep 61 & wait'])",
    "frozen": "os.kill(os.getpid(), signal.SIGSTOP)",
}


@pytest.mark.parametrize("name", STUBBORN)
def test_given_an_attempt_that_does_not_end_when_told_to_stop_then_all_of_it_is_gone_in_time(
    start: Start, tracker: Tracker, name: str
) -> None:
    """Worker, children and watchdog."""
    worker = start(f"begin()\n{STUBBORN[name]}")
    tracker.stop(GRACE_S)
    told = time.monotonic()
    worker.wait_until_gone()
    assert time.monotonic() - told < GRACE_S + SLACK_S
    about = tracker.death()
    assert about["reason"] == "stopped"
    assert about["signal"] in (signal.SIGTERM, signal.SIGKILL)
    assert about["peak_rss"] > about["peak_uss"] > MIB
    assert not about["oom_killer"]


def test_given_an_attempt_that_asks_when_told_to_stop_then_it_ends_by_itself_and_the_worker_leaves(
    start: Start, tracker: Tracker
) -> None:
    """What it says with its exit code is told."""
    worker = start("""
signal.signal(signal.SIGTERM, lambda *_: say(signal=1))
begin()
while not is_stopping(): time.sleep(0.001)
end()
if guard().must_leave(): os._exit(3)
""")
    tracker.stop(10.0)
    assert worker.report()["must_leave"]
    worker.wait_until_gone()
    about = tracker.death()
    assert (about["reason"], about["signal"], about["exit_code"]) == ("stopped", None, 3)


def test_given_a_worker_that_is_to_leave_and_does_not_when_the_grace_is_over_then_it_is_killed(
    start: Start, tracker: Tracker
) -> None:
    """The attempt itself has ended."""
    worker = start(
        "signal.signal(signal.SIGTERM, lambda *_: None); begin()\nwhile not is_stopping(): pass\nend(); time.sleep(60)"
    )
    tracker.stop(GRACE_S)
    worker.wait_until_gone()
    assert tracker.death()["signal"] == signal.SIGKILL


def test_given_a_bomb_of_forks_when_told_to_stop_then_nothing_is_left(start: Start, tracker: Tracker) -> None:
    """Sessions of their own, no environment, signals ignored, and each starts again what dies below it."""
    worker = start("""
def bomb(depth):
    if os.fork():
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if depth % 2:
        os.setsid()
    while True:
        if depth:
            bomb(depth - 1); bomb(depth - 1)
            os.wait()
        else:
            time.sleep(60)
begin(); bomb(5); bomb(4); say(bombed=1); time.sleep(60)
""")
    worker.hear("bombed")
    wait_until(lambda: len(worker.processes()) > 60, "they are there")
    tracker.stop(0.1)
    worker.wait_until_gone()
    assert tracker.death()["reason"] == "stopped"


HOGS = {
    "worker": "hold = []\nwhile True: hold.append(bytearray(8 << 20)); time.sleep(0.002)",
    "children": """
children = [kids("x = bytearray(120 << 20); import time; time.sleep(60)") for _ in range(3)]
time.sleep(60)
""",
}


@pytest.mark.parametrize("name", HOGS)
def test_given_a_limit_of_memory_when_exceeded_then_the_tree_dies_at_once(
    start: Start, tracker: Tracker, name: str
) -> None:
    """It is said why."""
    worker = start(f"begin(memory_limit=250 << 20)\n{HOGS[name]}")
    worker.wait_until_gone()
    about = tracker.death()
    assert (about["reason"], about["signal"]) == ("memory", signal.SIGKILL)
    assert about["peak_uss"] > 250 * MIB


def test_given_forks_that_share_memory_when_their_sum_is_over_the_limit_then_they_live(
    start: Start, tracker: Tracker
) -> None:
    """A page that five processes share is one page."""
    worker = start("""
hold = bytearray(100 << 20)
begin(memory_limit=250 << 20)
children = []
for _ in range(4):
    if not (child := os.fork()):
        time.sleep(60)
    children.append(child)
say(forked=1)
while not os.path.exists("enough"): time.sleep(0.01)
end()
""")
    worker.hear("forked")
    wait_until(lambda: any(about["uss"] > 400 * MIB for _, about in tracker.find("usage")), "the usage is told")
    (worker.folder / "enough").touch()
    assert worker.report()["left"] == 4


DEATHS = {
    "segfault": ("import ctypes; ctypes.string_at(0)", signal.SIGSEGV, None),
    "abort": ("os.abort()", signal.SIGABRT, None),
    "exit": ("os._exit(7)", None, 7),
    "exit of the interpreter": ("sys.exit(4)", None, 4),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", signal.SIGKILL, None),
    "a child's exit, then a kill": (
        "os.fork() or os._exit(5)\nos.wait(); os.kill(os.getpid(), signal.SIGKILL)",
        signal.SIGKILL,
        None,
    ),
}


@pytest.mark.parametrize("name", DEATHS)
def test_given_a_worker_that_dies_when_an_attempt_runs_then_it_is_told_how(
    start: Start, tracker: Tracker, name: str
) -> None:
    """A child that it leaves, in a session of its own, dies after it, even if the watchdog never saw it."""
    code, number, exit_code = DEATHS[name]
    worker = start(f"begin(2); kids('import time; time.sleep(60)', start_new_session=True)\n{code}")
    about = tracker.death(2)
    worker.wait_until_gone()
    assert (about["signal"], about["exit_code"], about["reason"]) == (number, exit_code, None)
    assert about["left_running"] == 1
    assert not about["oom_killer"]


def test_given_a_tracker_that_dies_when_an_attempt_runs_then_the_attempt_ends(start: Start, tracker: Tracker) -> None:
    """Nobody would take what comes of it."""
    worker = start(
        "signal.signal(signal.SIGTERM, lambda *_: say(told=is_stopping())); begin()\nwhile True: time.sleep(1)"
    )
    wait_until(lambda: tracker.find("guard"), "the attempt is announced")
    lost = time.monotonic()
    tracker.close()
    assert worker.hear("told")
    worker.wait_until_gone()
    assert 0.9 < time.monotonic() - lost < 10.0


RACER = """
running = 0
signal.signal(signal.SIGTERM, lambda *_: say(hit=running))
for running in range(1, 1000):
    begin(running)
    started = time.monotonic()
    # The odd ones are told to stop about when they end; the even ones must not notice.
    while not os.path.exists(f"end-{running}") and not (running % 2 == 0 and time.monotonic() > started + 0.03): pass
    guard().end()
    if guard().must_leave():
        say(left=running)
        time.sleep(0.01)
        os._exit(0)
"""


def test_given_attempts_told_to_stop_when_they_end_by_themselves_then_the_next_is_never_hit(tmp_path: Path) -> None:
    """Many times, a little before and a little after the end."""
    deadline = time.monotonic() + 5.0
    outcomes: list[tuple[str, int]] = []
    chance = random.Random(4)

    def race(folder: Path) -> None:
        for turn in range(1000):
            if time.monotonic() > deadline:
                return
            outcomes.extend(_race_once(folder / str(turn), chance, deadline))

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(race, [tmp_path / str(number) for number in range(3)]))
    assert [attempt for what, attempt in outcomes if what == "hit" and attempt % 2 == 0] == []
    # Both sides of the race were seen.
    assert [attempt for what, attempt in outcomes if what == "left"]
    assert [attempt for what, attempt in outcomes if what == "lived"]


def _race_once(folder: Path, chance: random.Random, deadline: float) -> list[tuple[str, int]]:
    """Run a worker until it has left; return which of its attempts were hit, and which lived through it."""
    tracker = Tracker()
    worker = Worker(folder, RACER, tracker)

    def stop(server: Tracker, number: int, attempt: int) -> None:
        if attempt % 2:
            for act in chance.sample(
                [lambda: (folder / f"end-{attempt}").touch(), lambda: server.stop(0.2, attempt)], 2
            ):
                act()
                time.sleep(chance.random() * 0.0004)

    tracker.on_guard = stop
    wait_until(lambda: worker.process.poll() is not None or time.monotonic() > deadline, "it leaves")
    said: list[dict[str, Any]] = worker.said()
    worker.kill()
    for each in said:
        # Whichever side was first: an attempt whose worker leaves is told of.
        assert "left" not in each or tracker.death(each["left"])["reason"] == "stopped"
    tracker.close()
    began = [each["began"] for each in said if "began" in each]
    return [
        *(("hit", each["hit"]) for each in said if "hit" in each),
        *(("left", each["left"]) for each in said if "left" in each),
        *(("lived", number) for number in began if number % 2 and number < began[-1]),
    ]
