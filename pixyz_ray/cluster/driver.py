"""The driver process: starts Ray, the tracker and Serve on this machine, and stays connected to them.

It must keep running: tasks of an actor whose driver has exited lose their warm workers, which costs each job a
second. Ray's processes are its children and end with it, however it ends. The supervisor starts it, watches it, and
replaces it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.environment import driver_environment, ray_environment, worker_environment
from pixyz_ray.cluster.liveness import SUPERVISOR
from pixyz_ray.cluster.names import NAMESPACE
from pixyz_ray.cluster.ray_folder import ray_folder
from pixyz_ray.home import local_token
from pixyz_ray.logs import configure_logging
from pixyz_ray.private_files import make_shared_folder
from pixyz_ray.reaper import SESSION_MARK, end_marked
from pixyz_ray.settings import Settings
from pixyz_worker.exception import InternalError, PixyzException

_log = logging.getLogger("pixyz.driver")
_BEAT_EVERY_S = 1.0
_ASK_TRACKER_EVERY_S = 2.0
_TRACKER_ANSWERS_WITHIN_S = 5.0
_ORPHAN_PATIENCE_S = 0.5
_REPLACEMENT_PATIENCE_S = 20.0
_MAX_ERROR_CHARS = 10_000
MAX_MESSAGE_BYTES = 1 << 17
"""Largest message to the supervisor, in bytes; the longest contains an error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Options of `pixyz up`."""

    address: str | None = None
    """Ray cluster to join; one of our own is started when None."""
    num_cpus: int | None = None
    """CPUs offered to tasks."""
    dashboard: bool = False
    """Whether Ray's dashboard runs, which `ray job submit` needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverOrder:
    """What the supervisor sends to the driver through its standard input."""

    settings: Settings
    options: Options
    folder: Path
    """The platform's home."""
    session: str
    """Mark of all processes of this run."""
    replacement: tuple[str, ...]
    """Command that starts another supervisor if this one is killed; empty in the foreground, where a process manager
    restarts the supervisor."""


class Driver:
    """The body of the driver process.

    Args:
        order: what to start.
        line: connection to the supervisor; closed when the supervisor dies.
        environment: variables that the supervisor was started with.
    """

    def __init__(self, order: DriverOrder, line: socket.socket, environment: dict[str, str]) -> None:
        self._order = order
        self._line = line
        self._environment = environment
        self._stop = threading.Event()
        self._tracker_answered = time.monotonic()
        self._tracker_lost: str | None = None

    def run(self) -> None:
        """Start everything, then send a heartbeat every second until SIGTERM.

        Raises:
            InternalError: something did not start, or the tracker has failed and Ray does not restart it.
        """
        threading.Thread(target=self._watch_supervisor, daemon=True).start()
        order = self._order
        addresses = _start_ray(order.settings, order.options, order.folder, order.session)
        tracker = _start_platform(order.settings, order.folder)
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        self._tell("up", addresses)
        self._tracker_answered = time.monotonic()
        threading.Thread(target=self._ask_tracker, args=(tracker,), daemon=True).start()
        while not self._stop.wait(_BEAT_EVERY_S):
            if self._tracker_lost is not None:
                raise InternalError(f"The tracker is gone for good: {self._tracker_lost}")
            self._tell("beat", {"tracker_silent_s": time.monotonic() - self._tracker_answered})

    def fail(self, error: BaseException) -> None:
        """Tell the supervisor why this process ends."""
        self._tell("failed", {"error": str(error)[-_MAX_ERROR_CHARS:]})

    def _tell(self, kind: str, values: dict[str, Any]) -> None:
        # A frozen supervisor reads nothing. When the buffer is full, drop the message: the next one supersedes it.
        with suppress(OSError):
            self._line.send(json.dumps({"kind": kind, **values}).encode(), socket.MSG_DONTWAIT)

    def _ask_tracker(self, tracker: Any) -> None:
        """Call the tracker every two seconds; the call also makes a restarted tracker recover its jobs."""
        import ray

        while True:
            try:
                ray.get(tracker.endpoint.remote(), timeout=_TRACKER_ANSWERS_WITHIN_S)
                self._tracker_answered = time.monotonic()
            except (ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnavailableError):
                pass
            except ray.exceptions.RayTaskError as error:
                # It is there and cannot open, such as while its store is away; the next call tries again.
                self._tracker_answered = time.monotonic()
                _log.warning("the tracker cannot open: %s", error.cause)
            except Exception as error:
                self._tracker_lost = str(error)
                return
            time.sleep(_ASK_TRACKER_EVERY_S)

    def _watch_supervisor(self) -> None:
        """When the supervisor dies, start its replacement if there is a command for it, and end this run."""
        with suppress(OSError):
            while self._line.recv(1024):
                pass
        # If everything is being killed at once, this process dies here too, and starts no replacement.
        time.sleep(_ORPHAN_PATIENCE_S)
        if self._order.replacement:
            _log.warning("the supervisor has died: starting another one")
            subprocess.Popen(
                self._order.replacement, stdin=subprocess.DEVNULL, start_new_session=True, env=self._environment
            )
            # The replacement ends this run, unless `pixyz down` or `pixyz up` was called first.
            time.sleep(_REPLACEMENT_PATIENCE_S)
        else:
            _log.error("the supervisor has died: the platform ends")
        end_marked(self._order.session, patience_s=3.0)
        os._exit(1)


