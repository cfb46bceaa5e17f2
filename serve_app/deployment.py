"""The Serve application: which replicas run where, and how `pixyz up` deploys it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Set
from typing import Any

import ray
from ray import serve

from pixyz_ray.cluster.names import APPLICATION
from pixyz_ray.settings import Settings
from pixyz_worker.exception import InternalError
from serve_app.replica import GRACE_S, SUCCESSOR_WITHIN_S, ApiReplica, ReplicaOptions

HEAD_DEPLOYMENT = "api"
"""Deployment of the replica on the head."""
OTHERS_DEPLOYMENT = "api-others"
"""Deployment of the replicas on other machines."""
_HEAD = {"node:__internal_head__": 0.001}
"""Resource that only the head has."""
_REPLICA_PREFIX = "SERVE_REPLICA::"
"""What Serve lets the names of its replicas' actors begin with."""
_UP_WITHIN_S = 100.0
_LOOK_EVERY_S = 0.05
_log = logging.getLogger("pixyz.driver")


def application(
    settings: Settings,
    local_token_sha256: str | None,
    *,
    makes_tracker: bool = False,
    env_vars: Mapping[str, str] | None = None,
) -> Any:
    """Return the Serve application.

    Args:
        settings: the platform's settings.
        local_token_sha256: digest (hex) of the token of the head's home; None when the replica there is to read it.
        makes_tracker: whether the replica on the head creates the tracker.
        env_vars: environment of the replicas, of the tracker that they create, and of its tasks; that of the Ray job
            where None.
    """
    options: dict[str, Any] = {"num_cpus": 0}
    if env_vars is not None:
        options["runtime_env"] = {"env_vars": dict(env_vars)}
    others = []
    if settings.api_replicas > 1:
        # Serve would put two replicas of one deployment anywhere; that of the head has to be there.
        elsewhere = {**options, "label_selector": {"ray.io/node-id": f"!in({_head_id()})"}}
        deployment = _deployment(OTHERS_DEPLOYMENT, elsewhere, settings.api_replicas - 1)
        others = [deployment.bind(_replica(settings, local_token_sha256, on_head=False))]
    on_head = _deployment(HEAD_DEPLOYMENT, {**options, "resources": _HEAD}, 1)
    return on_head.bind(_replica(settings, local_token_sha256, on_head=True, makes_tracker=makes_tracker), *others)


def _replica(settings: Settings, token_sha256: str | None, *, on_head: bool, makes_tracker: bool = False) -> Any:
    return ReplicaOptions(
        settings=settings, local_token_sha256=token_sha256, on_head=on_head, makes_tracker=makes_tracker
    )


def _deployment(name: str, actor_options: dict[str, Any], replicas: int) -> Any:
    # A replica takes no CPU from the jobs, and holds nothing that would be lost with it.
    made: Any = serve.deployment(
        ApiReplica,
        name=name,
        num_replicas=replicas,
        graceful_shutdown_timeout_s=SUCCESSOR_WITHIN_S + 2 * GRACE_S,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=2,
        health_check_timeout_s=10,
        ray_actor_options=actor_options,
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    # With a limit for each machine, Serve starts a successor only when the replica before it has ended. That of the
    # head hands its port over instead.
    return made if name == HEAD_DEPLOYMENT else made.options(max_replicas_per_node=1)


def _head_id() -> str:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return next(str(node["NodeID"]) for node in nodes if node["Alive"] and next(iter(_HEAD)) in node["Resources"])


def deploy(settings: Settings, local_token_sha256: str) -> None:
    """Deploy the application on the cluster that this process is connected to; return when the head's replica is up.

    Args:
        settings: the platform's settings.
        local_token_sha256: digest (hex) of the token of the head's home.

    Raises:
        InternalError: it cannot be deployed.
    """
    # Serve announces an address of its own, which is not where the service is.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    # Requests do not go through Serve, so that its proxies are not needed.
    serve.start(proxy_location="Disabled", logging_config={"log_level": settings.log_level, "enable_access_log": False})
    before = _head_replicas()
    target = serve.RunTarget(target=application(settings, local_token_sha256), name=APPLICATION, route_prefix="/")
    # Not until all of it runs: replicas that no machine has room for wait until one joins.
    serve.run_many([target], wait_for_applications_running=False)
    _wait_for_head(before)
    missing = settings.api_replicas - _machines()
    if missing > 0:
        _log.warning(
            "API_REPLICAS=%d, but the cluster has %d machines: the HTTP service runs on those, and on others when they "
            "join.",
            settings.api_replicas,
            settings.api_replicas - missing,
        )


def _wait_for_head(before: Set[str]) -> None:
    """Return when the replica on the head is up, and those that it replaces are gone."""
    deadline = time.monotonic() + _UP_WITHIN_S
    while True:
        found = serve.status().applications.get(APPLICATION)
        head = found and found.deployments.get(HEAD_DEPLOYMENT)
        # Serve shows the health of the replica before it until it has begun to replace that one.
        if head is not None and head.status == "HEALTHY" and not before & _head_replicas():
            return
        if found is not None and found.status == "DEPLOY_FAILED":
            raise InternalError(f"The HTTP service did not start: {head.message if head else found.message}")
        if time.monotonic() > deadline:
            message = head.message if head else "it was not deployed"
            raise InternalError(f"The HTTP service was not up after {_UP_WITHIN_S:g} s: {message}")
        time.sleep(_LOOK_EVERY_S)


def _head_replicas() -> Set[str]:
    """Return the names of the actors that are replicas on the head."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    prefix = f"{_REPLICA_PREFIX}{APPLICATION}#{HEAD_DEPLOYMENT}#"
    return {actor["name"] for actor in actors if actor["name"].startswith(prefix)}


def _machines() -> int:
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return sum(bool(node["Alive"]) for node in nodes)
