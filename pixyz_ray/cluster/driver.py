"""The driver process: starts or joins Ray, starts the tracker and Serve, and stays connected to them.

It must keep running: tasks of an actor whose driver has exited lose their warm workers, which costs each job a
second. A Ray that it has started is made of its children, which end with it, however it ends. What it has started on
a cluster that it joined it stops itself. The supervisor starts it, watches it, and replaces it.
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
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixyz_ray.cluster.driver_order import MAX_MESSAGE_BYTES, DriverOrder
from pixyz_ray.cluster.liveness import SUPERVISOR
from pixyz_ray.cluster.ray_start import known_errors, start_ray
from pixyz_ray.cluster.readiness import wait_until_ready
from pixyz_ray.cluster.teardown import serve_is_running, stop_platform, stop_service
from pixyz_ray.failure import STOPPED, UPGRADED
from pixyz_ray.home import local_token
from pixyz_ray.logs import configure_logging
from pixyz_ray.port import local_url
from pixyz_ray.reaper import SESSION_MARK, end_marked
from pixyz_ray.settings import Settings
from pixyz_ray.stop_request import StopRequest
from pixyz_worker.exception import InternalError, PixyzException

if TYPE_CHECKING:
    from pixyz_ray.cluster.takeover import Takeover

_log = logging.getLogger("pixyz.driver")
_BEAT_EVERY_S = 1.0
_ASK_TRACKER_EVERY_S = 2.0
_TRACKER_ANSWERS_WITHIN_S = 5.0
_ORPHAN_PATIENCE_S = 0.5
_REPLACEMENT_PATIENCE_S = 20.0
_ORPHAN_STOP_S = 30.0
_REQUEST_PATIENCE_S = 0.3
_READY_WITHIN_S = 30.0
_MAX_ERROR_CHARS = 10_000


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
        self._request: StopRequest | None = None
        self._requested = threading.Event()
        self._owns_serve = False
        self._tracker: Any = None
        self._is_kept = False
        self._tracker_answered = time.monotonic()
        self._tracker_lost: str | None = None

    def run(self) -> None:
        """Start everything, send a heartbeat every second until SIGTERM, and stop what was started on a joined cluster.

        Raises:
            InternalError: something did not start, or the tracker has failed and Ray does not restart it.
        """
        threading.Thread(target=self._watch_supervisor, daemon=True).start()
        order = self._order
        addresses = start_ray(order.settings, order.options, order.folder, order.session)
        if order.options.address is not None:
            # No other process would stop a platform that is half started.
            self._stop_when_told()
        self._start_platform(addresses["ray_address"])
        self._stop_when_told()
        self._tell("up", {**addresses, "owns_serve": self._owns_serve})
        self._tracker_answered = time.monotonic()
        threading.Thread(target=self._attend_tracker, daemon=True).start()
        while not self._stop.wait(_BEAT_EVERY_S):
            if self._tracker_lost is not None:
                raise InternalError(f"The tracker is gone for good: {self._tracker_lost}")
            self._tell("beat", {"tracker_silent_s": time.monotonic() - self._tracker_answered})
        self._requested.wait(_REQUEST_PATIENCE_S)
        self._end(self._request or StopRequest())

    def _stop_when_told(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())

    def _start_platform(self, ray_address: str) -> None:
        """Start the platform, and return when its HTTP service answers; a platform that does not start is stopped."""
        try:
            self._start_parts(ray_address)
            settings = self._order.settings
            url = local_url(settings.api_host, settings.api_port)
            if (problem := wait_until_ready(url, deadline_s=_READY_WITHIN_S)) is not None:
                self._note(f"the HTTP service answers, and says that {problem}")
        except PixyzException:
            if self._order.options.address is not None and self._tracker is not None:
                stop_platform(drain_s=0.0, owns_serve=self._owns_serve, note=self._note)
            raise

    def _start_parts(self, ray_address: str) -> None:
        """Start tracker and HTTP service side by side; on a cluster that was joined, they may be there already."""
        import ray

        from pixyz_ray.cluster.actor import make_tracker

        order = self._order
        with known_errors():
            if order.options.address is None:
                self._tracker, self._owns_serve = make_tracker(order.settings), True
            else:
                taken = self._take_over()
                self._tracker, self._is_kept = taken.tracker, taken.is_kept
                self._owns_serve = order.owns_serve_at == ray_address or not serve_is_running()
                self._make_way(taken)
            opened = self._tracker.attend.remote(self._name())
            _start_service(order.settings, order.folder)
            ray.get(opened)

    def _take_over(self) -> Takeover:
        from pixyz_ray.cluster.takeover import take_over

        options = self._order.options
        return take_over(
            self._order.settings, self._name(), replace=options.replace, drain_s=options.drain_s, note=self._note
        )

    def _make_way(self, taken: Takeover) -> None:
        """Stop an HTTP service on another port: the controller of Serve cannot change its ports while it runs."""
        settings = self._order.settings
        if taken.service is not None and taken.service[1] != settings.api_port:
            stop_service(owns_serve=self._owns_serve)

    def _end(self, request: StopRequest) -> None:
        """Stop the platform in order; Ray itself, where it is ours, ends with this process."""
        from pixyz_ray.cluster.takeover import drain_tracker

        if self._order.options.address is None:
            if request.drain_s > 0:
                message = UPGRADED if request.upgrade else STOPPED
                drain_tracker(self._tracker, request.drain_s, message, self._note)
        elif not request.leave:
            stop_platform(drain_s=request.drain_s, owns_serve=self._owns_serve, note=self._note)

    def _name(self) -> str:
        """Return how messages on other machines name this driver."""
        return f"the supervisor of {self._order.folder} on {socket.gethostname()}"

    def fail(self, error: BaseException) -> None:
        """Tell the supervisor why this process ends."""
        self._tell("failed", {"error": str(error)[-_MAX_ERROR_CHARS:]})

    def _tell(self, kind: str, values: dict[str, Any]) -> None:
        # A frozen supervisor reads nothing. When the buffer is full, drop the message: the next one supersedes it.
        with suppress(OSError):
            self._line.send(json.dumps({"kind": kind, **values}).encode(), socket.MSG_DONTWAIT)

    def _note(self, text: str) -> None:
        self._tell("note", {"text": text})

    def _attend_tracker(self) -> None:
        """Call the tracker every two seconds; the call also makes a restarted tracker recover its jobs."""
        import ray

        while not self._stop.is_set():
            try:
                ray.get(self._tracker.attend.remote(self._name()), timeout=_TRACKER_ANSWERS_WITHIN_S)
                self._tracker_answered = time.monotonic()
                if self._is_kept:
                    self._renew_when_idle()
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

    def _renew_when_idle(self) -> None:
        """Replace a tracker of an earlier driver once it has nothing to do.

        It works; but Ray keeps no warm workers for the tasks of a driver that is gone, which costs each job a second.
        """
        from pixyz_ray.cluster import takeover
        from pixyz_ray.cluster.actor import make_tracker

        about = takeover.about_tracker(self._tracker)
        if about is None or not about["idle"]:
            return
        takeover.drain_tracker(self._tracker, 0.0, STOPPED, self._note)
        takeover.end_tracker(self._tracker, about)
        self._tracker, self._is_kept = make_tracker(self._order.settings), False
        _log.info("the earlier tracker had nothing to do: another one has taken its place")

    def _watch_supervisor(self) -> None:
        """Take the request to stop; when the supervisor dies, start its replacement if there is a command for it."""
        with suppress(OSError):
            while message := self._line.recv(MAX_MESSAGE_BYTES):
                self._request = StopRequest(**json.loads(message))
                self._requested.set()
        if self._stop.is_set():
            # The main thread is stopping everything.
            time.sleep(_ORPHAN_STOP_S + (self._request.drain_s if self._request else 0.0))
            os._exit(1)
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
            if self._order.options.address is not None:
                self._stop.set()
                time.sleep(_ORPHAN_STOP_S)
        end_marked(self._order.session, patience_s=3.0)
        os._exit(1)


def _start_service(settings: Settings, folder: Path) -> None:
    """Start the HTTP service, or replace the one that is there."""
    token_sha256 = hashlib.sha256(local_token(folder).encode()).hexdigest()
    _deploy(settings, token_sha256)


def _deploy(settings: Settings, token_sha256: str) -> None:
    # Found by name, as Serve would: the engine's side never imports the HTTP side.
    from importlib import import_module

    import_module("serve_app.deployment").deploy(settings, token_sha256)


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
    main()
