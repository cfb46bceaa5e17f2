"""Sleep for a while: a job that takes a known time and does nothing.

Useful to try a platform out, to measure what a job costs, and to fill a queue.

Parameters:
    t (number, default 0.1): seconds to sleep in all.
    steps (integer, default 1): steps to show; each one sleeps its share of the time.

Input: none.
Outputs: none.
Returns: t, the seconds slept.

Example:
    pixyz process -n sleep -p '{"t": 2, "steps": 4}' -w
"""

from __future__ import annotations

import math
import time
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.script import ProgramContext


def main(pc: ProgramContext, params: dict[str, Any]) -> float:
    """Sleep `t` seconds in `steps` steps."""
    seconds, steps = params.get("t", 0.1), params.get("steps", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise PixyzException(f"t must be a number of seconds, 0 or more, not {seconds!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise PixyzException(f"steps must be a whole number, 1 or more, not {steps!r}")
    pc.progress_set_total(steps)
    for step in range(1, steps + 1):
        pc.progress_next(f"Sleeping, part {step} of {steps}")
        time.sleep(seconds / steps)
    return seconds