def _start_ray(settings: Settings, options: Options, folder: Path, session: str) -> dict[str, Any]:
    """Start or join Ray; return where its control service and this node's raylet answer."""
    cpus = options.num_cpus or settings.concurrent_tasks or os.cpu_count() or 1
    # A Ray that is joined has its own token and network; it was started without our variables.
    joined = {"env_vars": worker_environment(settings)} if options.address else None
    own = driver_environment(settings) if options.address else ray_environment(settings, session, folder, cpus)
    os.environ.update(own)
    make_shared_folder(settings.share_path)
    # Only now: Ray and Serve read their environment when they are imported.
    import ray

    with _known_errors():
        if options.address:
            ray.init(
                address=options.address,
                namespace=NAMESPACE,
                runtime_env=joined,
                log_to_driver=False,
                configure_logging=False,
            )
        else:
            ray.init(
                num_cpus=cpus,
                namespace=NAMESPACE,
                include_dashboard=options.dashboard,
                log_to_driver=False,
                configure_logging=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(ray_folder(folder)),
            )
    context = ray.get_runtime_context()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    node = next(node for node in nodes if node["NodeID"] == context.get_node_id())
    return {
        "ray_address": str(context.gcs_address),
        "raylet_address": f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}",
    }


def _start_platform(settings: Settings, folder: Path) -> Any:
    """Start tracker and HTTP service side by side; return the tracker's handle."""
    import ray

    from pixyz_ray.cluster.actor import make_tracker

    with _known_errors():
        tracker = make_tracker(settings)
        opened = tracker.endpoint.remote()
        token_sha256 = hashlib.sha256(local_token(folder).encode()).hexdigest()
        _deploy(settings, token_sha256)
        ray.get(opened)
    return tracker


def _deploy(settings: Settings, token_sha256: str) -> None:
    # Found by name, as Serve would: the engine's side never imports the HTTP side.
    from importlib import import_module

    import_module("serve_app.deployment").deploy(settings, token_sha256)


@contextmanager
def _known_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise InternalError(f"The platform did not start: {error}") from error


def _shut_down() -> None:
    with suppress(Exception):
        import ray

        ray.shutdown()


def main() -> None:
    """Run as a program: the order comes through standard input, the descriptor of the connection as an argument."""
    environment = {name: value for name, value in os.environ.items() if name not in (SESSION_MARK, SUPERVISOR)}
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    order: DriverOrder = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by the supervisor, this process's parent
    configure_logging(order.settings.log_level, order.settings.log_format)
    driver = Driver(order, line, environment)
    try:
        driver.run()
    except PixyzException as error:
        driver.fail(error)
        sys.exit(1)
    finally:
        _shut_down()


if __name__ == "__main__":
    # Unpickling needs the classes under the module's own name, not under that of the program.
    from pixyz_ray.cluster.driver import main as run_main

    run_main()
