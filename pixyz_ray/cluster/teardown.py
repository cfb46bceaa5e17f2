"""Stop what `pixyz up` has started on a Ray cluster that goes on: tracker, attempts, HTTP service. Nothing else.

The driver does this when it is told to stop. Run as a program, it does it for a driver that was killed.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from pixyz_ray.cluster.names import APPLICATION, NAMESPACE
from pixyz_ray.cluster.ray_access import access_mode, cluster_address
from pixyz_ray.failure import STOPPED
from pixyz_worker.exception import PixyzException

_SERVE = "serve"
"""Namespace of Serve's controller."""


def stop_platform(*, drain_s: float, owns_serve: bool, note: Callable[[str], None]) -> bool:
    """Stop the platform on the cluster that this process is connected to; return whether one was there.

    The processes of running attempts end with the tracker, on whatever machine: Ray ends a task whose owner is gone,
    and the watchdogs what its script has started.

    Args:
        drain_s: seconds that running attempts are given; 0 to run them again after the next start.
        owns_serve: whether the platform has started Serve, and stops it unless another application uses it.
        note: told what is going on.
    """
    # Ray reads its environment when it is imported.
    from pixyz_ray.cluster import takeover

    tracker = takeover.find_tracker()
    if tracker is not None:
        about = takeover.about_tracker(tracker, timeout_s=2.0)
        if drain_s > 0 and about is not None:
            takeover.drain_tracker(tracker, drain_s, STOPPED, note)
        # Before the service, so that nothing is accepted any more of which the caller would not hear.
        takeover.end_tracker(tracker, about)
    return stop_service(owns_serve=owns_serve) or tracker is not None


def serve_is_running() -> bool:
    """Return whether Serve runs on the cluster, whoever has started it."""
    import ray

    return any(actor["namespace"] == _SERVE for actor in ray.util.list_named_actors(all_namespaces=True))


def stop_service(*, owns_serve: bool) -> bool:
    """Stop the HTTP service, and Serve if it is ours and nobody else uses it; return whether there was a service."""
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    applications = set(serve.status().applications)
    if owns_serve and applications <= {APPLICATION} and serve_is_running():
        serve.shutdown()  # type: ignore[no-untyped-call]
    elif APPLICATION in applications:
        serve.delete(APPLICATION)
    return APPLICATION in applications


def main() -> None:
    """Run as a program, for `pixyz down` where no driver is left; its arguments are one JSON object."""
    given = json.loads(sys.argv[1])
    try:
        address = cluster_address(given["address"])
        # Whatever its safety: what runs there is to be stopped.
        os.environ["RAY_AUTH_MODE"] = access_mode(address, insecure=True)
    except PixyzException as error:
        sys.exit(str(error))
    import ray

    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    found = stop_platform(
        drain_s=given["drain_s"], owns_serve=given["owns_serve"], note=lambda text: print(text, flush=True)
    )
    with suppress(Exception):
        ray.shutdown()
    sys.exit(0 if found else NOTHING_THERE)


NOTHING_THERE = 3
"""Exit code when no platform is on the cluster."""


if __name__ == "__main__":
    main()
