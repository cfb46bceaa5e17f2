"""How soon the platform notices that a worker has died, and how soon it ends what is to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.faults.chaos import Say
from benchmarks.faults.detection_script import STUBBORN
from benchmarks.faults.figures import Figure, soon
from benchmarks.faults.platform import Fragile, is_alive, kill, of_attempts, wait_until
from pixyz_ray.client import Client

_SCRIPT = Path(__file__).with_name("detection_script.py")
_LIMIT_S = 1.0
_LOOK_S = 0.002
_REST_S = 0.5
_REPLACING_S = 2.0


def detection(deaths: int, stops: int, say: Say, folder: Path | None = None) -> list[Figure]:
    """Return the rows of the table.

    Args:
        deaths: workers that are killed.
        stops: time limits of each kind of stubborn script, and as many cancels.
        say: takes lines that tell how it goes.
        folder: where to work; a temporary folder is made in it.
    """
    with TemporaryDirectory(prefix="pixyz-faults-", dir=folder, ignore_cleanup_errors=True) as work:
        platform = Fragile(Path(work))
        platform.start()
        try:
            with platform.client() as client:
                measure = _Measure(client, Path(work))
                measure.next_attempt()
                lost = [measure.next_attempt() for _ in range(deaths)]
                say(f"{deaths} workers were killed")
                late = {name: [measure.overshoot(name) for _ in range(stops)] for name in STUBBORN}
                say(f"{stops * len(STUBBORN)} attempts ran into their time limit: {_worst(late)}")
                ended = {name: [measure.cancel(name) for _ in range(stops)] for name in STUBBORN}
                say(f"{stops * len(STUBBORN)} jobs were cancelled: {_worst(ended)}")
        finally:
            platform.stop()
    return [
        soon("SIGKILL of a worker → its job's next attempt has started", lost, 1),
        soon("time limit → the attempt is over and all its processes are gone", list(chain(*late.values())), 1),
        soon("cancel → all processes of the job are gone", list(chain(*ended.values())), 2),
    ]


class _Measure:
    """Makes one fault at a time."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._count = 0

    def next_attempt(self) -> float:
        """Return the seconds from the death of a worker to the start of its job's next attempt."""
        # What a killed worker leaves is a place for another one, which Ray starts meanwhile.
        time.sleep(_REPLACING_S)
        uuid, worker = self._start("main")
        at = time.time()
        kill(worker)
        details = self._end(uuid)
        assert details["status"] == "SUCCESS", details
        return _seconds(details["attempts"][1]["started"]) - at

    def overshoot(self, entrypoint: str) -> float:
        """Return the seconds by which an attempt outlasts its time limit, in the books or as a process."""
        uuid, worker = self._start(entrypoint, time_limit=_LIMIT_S, retries=0)
        gone = _gone(uuid, worker)
        details = self._end(uuid)
        attempt = details["attempts"][0]
        assert (details["status"], attempt["failure"]) == ("FAILURE", "timeout"), details
        return max(gone, _seconds(attempt["stopped"])) - _seconds(attempt["started"]) - _LIMIT_S

    def cancel(self, entrypoint: str) -> float:
        """Return the seconds from asking to cancel a job until nothing of it runs."""
        uuid, worker = self._start(entrypoint)
        at = time.time()
        asking = threading.Thread(target=self._client.cancel, args=(uuid,))
        asking.start()
        gone = _gone(uuid, worker)
        asking.join()
        details = self._end(uuid)
        assert details["status"] == "REVOKED", details
        return gone - at

    def _start(self, entrypoint: str, **config: Any) -> tuple[str, int]:
        """Return a job that runs, and the process id of its worker."""
        # What the fault before this has cost the platform is not part of this one.
        time.sleep(_REST_S)
        self._count += 1
        ready = self._folder / f"ready-{self._count}"
        job = self._client.submit(_SCRIPT, params={"ready": str(ready)}, config={"entrypoint": entrypoint, **config})
        wait_until(ready.exists, "the script runs", every_s=0.01)
        worker = wait_until(lambda: self._worker(job.id), "the start of the attempt is known", every_s=0.01)
        assert worker is not None
        return job.id, worker

    def _worker(self, uuid: str) -> int | None:
        attempts = self._client.details(uuid)["attempts"]
        pid = attempts[-1]["pid"] if attempts else None
        return None if pid is None else int(pid)

    def _end(self, uuid: str) -> dict[str, Any]:
        self._client.wait(uuid, timeout=60)
        return dict(self._client.details(uuid))


def _gone(uuid: str, worker: int) -> float:
    """Wait until neither the worker nor anything that it has started runs; return when that was."""
    # A process that is forked later is looked for at the end.
    pids = {worker, *(pid for pid, _ in of_attempts(uuid))}
    wait_until(lambda: not any(map(is_alive, pids)), f"{pids} of job {uuid} are gone", every_s=_LOOK_S)
    at = time.time()
    if left := dict(of_attempts(uuid)):
        raise TimeoutError(f"job {uuid} has left {left}")
    return at


def _worst(values: Mapping[str, list[float]]) -> str:
    return ", ".join(f"{name} {max(seconds):.2f} s" for name, seconds in values.items())


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
