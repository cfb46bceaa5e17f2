"""The environment that Ray and Serve are started in on one machine; each variable has its reason beside it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from pixyz_ray.home import private_folder, write_private
from pixyz_ray.settings import Settings

SESSION_MARK = "PIXYZ_SESSION"
"""Variable that every process of a platform carries, so that `pixyz down` ends those and no others."""


def ray_environment(settings: Settings, session: str, folder: Path, cpus: int) -> dict[str, str]:
    """Return the variables for Ray's processes.

    Args:
        settings: the platform's settings.
        session: random mark of this run.
        folder: the platform's home.
        cpus: CPUs offered to tasks.
    """
    return {
        SESSION_MARK: session,
        # The replica itself listens on the service's port. Serve's proxy would put 4-5 ms before each request, and
        # its HAProxy listens on all interfaces. One replica and no quarantine: whoever replaces it takes the same
        # port again.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(settings.api_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(settings.api_port + 1),
        "RAY_SERVE_PORT_QUARANTINE_S": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.ingress:middlewares",
        # Loopback only, and a token for whoever else is on this machine.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(_ray_token(folder)),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Jobs are what this machine is for: no niceness, and their warm workers are kept.
        "RAY_worker_niceness": "0",
        "RAY_num_workers_soft_limit": str(cpus + 2),
        # What goes wrong in a task is in the job's own record and log.
        "RAY_LOG_TO_DRIVER": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_COLOR_PREFIX": "0",
    }


def ray_folder(folder: Path) -> Path:
    """Return the folder of Ray's sockets and logs, short enough for the name of a Unix socket."""
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    return private_folder(Path(tempfile.gettempdir()) / f"pixyz-{os.getuid()}-{digest}")


def _ray_token(folder: Path) -> Path:
    path = folder / "ray-token"
    if not path.is_file():
        write_private(path, os.urandom(32).hex())
    return path
