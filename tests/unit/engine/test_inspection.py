"""Inspection of scripts in a child process: the same answers as in this one, within limits of time and memory."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_ray.cluster.inspection import InspectionLimits, Inspector
from pixyz_worker.exception import InvalidScript
from pixyz_worker.loader import inspect_source

SCRIPT = b'''"""What it does."""
@pixyz_schedule("gpu", wait=True, timeout=1.5, time_limit=7, retries=3, labels={"a": (1, b"x", None)})
def main(pc, params): ...
async def other(pc, params): ...
'''
LONG = b"x=1\n" * 60_000


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """An inspector for many tests."""
    one = Inspector()
    yield one
    one.close()


@pytest.fixture
def strict() -> Iterator[Inspector]:
    """An inspector with small limits."""
    one = Inspector(InspectionLimits(cpu_s=1, wall_s=0.3, waiting_s=0.1))
    yield one
    one.close()


@pytest.mark.parametrize(
    "source",
    [SCRIPT, b"", b"def main(pc, params):\n    '''Doc.'''\n", "doc = 'é\ud800'".encode("utf-8", "surrogatepass")],
    ids=["schedules", "empty", "doc of main", "no text"],
)
def test_given_a_script_when_inspected_then_the_child_answers_as_this_process_would(
    inspector: Inspector, source: bytes
) -> None:
    """Also where the answer is why it cannot be run."""
    try:
        wanted = inspect_source(source, "é a.py")
    except InvalidScript as expected:
        for _ in range(2):
            with pytest.raises(InvalidScript) as error:
                inspector.inspect(source, "é a.py")
            assert (str(error.value), error.value.line, error.value.column) == (
                str(expected),
                expected.line,
                expected.column,
            )
    else:
        assert inspector.inspect(source, "é a.py") == wanted


@pytest.mark.parametrize(
    "source",
    [
        b"(" * 100_000,
        b"x=" + b"-" * 100_000 + b"1",
        b"x=" + b"1+" * 100_000 + b"1",
        b"a" + b".a" * 100_000,
        b"x=" + b"[" * 150 + b"(lambda:" * 100 + b"1",
        b"@pixyz_schedule(queue=0x" + b"f" * 100_000 + b")\ndef main(pc, params): ...",
    ],
    ids=["parentheses", "signs", "sums", "attributes", "lambdas", "a long number"],
)
def test_given_a_script_made_to_hurt_the_parser_when_inspected_then_it_is_refused(
    inspector: Inspector, source: bytes
) -> None:
    """And the next one is read as ever."""
    with pytest.raises(InvalidScript):
        inspector.inspect(source, "a.py")
    assert inspector.inspect(SCRIPT, "a.py").entrypoints == ("main", "other")


def test_given_a_script_that_takes_too_long_when_inspected_then_it_is_refused_and_remembered(strict: Inspector) -> None:
    """The second time costs nothing."""
    with pytest.raises(InvalidScript, match=r"takes more than 1 s of CPU time.* to read\. Move its data"):
        strict.inspect(LONG * 2 + b"#" * 100_000, "a.py")
    began = time.monotonic()
    with pytest.raises(InvalidScript, match="to read"):
        strict.inspect(LONG * 2 + b"#" * 100_000, "a.py")
    assert time.monotonic() - began < 0.8


def test_given_a_script_that_takes_too_much_memory_when_inspected_then_it_is_refused() -> None:
    """By the limit of its process, not by the kernel's OOM killer."""
    one = Inspector(InspectionLimits(memory_bytes=64 << 20))
    try:
        with pytest.raises(InvalidScript, match="more than 64 MiB of memory to read"):
            one.inspect(LONG, "a.py")
        assert one.inspect(SCRIPT, "a.py").entrypoints == ("main", "other")
    finally:
        one.close()


def test_given_a_child_that_was_killed_when_asked_again_then_another_answers(inspector: Inspector) -> None:
    """It holds nothing that would be lost with it."""
    inspector.inspect(SCRIPT + b"#1", "a.py")
    for child in psutil.Process().children():
        os.kill(child.pid, signal.SIGKILL)
        psutil.wait_procs([child], timeout=5)
    assert inspector.inspect(SCRIPT + b"#2", "a.py").entrypoints == ("main", "other")


def test_given_a_long_script_when_it_is_being_read_then_short_ones_do_not_wait() -> None:
    """And another long one is told to come back, instead of waiting without end."""
    one = Inspector(InspectionLimits(waiting_s=0.1))
    try:
        one.inspect(SCRIPT, "a.py")
        thread = threading.Thread(target=lambda: one.inspect(LONG * 2, "long.py"))
        thread.start()
        while one._long._process is None:
            time.sleep(0.001)
        one.inspect(SCRIPT + b"#1", "a.py")
        assert thread.is_alive()
        with pytest.raises(EngineNotReady, match="Try again"):
            one.inspect(LONG + b"#1", "a.py")
        thread.join()
    finally:
        one.close()


def test_given_many_results_when_cached_then_the_cache_stays_within_its_bytes() -> None:
    """A docstring may be as long as its script."""
    one = Inspector(InspectionLimits(cache_bytes=100_000))
    try:
        for number in range(20):
            one.inspect(b"'''%s'''#%d" % (b"x" * 20_000, number), "a.py")
        assert 0 < one._known._bytes <= 100_000
        assert sum(size for _, size in one._known._items.values()) == one._known._bytes
    finally:
        one.close()
