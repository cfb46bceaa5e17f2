"""The environment that Ray and Serve are started in on one machine; each variable has its reason beside it."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import fields
from pathlib import Path

from pixyz_ray.cluster.ray_folder import ray_folder
from pixyz_ray.home import home, write_private
from pixyz_ray.private_files import PRIVATE_MASK, SHARE_MASK, share_mask
from pixyz_ray.reaper import SESSION_MARK
from pixyz_ray.settings import Settings, read_settings
from pixyz_ray.watchdog.machine import THRESHOLD
from pixyz_worker.exception import PixyzSecurityViolation
from pixyz_worker.kernel.limits import Limits

_SPILLING = "RAY_object_spilling_directory"


def ray_environment(settings: Settings, session: str, folder: Path, cpus: int) -> dict[str, str]:
    """Return the variables for Ray's processes on a machine of its own.

    Args:
        settings: the platform's settings.
        session: random mark of this run.
        folder: the platform's home.
        cpus: CPUs offered to tasks.
    """
    return {
        **cluster_environment(settings),
        SESSION_MARK: session,
        # Loopback only, and a token against whoever else is on this machine.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(_ray_token(folder)),
        # The warm workers of the jobs are kept; two more serve those that change their needs.
        "RAY_num_workers_soft_limit": str(cpus + 2),
        # Objects that memory has no room for, unless the operator has set another folder.
        _SPILLING: os.environ.get(_SPILLING) or str(ray_folder(folder) / "spilled"),
    }


def _sdk_environment(settings: Settings) -> dict[str, str]:
    """Return what the SDK reads on the workers, wherever the operator set it."""
    variables = {"SHARE_PATH": str(settings.share_path), "PROCESS_PATH": str(settings.process_path)}
    variables |= {
        name.upper(): str(int(value) if isinstance(value, bool) else value)
        for name in ("license_host", "license_port", "license_flexlm", "license_acquire_at_start", "disable_pixyz")
        if (value := getattr(settings, name)) is not None
    }
    if settings.pixyz_python_path is not None:
        path = [str(settings.pixyz_python_path), os.environ.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    return variables


def _limits_environment(settings: Settings) -> dict[str, str]:
    """Return what one input may cost, for the kernel and the archives of the workers."""
    return {field.name.upper(): str(getattr(settings, field.name)) for field in fields(Limits)}


def cluster_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that every node of a cluster is to be started with (see cluster.yaml)."""
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Half of what an idle platform costs: Serve's controller looks around ten times a second, Ray's agent counts
        # the machine's resources every five seconds.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
        "REPORTER_UPDATE_INTERVAL_MS": "30000",
        # Where memory runs short, Ray ends what it can start again first: tracker and HTTP service, before the job that
        # takes it all. The watchdogs end the largest attempt instead.
        "RAY_memory_monitor_refresh_ms": "0",
        THRESHOLD: str(settings.memory_threshold),
        SHARE_MASK: f"{share_mask(settings.share_umask):03o}",
        # Jobs are what the machines are for.
        "RAY_worker_niceness": "0",
        # A task that waits for others gives its CPU back, and the next one is to have it at once: Ray would hold that
        # back, by up to ten seconds for each task that waits.
        "RAY_worker_cap_enabled": "0",
        **_sdk_environment(settings),
        **_limits_environment(settings),
    }


def _ray_token(folder: Path) -> Path:
    path = folder / "ray-token"
    if not path.is_file():
        write_private(path, os.urandom(32).hex())
    return path


def _closed_folder() -> Path:
    try:
        return ray_folder(home()).parent
    except PixyzSecurityViolation as error:
        print("false")
        sys.exit(str(error))


def main() -> None:
    """Print the variables of a cluster's nodes for a shell: `eval "$(python -m pixyz_ray.cluster.environment)"`."""
    reading = read_settings()
    for note in reading.sources.notes:
        print(note, file=sys.stderr)
    if reading.settings is None:
        print("false")  # ends the line of shell commands that evaluates this
        sys.exit("\n".join(reading.sources.problems))
    # Parent of the folder `ray` that `ray start` makes world-writable.
    variables = {"RAY_TMPDIR": str(_closed_folder()), **cluster_environment(reading.settings)}
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    # Logs, sockets and spilled objects of the node are its user's; files on the share have a umask of their own.
    print(f"umask {PRIVATE_MASK:03o}")


if __name__ == "__main__":
    main()
