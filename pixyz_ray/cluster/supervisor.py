"""The supervisor: starts Ray, the tracker and Serve on this machine, stays as their driver, and takes them down.

It must stay: tasks of an actor whose driver has gone lose their warm workers (a second more for every job). Ray's
processes are its children and end with it, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.environment import ray_environment
from pixyz_ray.cluster.names import APPLICATION, NAMESPACE
from pixyz_ray.cluster.ray_folder import clear_ray_folder, ray_folder
from pixyz_ray.home import Platform, forget_platform, home, local_token, read_platform, write_platform
from pixyz_ray.private_files import make_process_private, make_shared_folder, secure_home
from pixyz_ray.reaper import end_marked
from pixyz_ray.settings import Settings
from pixyz_ray.version import VERSION
from pixyz_worker.exception import InternalError, PixyzException

_log = logging.getLogger("pixyz")
_CHECK_EVERY_S = 2.0


class AlreadyRunning(PixyzException):
    """Another supervisor has this home."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `pixyz up` was asked for."""

    address: str | None = None
    """Ray cluster to join; one of our own is started when None."""
    num_cpus: int | None = None
    """CPUs offered to tasks."""
    dashboard: bool = False
    """Whether Ray's dashboard runs, which `ray job submit` needs."""


def supervise(settings: Settings, options: Options) -> None:
    """Start the platform and stay until SIGTERM or SIGINT.

    Raises:
        AlreadyRunning: another supervisor has this home.
        InternalError: something did not start; what did is taken down again.
    """
    make_process_private(settings.share_umask)
    secure_home(folder := home())
    stop = threading.Event()
    with _only_one(folder):
        _clear_up(folder)
        session = secrets.token_hex(8)
        try:
            ray_address = _start_ray(settings, options, folder, session)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            tracker = _start_platform(settings, folder)
            platform = _describe(settings, folder, session, ray_address)
            write_platform(platform)
            _announce(platform, settings)
            _watch(settings, tracker, stop)
        finally:
            forget_platform(folder)
            _stop(session)


def _start_ray(settings: Settings, options: Options, folder: Path, session: str) -> str:
    cpus = options.num_cpus or settings.concurrent_tasks or os.cpu_count() or 1
    os.environ.update(ray_environment(settings, session, folder, cpus))
    make_shared_folder(settings.share_path)
    # Only now: Ray and Serve read their environment when they are imported.
    import ray

    if options.address:
        ray.init(address=options.address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
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
    return str(ray.get_runtime_context().gcs_address)


def _start_platform(settings: Settings, folder: Path) -> Any:
    """Start tracker and HTTP service side by side; return the tracker's handle."""
    import ray
    from ray import serve

    from pixyz_ray.cluster.actor import make_tracker

    # Serve announces the proxy's port, which is not where the service is.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    tracker = make_tracker(settings)
    opened = tracker.endpoint.remote()
    # Serve wants a proxy although the replica serves by itself; any port will do for it, on loopback.
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": "127.0.0.1", "port": 0},
        logging_config={"log_level": settings.log_level, "enable_access_log": False},
    )
    token_sha256 = hashlib.sha256(local_token(folder).encode()).hexdigest()
    with _known_errors():
        serve.run(_deployment(settings, token_sha256), name=APPLICATION, route_prefix="/")
        ray.get(opened)
    return tracker


def _deployment(settings: Settings, token_sha256: str) -> Any:
    # Found by name, as Serve would: the engine's side never imports the HTTP side.
    from importlib import import_module

    return import_module("serve_app.app").deployment(settings, token_sha256)


@contextmanager
def _known_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise InternalError(f"The platform did not start: {error}") from error


def _describe(settings: Settings, folder: Path, session: str, ray_address: str) -> Platform:
    return Platform(
        url=f"http://{settings.api_host}:{settings.api_port}",
        token=local_token(folder),
        pid=os.getpid(),
        started=time.time(),
        version=VERSION,
        ray_address=ray_address,
        session=session,
    )


def _announce(platform: Platform, settings: Settings) -> None:
    print(f"Pixyz on Ray {VERSION} is up at {platform.url} (Ray at {platform.ray_address}).")
    print("On this machine no token is needed: try  pixyz list")
    if settings.god_password_sha256 is None:
        print(f"Elsewhere, send the token in {home() / 'token'} as header x-api-key, or with  pixyz -k TOKEN")
    print(f"Files of jobs: {settings.share_path}. Stop with  pixyz down", flush=True)


def _watch(settings: Settings, tracker: Any, stop: threading.Event) -> None:
    """Stay until told to stop. Ray restarts tracker and replica; calling the tracker makes it take up its jobs."""
    import ray

    while not stop.wait(_CHECK_EVERY_S):
        try:
            ray.get(tracker.endpoint.remote(), timeout=30)
        except ray.exceptions.GetTimeoutError:
            _log.warning("the tracker does not answer")
        except ray.exceptions.ActorUnavailableError:
            continue
        except ray.exceptions.RayError as error:
            raise InternalError(f"The tracker is gone for good: {error}") from error


def _stop(session: str) -> None:
    """Take everything down, and make sure of it."""
    with suppress(Exception):
        import ray

        ray.shutdown()
    end_marked(session, patience_s=3.0)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / "supervisor.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            running = read_platform(folder)
            where = f" at {running.url}" if running else ""
            raise AlreadyRunning(f"The platform is up already{where}. Stop it with  pixyz down") from None
        yield


def _clear_up(folder: Path) -> None:
    """End what an earlier run that was killed may have left, and remove old logs of Ray."""
    left = read_platform(folder)
    if left is not None:
        end_marked(left.session, patience_s=1.0)
        forget_platform(folder)
    clear_ray_folder(folder)


def main() -> None:
    """Run the supervisor as a program of its own (`pixyz up --detach` starts it so)."""
    from pixyz_ray.cluster.up import parse_arguments

    settings, options = parse_arguments(sys.argv[1])
    try:
        supervise(settings, options)
    except PixyzException as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
