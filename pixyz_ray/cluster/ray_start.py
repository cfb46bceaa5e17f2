"""Start a Ray of our own on this machine, or join a cluster that others have started."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from pixyz_ray.cluster.driver_order import Options
from pixyz_ray.cluster.environment import (
    cluster_config,
    driver_environment,
    environment_messages,
    environment_problems,
    ray_environment,
    worker_environment,
)
from pixyz_ray.cluster.head_storage import storage_note
from pixyz_ray.cluster.names import NAMESPACE
from pixyz_ray.cluster.ray_access import access_mode, cluster_address
from pixyz_ray.cluster.ray_folder import ray_folder
from pixyz_ray.private_files import make_shared_folder
from pixyz_ray.settings import Settings
from pixyz_worker.exception import InternalError, PixyzException

_log = logging.getLogger("pixyz.driver")


def start_ray(settings: Settings, options: Options, folder: Path, session: str) -> dict[str, Any]:
    """Start or join Ray; return where its control service and this node's raylet answer, and this node's address."""
    cpus = options.num_cpus or settings.concurrent_tasks or os.cpu_count() or 1
    address = None if options.address is None else _join(settings, options.address, insecure=options.insecure)
    if address is None:
        os.environ.update(ray_environment(settings, session, folder, cpus))
    make_shared_folder(settings.share_path)
    # Only now: Ray and Serve read their environment when they are imported.
    import ray

    with known_errors():
        if address is not None:
            ray.init(
                address=address,
                namespace=NAMESPACE,
                runtime_env={"env_vars": worker_environment(settings)},
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
    if address is not None:
        for message in environment_messages(environment_problems(settings, _raylet_environment(), cluster_config())):
            _log.warning("%s", message)
    context = ray.get_runtime_context()
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    node = next(node for node in nodes if node["NodeID"] == context.get_node_id())
    return {
        "ray_address": str(context.gcs_address),
        "raylet_address": f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}",
        "node_address": node["NodeManagerAddress"],
    }


def _join(settings: Settings, address: str, *, insecure: bool) -> str:
    """Prepare this process for a cluster that others have started; return the address of its GCS."""
    found = cluster_address(address)
    os.environ.update(driver_environment(settings))
    os.environ["RAY_AUTH_MODE"] = access_mode(found, insecure=insecure)
    # Merge with the runtime environment of `ray job submit`; the platform's settings take precedence.
    os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"
    if (note := storage_note(found)) is not None:
        _log.warning("%s", note)
    return found


def _raylet_environment() -> dict[str, str]:
    """Return what this machine's raylet was started with; empty where it cannot be read."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "raylet":
                return dict(process.environ())
    return {}


@contextmanager
def known_errors() -> Iterator[None]:
    """Turn any error of Ray in the block into one of the platform, with its message."""
    try:
        yield
    except PixyzException:
        raise
    except Exception as error:
        raise InternalError(f"The platform did not start: {error}") from error
