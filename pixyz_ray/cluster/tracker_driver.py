"""The tracker's driver where Serve starts the platform, without the driver of `pixyz up`.

Ray takes the warm workers from an actor whose driver has exited, which costs each job more than a second. The driver of
`serve run` ends with its terminal, and that of `serve deploy` is Ray's dashboard, which an operator may restart. So the
replica on the head starts this process, once for each home; it creates the tracker and stays for as long as the
application is deployed. It is no child of the replica, with which Ray would end it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pixyz_ray.cluster.environment import worker_environment
from pixyz_ray.cluster.names import NAMESPACE
from pixyz_ray.logs import configure_logging
from pixyz_ray.private_files import open_private
from pixyz_ray.settings import Settings
from pixyz_ray.settings_digest import settings_digest

_log = logging.getLogger("pixyz.tracker_driver")
_LOCK = "tracker-driver.lock"
_LOG = "tracker-driver.log"
_LOOK_EVERY_S = 2.0
_GONE_AFTER_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackerOrder:
    """Order of the replica that starts the driver."""

    settings: Settings
    """The platform's settings."""
    address: str
    """`host:port` of Ray's control service."""
    application: str
    """Name of the Serve application; when that is not deployed any more, tracker and driver end."""
    folder: Path
    """The platform's home."""


def ensure_driver(order: TrackerOrder) -> bool:
    """Start the driver unless it is there; one with other settings is ended first. Return whether it was started."""
    data = pickle.dumps(order)
    digest = settings_digest(order.settings)
    with (order.folder / _LOCK).open("a+b") as lock:
        if not _take(lock):
            _end_other(lock, digest)
            return False
        lock.truncate(0)
        # The driver inherits the lock and keeps it: no second one starts before it is ready.
        with open_private(order.folder / _LOG) as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pixyz_ray.cluster.tracker_driver", str(lock.fileno()), digest],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
        process.communicate(data)
    return True


def _end_other(lock: BinaryIO, digest: str) -> None:
    """End a driver whose settings are others; the next call starts one with ours."""
    lock.seek(0)
    pid, _, settings = lock.read().decode().partition(" ")
    if pid.isdigit() and settings != digest:
        _log.warning("the settings have changed: the tracker's driver is replaced")
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _take(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _keep_tracker(order: TrackerOrder) -> None:
    """Create the tracker in a Ray job of this process, and stay until the application is gone."""
    import ray

    ray.init(
        address=order.address,
        namespace=NAMESPACE,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": worker_environment(order.settings)},
    )
    from pixyz_ray.cluster.actor import make_tracker

    _end_tracker()
    tracker = make_tracker(order.settings)
    ray.get(tracker.endpoint.remote())
    _log.info("the tracker is up")
    seen = time.monotonic()
    while time.monotonic() - seen < _GONE_AFTER_S:
        time.sleep(_LOOK_EVERY_S)
        # Wakes up a tracker that Ray has restarted.
        with suppress(ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnavailableError):
            ray.get(tracker.endpoint.remote(), timeout=_LOOK_EVERY_S)
        if _is_deployed(order.application):
            seen = time.monotonic()
    _log.info("the application %s is not deployed any more: the tracker ends", order.application)
    _end_tracker()


def _end_tracker() -> None:
    """End a tracker that another driver has created; its jobs are in the journal."""
    from pixyz_ray.cluster.takeover import about_tracker, end_tracker, find_tracker

    if (tracker := find_tracker()) is not None:
        end_tracker(tracker, about_tracker(tracker, timeout_s=_LOOK_EVERY_S))


def _is_deployed(application: str) -> bool:
    """Return whether the application is deployed; True while Serve's controller does not answer."""
    from ray import serve

    from pixyz_ray.cluster.teardown import serve_is_running

    if not serve_is_running():
        return False
    try:
        return application in serve.status().applications
    except Exception:
        return True


def main() -> None:
    """Run as a program: the order comes through standard input."""
    data = sys.stdin.buffer.read()
    if os.fork():
        # The caller waits for this process alone; the other one belongs to nobody.
        os._exit(0)
    os.write(int(sys.argv[1]), f"{os.getpid()} {sys.argv[2]}".encode())
    order: TrackerOrder = pickle.loads(data)  # noqa: S301 - written by the replica that has started this process
    configure_logging(order.settings.log_level, order.settings.log_format)
    _keep_tracker(order)


if __name__ == "__main__":
    # Unpickling needs the classes under the module's own name, not under that of the program.
    from pixyz_ray.cluster.tracker_driver import main as run_main

    run_main()
