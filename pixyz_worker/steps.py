"""The steps of a task: the first and the last are kept one by one, those in the middle as one aggregate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

MAX_STEPS = 10_000
"""Steps that are kept, the aggregate included."""
MAX_NAME_BYTES = 1024
"""Maximum length of a step's text in bytes; a longer text is truncated."""
_FIRST = 9000
_LAST = MAX_STEPS - _FIRST - 1
_FIRST_BYTES = 1 << 20
_CUT = " [...]"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a task, or an aggregate of several."""

    info: str
    """What the step does, for a person."""

    duration: float = -1.0
    """Seconds that it took; -1 until it ends."""

    values: Mapping[str, Any] | None = None
    """Values that the script gave with the text: `output`, and any others."""

    count: int = 1
    """Number of steps that it represents."""

    def as_info(self) -> dict[str, Any]:
        """Return it as scripts read it in `step_infos`."""
        return {**self.as_view(), **(self.values or {})}

    def as_view(self) -> dict[str, Any]:
        """Return it as clients read it: `count` only for an aggregate."""
        view = {"duration": self.duration, "info": self.info}
        return view if self.count == 1 else {**view, "count": self.count}

    def as_plain(self) -> tuple[Any, ...]:
        """Return text and duration, and the count of an aggregate; `Step.from_plain` reads it."""
        return (self.info, self.duration) if self.count == 1 else (self.info, self.duration, self.count)

    @classmethod
    def from_plain(cls, values: Sequence[Any]) -> Self:
        """Return the step of a value of `as_plain`."""
        info, duration, *count = values
        return cls(info, duration, count=count[0] if count else 1)


class StepLog:
    """Records steps as they begin and end. Adding a step takes constant time; memory is bounded.

    >>> log = StepLog()
    >>> for number in range(100_000): log.begin(f"step {number}", float(number))
    >>> log.count, len(log.steps), log.steps[9000].info, log.steps[-1].info
    (100000, 10000, '[90001 steps left out]', 'step 99999')
    """

    def __init__(self, steps: Iterable[Step] = (), *, began: float = 0.0) -> None:
        self.count = 0
        """Steps begun."""
        self._first: list[Step] = []
        self._first_bytes = 0
        self._middle: Step | None = None
        self._last: deque[Step] = deque()
        self.began = began
        """When the last step began, in seconds."""
        for step in steps:
            self._add(step)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in order."""
        middle = () if self._middle is None else (self._middle,)
        return (*self._first, *middle, *self._last)

    @property
    def running(self) -> Step | None:
        """The step that has begun and not ended."""
        last = self._last[-1] if self._last else self._first[-1] if self._first else None
        return last if last is not None and last.duration < 0 else None

    def begin(
        self, info: str, now: float, *, index: int | None = None, values: Mapping[str, Any] | None = None
    ) -> None:
        """End the running step and begin the next one.

        Args:
            info: what it does.
            now: the time, in seconds.
            index: its number from 0; steps skipped before it were not reported, and go into the aggregate.
            values: its values.
        """
        missed = 0 if index is None else index - self.count
        self.end(now)
        if missed > 0:
            self._leave_out_last(missed, now)
        self.began = now
        self._add(Step(info, values=values))

    def end(self, now: float) -> None:
        """End the running step, if there is one."""
        step = self.running
        if step is not None:
            self._put(replace(step, duration=max(0.0, now - self.began)))

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Add values to the running step, if there is one."""
        step = self.running
        if step is not None:
            self._put(replace(step, values={**(step.values or {}), **values}))

    def since(self, number: int) -> list[tuple[int, Step]]:
        """Return the steps from a number on, each with its number; an aggregate with the number of its first step."""
        found, place = deque[tuple[int, Step]](), self.count
        for step in self._backwards():
            if place <= number:
                break
            place -= step.count
            found.appendleft((place, step))
        return list(found)

    def _backwards(self) -> Iterator[Step]:
        yield from reversed(self._last)
        if self._middle is not None:
            yield self._middle
        yield from reversed(self._first)

    def _put(self, step: Step) -> None:
        (self._last or self._first)[-1] = step

    def _add(self, step: Step) -> None:
        self.count += step.count
        if step.count > 1:
            self._leave_out(step)
        elif self._middle is None and not self._last and self._has_room(step):
            self._first.append(step)
            self._first_bytes += len(step.info)
        else:
            self._last.append(step)
            if len(self._last) > _LAST:
                self._leave_out(self._last.popleft())

    def _has_room(self, step: Step) -> bool:
        return len(self._first) < _FIRST and self._first_bytes + len(step.info) <= _FIRST_BYTES

    def _leave_out_last(self, missed: int, now: float) -> None:
        """Add the last steps, and a number of unreported ones after them, to the aggregate."""
        while self._last:
            self._leave_out(self._last.popleft())
        self.count += missed
        self._leave_out(Step("", 0.0, count=missed))

    def _leave_out(self, step: Step) -> None:
        count, duration = step.count, max(0.0, step.duration)
        if self._middle is not None:
            count, duration = count + self._middle.count, duration + self._middle.duration
        self._middle = Step(f"[{count} steps left out]", duration, count=count)


def cut_name(text: str) -> str:
    """Return a step's text truncated to MAX_NAME_BYTES of UTF-8, with a mark at the end if it was cut.

    >>> len(cut_name("x" * 5000)), cut_name("x" * 5000)[-7:]
    (1024, 'x [...]')
    """
    if len(text) * 4 <= MAX_NAME_BYTES:
        return text
    data = text[: MAX_NAME_BYTES + 1].encode("utf-8", "surrogatepass")
    if len(data) <= MAX_NAME_BYTES:
        return text
    return data[: MAX_NAME_BYTES - len(_CUT)].decode("utf-8", "ignore") + _CUT
