"""Sleep for a while: a job that takes a known time and does nothing.

Useful to try a platform out, to measure what a job costs, and to fill a queue.

Parameters:
    t (number, default 0.1): seconds to sleep in all.
    duration (number): another name of t.
    steps (whole number, default 1): steps to show; each one sleeps its share of the time.

Input: none.
Outputs: none.
Returns: t, the seconds slept.

Example:
    pixyz process -n sleep -p '{"t": 2, "steps": 4}' -w
"""

from __future__ import annotations

import time
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.parameters import Parameters
from pixyz_worker.script import ProgramContext

_DEFAULT_S = 0.1


def main(pc: ProgramContext, params: dict[str, Any]) -> float:
    """Sleep `t` seconds in `steps` steps."""
    given = Parameters(params)
    t, duration = given.seconds("t", None), given.seconds("duration", None)
    steps = given.whole("steps", 1, low=1)
    given.say_unknown()
    if t is not None and duration is not None and t != duration:
        raise PixyzException(f"t and duration are the same: give one of them, not {t:g} and {duration:g}")
    seconds = next((value for value in (t, duration) if value is not None), _DEFAULT_S)
    pc.progress_set_total(steps)
    for step in range(1, steps + 1):
        pc.progress_next(f"Sleeping, part {step} of {steps}")
        time.sleep(seconds / steps)
    return seconds
