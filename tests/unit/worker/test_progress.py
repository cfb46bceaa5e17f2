"""Progress: percentages, durations, and a sink that cannot hurt the script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker.progress import Progress, Step


def test_given_two_steps_when_they_run_then_the_percentage_is_that_of_the_contract() -> None:
    """100 * (steps begun - 1) / total while running, 100 when done."""
    progress = Progress(lambda event: None)
    seen = [progress.percent]
    progress.set_total(2)
    seen.append(progress.percent)
    for info in ("one", "two"):
        progress.next(info)
        seen.append(progress.percent)
    progress.stop()
    assert [*seen, progress.percent] == [None, 0, 0, 50, 100]


def test_given_steps_when_one_runs_then_only_the_last_has_no_duration() -> None:
    """A duration of -1 says that the step still runs."""
    progress = Progress(lambda event: None)
    progress.next("one")
    progress.next("two")
    assert progress.steps[0].duration >= 0
    assert progress.steps[1] == Step("two", -1.0)
    progress.stop()
    assert progress.steps[1].duration >= 0


def test_given_a_sink_when_progress_is_made_then_it_gets_each_event_once() -> None:
    """The events are those that the platform shows."""
    events: list[Mapping[str, Any]] = []
    progress = Progress(events.append)
    progress.set_total(1)
    progress.next("one", output="a.glb")
    progress.stop()
    progress.stop()
    assert events == [
        {"kind": "total", "total": 1},
        {"kind": "step", "info": "one", "index": 0, "output": "a.glb"},
        {"kind": "stop"},
    ]


def test_given_a_sink_that_fails_when_progress_is_made_then_the_script_does_not_notice() -> None:
    """Progress is news, not work."""

    def fail(event: Mapping[str, Any]) -> None:
        raise ConnectionError("the tracker is away")

    progress = Progress(fail)
    progress.set_total(1)
    progress.next("one")
    progress.stop()
    assert progress.percent == 100


def test_given_no_sink_when_a_step_begins_then_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a scheduler a person reads the steps on the terminal."""
    progress = Progress()
    progress.set_total(1)
    progress.next("one")
    progress.stop()
    assert capsys.readouterr().out == "one\n"


@given(total=st.integers(-5, 20), steps=st.integers(0, 30))
def test_given_any_counts_when_asked_then_the_percentage_stays_between_0_and_100(total: int, steps: int) -> None:
    """More steps than announced, or fewer, never give a percentage that is none."""
    progress = Progress(lambda event: None)
    progress.set_total(total)
    seen = []
    for number in range(steps):
        progress.next(str(number))
        seen.append(progress.percent)
    known = [percent for percent in seen if percent is not None]
    assert known == sorted(known)
    assert all(0 <= percent <= 100 for percent in known)
    assert (not known) or total > 0
