"""Steps: bounded, however many a script begins, and true in what they say."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker import steps as module
from pixyz_worker.progress import Progress
from pixyz_worker.steps import MAX_NAME_BYTES, MAX_STEPS, Step, StepLog, cut_name


def test_given_many_steps_when_kept_then_the_first_and_the_last_are_and_the_middle_is_counted() -> None:
    """Given 200,000 steps of a second each, when kept, then counts and times add up, in little memory."""
    tracemalloc.start()
    log = StepLog()
    for number in range(200_000):
        log.begin(f"step {number}", float(number))
    log.end(200_000.0)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = log.steps
    assert len(kept) == MAX_STEPS
    assert sum(step.count for step in kept) == log.count == 200_000
    assert sum(step.duration for step in kept) == 200_000
    assert [kept[0].info, kept[8999].info, kept[9001].info, kept[-1].info] == [
        "step 0", "step 8999", "step 199001", "step 199999",
    ]  # fmt: skip
    assert kept[9000] == Step("[190001 steps left out]", 190_001.0, count=190_001)
    assert memory < 4 * 2**20


@given(
    begun=st.lists(st.tuples(st.integers(0, 3), st.text(max_size=5)), max_size=60),
    first=st.integers(1, 8),
    last=st.integers(1, 8),
    since=st.integers(0, 200),
)
def test_given_any_steps_then_numbers_counts_and_times_add_up(
    begun: list[tuple[int, str]], first: int, last: int, since: int
) -> None:
    """Given steps of which some were not reported, when kept, then what is kept stands for all of them, in order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FIRST", first)
        patch.setattr(module, "_LAST", last)
        log, now = StepLog(), 0.0
        for missed, info in begun:
            now += 1.0
            log.begin(info, now, index=log.count + missed)
        log.end(now + 1.0)
        assert len(log.steps) <= first + 1 + last
        assert sum(step.count for step in log.steps) == log.count == sum(1 + missed for missed, _ in begun)
        assert sum(step.duration for step in log.steps) == len(begun)
        numbered = log.since(0)
        assert [step for _, step in numbered] == list(log.steps)
        assert [number for number, _ in numbered] == [
            sum(step.count for step in log.steps[:place]) for place in range(len(log.steps))
        ]
        assert log.since(since) == [(number, step) for number, step in numbered if number + step.count > since]
        again = StepLog(Step.from_plain(step.as_plain()) for step in log.steps)
        assert (again.steps, again.count) == (log.steps, log.count)


@given(st.text(max_size=3000))
def test_given_any_name_when_kept_then_it_is_short_and_marked_where_it_is_cut(text: str) -> None:
    """Given a text of any length, when cut, then it has at most 1 KiB and says that it is cut."""
    cut = cut_name(text)
    assert len(cut.encode()) <= MAX_NAME_BYTES
    assert cut == text or (cut.endswith(" [...]") and text.startswith(cut.removesuffix(" [...]")))


def test_given_long_names_and_many_steps_when_a_script_reports_them_then_notes_say_so() -> None:
    """Given 20,000 steps and one name of a MB, when reported, then the notes count both."""
    progress = Progress(lambda event: None)
    progress.set_total(10**400)
    progress.next("x" * 2**20)
    for _ in range(20_000):
        progress.next()
    progress.stop()
    assert progress.step_current == 20_001
    assert progress.step_infos[-1]["info"] == "step 20000"
    assert progress.total == 2**53 - 1
    assert progress.notes == [
        "The job has 20001 steps: 10002 in the middle are shown as one.",
        "Texts of steps are cut off after 1024 bytes: 1 were longer.",
    ]
