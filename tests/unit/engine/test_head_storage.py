"""Whether a control service of Ray keeps its tables, by its command line and its environment."""

from __future__ import annotations

import base64
import json

import pytest

from pixyz_ray.cluster.head_storage import is_kept


def config(**values: str) -> str:
    """Return the option by which Ray passes its system configuration on."""
    return f"--config_list={base64.b64encode(json.dumps(values).encode()).decode()}"


@pytest.mark.parametrize(
    ("command", "environment", "expected"),
    [
        (["gcs_server", config()], {}, False),
        (["gcs_server", config()], {"RAY_gcs_storage": "memory"}, False),
        (["gcs_server", config()], {"RAY_gcs_storage": "rocksdb"}, True),
        (["gcs_server", config(gcs_storage="rocksdb")], {}, True),
        (["gcs_server", config(gcs_storage="memory")], {"RAY_gcs_storage": "rocksdb"}, False),
        (["gcs_server", "--redis_address=10.0.0.9", config()], {}, True),
        (["gcs_server", "--config_list=?"], {"RAY_gcs_storage": "rocksdb"}, True),
    ],
)
def test_storage_is_found(command: list[str], environment: dict[str, str], expected: bool) -> None:
    """Given a control service, when its command line and variables are read, then the place of its tables is known."""
    assert is_kept(command, environment) is expected
