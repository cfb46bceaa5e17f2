"""What the supervisor decides from what it observes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.cluster.diagnosis import REPLACED_BY_RAY, Diagnosis, Limits, Part, RestartCount, Sign, Verdict

LIMITS = Limits()
GOOD = dict.fromkeys(Part, Sign.GOOD)


def _acts_after(part: Part, sign: Sign, limits: Limits = LIMITS) -> tuple[float, Verdict]:
    """Return the first verdict on a lasting sign that asks for something, and its time."""
    diagnosis = Diagnosis(limits)
    diagnosis.judge(0.0, GOOD)
    for second in range(1, 200):
        verdict = diagnosis.judge(float(second), {**GOOD, part: sign})
        if verdict != Verdict():
            return second - 1.0, verdict
    return float("inf"), Verdict()


@pytest.mark.parametrize("part", [Part.DRIVER, Part.GCS, Part.RAYLET])
def test_given_a_dead_process_when_seen_then_everything_is_restarted_at_once(part: Part) -> None:
    """Given a part that Ray cannot replace, when it has died, then the first look restarts the platform."""
    after_s, verdict = _acts_after(part, Sign.GONE)
    assert (after_s, verdict.restart) == (0.0, f"{part} has died")


@pytest.mark.parametrize(
    ("part", "sign", "limit_s"),
    [
        (Part.GCS, Sign.SILENT, LIMITS.ray_silent_s),
        (Part.RAYLET, Sign.SILENT, LIMITS.ray_silent_s),
        (Part.RAYLET, Sign.STOPPED, LIMITS.stopped_s),
        (Part.GCS, Sign.STOPPED, LIMITS.stopped_s),
        (Part.SERVICE, Sign.SILENT, LIMITS.service_silent_s),
        (Part.DRIVER, Sign.STOPPED, LIMITS.driver_silent_s),
        (Part.DRIVER, Sign.SILENT, LIMITS.driver_silent_s),
        (Part.TRACKER, Sign.SILENT, LIMITS.tracker_silent_s),
    ],
)
def test_given_a_silent_part_when_its_limit_has_passed_then_everything_is_restarted(
    part: Part, sign: Sign, limit_s: float
) -> None:
    """Given a sign that lasts, when its limit has passed and not before, then the reason names part and sign."""
    assert _acts_after(part, sign) == (limit_s, Verdict(restart=f"{part} {sign}"))


@pytest.mark.parametrize("part", sorted(REPLACED_BY_RAY))
def test_given_a_frozen_part_that_ray_replaces_when_its_limit_has_passed_then_it_alone_is_killed(part: Part) -> None:
    """Given a frozen tracker or replica, when the limit has passed, then it is killed and nothing is restarted."""
    assert _acts_after(part, Sign.STOPPED) == (LIMITS.stopped_s, Verdict(kill=(part,)))


@pytest.mark.parametrize("part", sorted(REPLACED_BY_RAY))
def test_given_a_dead_part_that_ray_replaces_then_ray_does_so(part: Part) -> None:
    """Given a tracker or replica that has died, when it is seen, then nothing is done."""
    assert _acts_after(part, Sign.GONE)[1] == Verdict()


@given(st.lists(st.sampled_from([Sign.SILENT, Sign.GOOD]), max_size=60))
def test_given_answers_now_and_then_when_judged_then_only_a_full_silence_counts(signs: list[Sign]) -> None:
    """Given any order of answers and silence, when judged each second, then 12 silent seconds in a row restart."""
    diagnosis = Diagnosis(LIMITS)
    silent_since: int | None = None
    for second, sign in enumerate(signs):
        silent_since = None if sign is Sign.GOOD else second if silent_since is None else silent_since
        verdict = diagnosis.judge(float(second), {Part.RAYLET: sign})
        is_due = silent_since is not None and second - silent_since >= LIMITS.ray_silent_s
        assert (verdict.restart is not None) == is_due


def test_given_a_supervisor_that_slept_when_it_wakes_then_it_forgets_what_it_had_counted() -> None:
    """Given a raylet silent for 3 s, when 65 s are missing between two looks, then the count begins again."""
    diagnosis = Diagnosis(LIMITS)
    silent = {Part.RAYLET: Sign.SILENT, Part.TRACKER: Sign.STOPPED}
    for second in range(4):
        assert diagnosis.judge(float(second), silent) == Verdict()
    for second in range(70, 74):
        assert diagnosis.judge(float(second), silent) == Verdict()


def test_given_restarts_when_three_in_a_row_have_failed_then_there_is_no_fourth() -> None:
    """Given a steady run before, when restarts fail or last less than ten seconds, then three are tried."""
    count = RestartCount()
    assert [count.may_restart(up_for_s) for up_for_s in (3600.0, 0.0, 9.0, 5.0)] == [True, True, True, False]


def test_given_a_restart_that_lasted_when_the_next_trouble_comes_then_it_counts_as_the_first() -> None:
    """Given two restarts in a row, when the second run was up for ten seconds, then the count starts over."""
    count = RestartCount()
    for up_for_s in (5.0, 5.0, 10.0):
        assert count.may_restart(up_for_s)
    assert count.tried == 1
