"""Whether Ray's autoscaler can add machines with GPUs; an autoscaler on another machine is not seen."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import ray

_log = logging.getLogger(__name__)
_OPTION = "--autoscaling-config="


def gpus_are_expected() -> bool:
    """Return whether the autoscaler of this cluster has a node type with GPUs, of which it may start one."""
    try:
        return _reported() or any(_declares_gpus(path) for path in _config_files())
    except Exception:
        _log.exception("the autoscaler's node types cannot be read; GPU_EXPECTED says whether machines with GPUs join")
        return False


def _reported() -> bool:
    """Return whether the cluster's configuration, which some autoscalers leave with Ray, has GPUs."""
    largest = ray._private.state.state.get_max_resources_from_cluster_config() or {}
    return bool(largest.get("GPU"))


def _config_files() -> list[Path]:
    """Return the configuration files of the autoscalers of this cluster that run on this machine."""
    address = f"--gcs-address={ray.get_runtime_context().gcs_address}"
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = process.cmdline()
            if address in line:
                found += [Path(part.removeprefix(_OPTION)) for part in line if part.startswith(_OPTION)]
    return found


def _declares_gpus(path: Path) -> bool:
    import yaml  # type: ignore[import-untyped]  # Ray's own dependency

    try:
        config = yaml.safe_load(path.expanduser().read_text(encoding="utf-8"))
    except OSError:
        return False
    return has_gpu_type(config)


def has_gpu_type(config: Any) -> bool:
    """Return whether the configuration of `ray up` has a node type with GPUs, of which there may be one."""
    if not isinstance(config, dict) or config.get("max_workers", 1) == 0:
        return False
    types = config.get("available_node_types") or {}
    return any(
        isinstance(kind, dict) and (kind.get("resources") or {}).get("GPU", 0) > 0 and kind.get("max_workers", 1) != 0
        for kind in types.values()
    )
