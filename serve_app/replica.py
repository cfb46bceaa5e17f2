"""The replica: the process in which Serve runs the HTTP service on one machine."""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.cluster.tracker_driver import TrackerOrder, ensure_driver
from pixyz_ray.home import home, local_token
from pixyz_ray.logs import configure_logging
from pixyz_ray.private_files import secure_home, use_share_mask
from pixyz_ray.settings import Settings
from serve_app.application import build_app
from serve_app.connections import limits_of, raise_descriptor_limit
from serve_app.errors import error_response
from serve_app.http_server import HttpServer
from serve_app.listening import listening_host
from serve_app.readiness import follow_readiness
from serve_app.serve_fixes import keep_grpc_on_node_address
from serve_app.share_gate import ShareGate

GRACE_S = 2.0
"""Seconds for which requests in progress may go on when a replica stops."""
SUCCESSOR_WITHIN_S = 15.0
"""Seconds for which a replica that is replaced keeps serving until its successor is ready."""
_DRIVER_EVERY_S = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReplicaOptions:
    """Options that the deployment gives to a replica."""

    settings: Settings
    """The platform's settings."""
    local_token_sha256: str | None
    """Digest (hex) of the token of the head's home; None when the replica on the head is to read it there."""
    on_head: bool
    """Whether this is the replica on the head: it stays open when it is not ready, to say why."""
    makes_tracker: bool = False
    """Whether it starts the tracker's driver; `pixyz up` has one of its own."""


class ApiReplica:
    """Opens the HTTP service's port on its machine; requests do not pass through Serve.

    Args:
        options: what it serves.
        others: the deployment of the other replicas, so that it belongs to the application.
    """

    def __init__(self, options: ReplicaOptions, *_others: Any) -> None:
        # Called by Serve before it opens any port of this process.
        keep_grpc_on_node_address()
        use_share_mask()
        settings = options.settings
        configure_logging(settings.log_level, settings.log_format)
        self._settings = settings
        self._on_head = options.on_head
        token_sha256 = options.local_token_sha256
        if token_sha256 is None:
            token_sha256 = _own_token_sha256() if options.on_head else ""
        if options.makes_tracker:
            self._ended = _keep_tracker_driver(settings)
        engine = Engine(settings)
        app = build_app(engine, token_sha256)
        self._server = HttpServer(
            lambda: app if options.on_head else ShareGate(app, engine),
            limits_of(settings, raise_descriptor_limit()),
            host=settings.api_host if options.on_head else listening_host(settings.api_host, _address()),
            port=settings.api_port,
            grace_s=GRACE_S,
        )
        self._server.start()
        if not options.on_head:
            self._server.spawn(follow_readiness(engine, self._server))

    async def __call__(self, _request: Any) -> Any:
        """Answer a request that came through Serve's proxy."""
        where = f"port {self._settings.api_port} of the machines that it runs on (API_PORT)"
        return error_response(421, f"The service is not behind Ray Serve's proxy: send the request to {where}.")

    def check_health(self) -> None:
        """Raise if the HTTP server does not answer; Serve then replaces this replica.

        A tracker or a share that cannot be reached is no reason: another replica here could not reach it either.
        """
        self._server.check()

    def __del__(self) -> None:
        """Stop serving (called by Serve before it ends the process)."""
        ended, server = getattr(self, "_ended", None), getattr(self, "_server", None)
        if ended is not None:
            # From now on the successor decides about the tracker's driver.
            ended.set()
        if server is not None:
            hands_over = self._on_head and _is_replaced()
            server.stop(successor_within_s=SUCCESSOR_WITHIN_S if hands_over else 0.0)


def _is_replaced() -> bool:
    """Return whether this replica stops for a new version of the application, rather than with the application."""
    try:
        found = serve.status().applications.get(serve.get_replica_context().app_name)
    except Exception:
        return False
    return found is not None and found.status == "DEPLOYING"


def _address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _own_token_sha256() -> str:
    folder = home()
    for note in secure_home(folder):
        _log.warning("%s", note)
    return hashlib.sha256(local_token(folder).encode()).hexdigest()


def _keep_tracker_driver(settings: Settings) -> threading.Event:
    """Start the tracker's driver, and again whenever it has ended, until the returned event is set."""
    order = TrackerOrder(
        settings=settings,
        address=str(ray.get_runtime_context().gcs_address),
        application=serve.get_replica_context().app_name,
        folder=home(),
    )

    ended = threading.Event()

    def keep() -> None:
        while not ended.is_set():
            try:
                if ensure_driver(order):
                    _log.warning("started the tracker's driver; its log is tracker-driver.log in %s", order.folder)
            except OSError as error:
                _log.error("the tracker's driver cannot be started: %s", error)
            ended.wait(_DRIVER_EVERY_S)

    threading.Thread(target=keep, name="tracker-driver", daemon=True).start()
    return ended
