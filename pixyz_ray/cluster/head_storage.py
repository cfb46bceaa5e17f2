"""Whether Ray's head keeps its tables on disk or in Redis, so that its cluster survives a restart of the head."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import psutil

_GCS = "gcs_server"
_PORT, _CONFIG = "--gcs_server_port=", "--config_list="
_STORAGE, _REDIS = "gcs_storage", "--redis_address="

NOTE = (
    "Ray's head keeps its tables in memory: when it is restarted, Ray on the other machines has to be restarted too. "
    "No job is lost. Start the head with RAY_gcs_storage=rocksdb and RAY_gcs_storage_path=FOLDER, as the systemd unit "
    "and cluster.yaml do (docs/cluster.md)."
)


def storage_note(address: str) -> str | None:
    """Return a note for the operator when the head of a cluster, on this machine, keeps its tables in memory alone.

    Args:
        address: `host:port` of the head's control service.

    Returns:
        None when they are kept elsewhere too, or when the head is another machine, which cannot be asked.
    """
    for command, environment in _control_services():
        if f"{_PORT}{address.rpartition(':')[2]}" in command:
            return None if is_kept(command, environment) else NOTE
    return None


def is_kept(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether a control service keeps its tables in Redis or RocksDB.

    Args:
        command: its command line.
        environment: its variables; the system configuration on the command line takes precedence.
    """
    if any(word.startswith(_REDIS) for word in command):
        return True
    storage = environment.get(f"RAY_{_STORAGE}", "memory")
    for word in command:
        if word.startswith(_CONFIG):
            with suppress(ValueError):
                storage = json.loads(base64.b64decode(word.removeprefix(_CONFIG))).get(_STORAGE, storage)
    return storage != "memory"


def _control_services() -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield command line and environment of the control services that this user runs on this machine."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == _GCS:
                yield process.cmdline(), process.environ()
