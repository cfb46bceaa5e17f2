"""The Ray tasks: run one attempt of a job, pack a job's outputs. Each runs on a worker of the cluster."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.backend import RayBackend
from pixyz_ray.cluster.channel import Endpoint
from pixyz_ray.cluster.event_line import EventLine
from pixyz_ray.cluster.fitness import refusal
from pixyz_ray.cluster.node_id import own_node_id
from pixyz_ray.cluster.wear import Wear, retire
from pixyz_ray.failure import FailureClass
from pixyz_ray.node_outcomes import leave_outcome
from pixyz_ray.outcome import Outcome
from pixyz_ray.private_files import use_share_mask
from pixyz_ray.run_spec import RunSpec
from pixyz_ray.runner import run, share_of
from pixyz_ray.storage import JobFolder
from pixyz_ray.watchdog.guard import guard
from pixyz_ray.watchdog.nvml import holds_gpu
from pixyz_worker.exception import PixyzFileNotFound

_BUSY_S = 0.1
_REPORTED_ONE_BY_ONE = 9000


class NotMade:
    """Placeholder for the return value of a task that failed: tasks that depend on it do not start.

    Args:
        unwritten: the outcome as JSON, where the share did not take it.
    """

    def __init__(self, unwritten: str | None = None) -> None:
        self.unwritten = unwritten


def run_script(order: str, *values: Any) -> Any:
    """Run one attempt; return what the next node gets, if there is one that wants it.

    Its outcome goes down the line, which is quick, and to the disk, which is sure; Ray hears only that it is over.

    Args:
        order: JSON of the fields of a RunSpec, those of the tracker's Endpoint, and the shape of a Feed or None.
        values: what the Feed's references point to; without a shape, they only have to be there.
    """
    use_share_mask()
    spec, endpoint, shape = json.loads(order)
    refused = refusal(spec.pop("version", None), spec["share"], spec.pop("share_id", ""))
    if refused is not None:
        return _refuse(spec, Endpoint(*endpoint), refused)
    run_spec = RunSpec(**spec, endpoint=tuple(endpoint))
    attempt = _Attempt(run_spec, Endpoint(*endpoint))
    wear = Wear(run_spec.max_growth)
    if any(isinstance(value, NotMade) for value in values):
        # Submitted ahead of its turn, which has not come: the tracker knows why.
        return _answer(run_spec, NotMade())
    if shape is not None:
        try:
            run_spec = replace(run_spec, params=_fed(shape, values, attempt.share))
        except PixyzFileNotFound as error:
            attempt.tell(_without_params(error))
            return _answer(run_spec, NotMade())
    backend = RayBackend(run_spec.uuid, run_spec.attempt, run_spec.home or run_spec.uuid, attempt.share)
    outcome, value = run(run_spec, attempt.report, backend, attempt.tell)
    unwritten = attempt.write_down()
    # CUDA keeps the card that it first saw, and memory on it, for as long as the process lives.
    if wear.is_too_much() or (run_spec.gpus and holds_gpu()):
        retire()
    return _answer(run_spec, value if outcome.ok and not outcome.awaits else NotMade(), unwritten)


def _refuse(spec: Mapping[str, Any], endpoint: Endpoint, outcome: Mapping[str, Any]) -> Any:
    """Report that an attempt must not begin here. Nothing of it is written: the share may not be there."""
    text = json.dumps(outcome)
    line = _line(endpoint)
    line.send_text("ended", f'["{spec["uuid"]}",{spec["attempt"]},{text}]')
    line.flush()
    return (NotMade(text), NotMade()) if spec.get("hands_on") else NotMade(text)


def _answer(spec: RunSpec, value: Any, unwritten: str | None = None) -> Any:
    """Return what Ray is answered: that the task is over, and beside it the value if somebody wants that.

    Args:
        spec: what was run.
        value: what the next node gets.
        unwritten: the outcome as JSON, where the share did not take it.
    """
    over = NotMade(unwritten) if isinstance(value, NotMade) else unwritten
    return (over, value) if spec.hands_on else over


class _Attempt:
    """What is told of one attempt while it runs and when it ends."""

    def __init__(self, spec: RunSpec, endpoint: Endpoint) -> None:
        self.share = share_of(spec.share)
        self._uuid = spec.uuid
        self._number = spec.attempt
        self._endpoint = endpoint
        self._folder = JobFolder(self.share, spec.uuid)
        self._max_result = spec.max_result_bytes
        self._stepped = False
        self._reported = 0
        self._home = JobFolder(self.share, spec.home) if spec.home else None
        self._text = "{}"
        _line(endpoint)

    def report(self, event: Mapping[str, Any]) -> None:
        """Send a progress event."""
        kind = event["kind"]
        self._stepped |= kind == "step"
        if kind == "stop" and not self._stepped:
            return
        self._reported += 1
        # A script that goes on reporting costs the tracker no more than the latest of each kind.
        replaces = kind if self._reported > _REPORTED_ONE_BY_ONE else None
        # The outputs of steps are the script's own: nobody is shown them.
        told = {name: value for name, value in event.items() if name != "output"}
        if kind == "started":
            told["node_id"] = own_node_id()
        _line(self._endpoint).send("event", self._uuid, self._number, {"time": time.time(), **told}, replaces=replaces)

    def tell(self, outcome: Outcome) -> Outcome:
        """Send the outcome; return what was sent, which is another where the result is too large to be kept."""
        self._text = json.dumps(outcome.as_plain())
        if self._max_result and len(self._text) > self._max_result and outcome.result is not None:
            outcome = _too_large(outcome, self._max_result, self._folder.log_tail())
            self._text = json.dumps(outcome.as_plain())
        line = _line(self._endpoint)
        line.send_text("ended", f'["{self._uuid}",{self._number},{self._text}]')
        line.flush()
        return outcome

    def write_down(self) -> str | None:
        """Leave the outcome on the share; return it where the share is full or away, so that Ray can bring it."""
        try:
            if self._home is None:
                self._folder.write_outcome(self._number, self._text)
            else:
                leave_outcome(self._home, self._uuid, self._number, self._text)
        except OSError:
            return self._text
        return None


def _fed(shape: Sequence[Any], values: Sequence[Any], share: Path) -> Any:
    """Return the params that a Feed gives."""
    kind, what = shape[0], shape[1]
    if kind == "list":
        return [_fed(each, values, share) for each in what]
    if kind == "ref":
        return values[what]
    return JobFolder(share, what).kept_value() if kind == "kept" else what


def _too_large(outcome: Outcome, limit: int, log: str | None) -> Outcome:
    """Return the outcome of a script whose result would burden everybody else."""
    sentence = (
        f"The result is larger than the {limit} bytes of JSON that are kept of one (MAX_RESULT_BYTES). "
        "Write it to a file below pc.get_output_dir(), and return its name."
    )
    failure = str(FailureClass.USER_ERROR)
    return replace(outcome, ok=False, result=None, error=sentence, sentence=sentence, failure=failure, log=log)


def _without_params(error: Exception) -> Outcome:
    """Return the outcome of an attempt that could not begin, since what it was to get is not there."""
    now = time.time()
    internal = str(FailureClass.INTERNAL)
    return Outcome(ok=False, started=now, stopped=now, error=str(error), sentence=str(error), failure=internal)


def keep_value(value: Any, share: str, uuid: str, attempt: int) -> None:
    """Write a node's value to the share, where a restart does not lose it."""
    use_share_mask()
    JobFolder(Path(share), uuid).keep_value(value, attempt)


def pack_outputs(share: str, uuid: str) -> None:
    """Write the zip of a job's outputs."""
    use_share_mask()
    JobFolder(Path(share), uuid).pack()


def warm_up() -> None:
    """Get a worker ready, which has imported all that a job needs: the collector need not look at that any more.

    Several of these at a time are to get as many workers ready: each is busy for a moment.
    """
    guard()
    gc.collect()
    gc.freeze()
    time.sleep(_BUSY_S)


def _line(endpoint: Endpoint) -> EventLine:
    line = _open_line(endpoint)
    if line.broken:
        _open_line.cache_clear()
        line = _open_line(endpoint)
    return line


@lru_cache(maxsize=1)
def _open_line(endpoint: Endpoint) -> EventLine:
    """Return this worker's line to the tracker; one serves all its jobs."""
    return EventLine(endpoint)
