"""What a worker is told of the attempt that it is to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """What a worker needs to know to run one attempt."""

    uuid: str
    """The job."""
    attempt: int
    """Number of this run, 1 for the first."""
    share: str
    """SHARE_PATH."""
    script: str
    """File name of the script in the job's script folder."""
    digest: str
    """SHA-256 (hex) of the script as it was accepted."""
    entrypoint: str
    """Function to call."""
    params: Any
    """JSON value for the function, or the pickle of another one as text."""
    params_packed: bool = False
    """Whether `params` is a pickle."""
    packed: Mapping[str, str] = field(default_factory=dict)
    """Values of the context that are not JSON, pickled, by key."""
    input_file: str | None = None
    """File name of the input in the job's inputs folder; of a task of a graph, its path: relative to the share, or
    absolute for a file elsewhere."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """What the context takes over: root_file, compute_only, raw, data, keys of the script's own; `params`: those of the
    context that a task was made from, over which its own are merged."""
    queue: str = "cpu"
    """Queue that it runs on."""
    wait: bool = False
    """Whether a handle that the script returns is waited for."""
    wait_timeout: float | None = None
    """Seconds for that; None for no limit of its own."""
    home: str | None = None
    """Job whose folder has the script, for a node of a graph; its own when None."""
    parent_id: str | None = None
    """Job whose script started this one."""
    name: str = ""
    """Name of the job."""
    requested: float = 0.0
    """When it was asked for, in seconds since the epoch."""
    time_limit: float | None = None
    """Seconds that the attempt may take."""
    hands_on: bool = False
    """Whether another node gets what this one returns."""
    calls: Sequence[Mapping[str, Any]] = ()
    """Calls of a part, made one after another: `entrypoint`, `params`, `config` and maybe `wait` of each."""
    memory_limit: int = 0
    """Bytes that its processes may take together; 0 for no limit."""
    gpus: float = 0.0
    """GPUs that Ray has reserved for it."""
    gpu_memory: int = 0
    """Bytes that its processes may take together on one GPU; 0 for no limit."""
    max_log_bytes: int = 0
    """Size of its log; 0 for no limit."""
    max_result_bytes: int = 0
    """Size of its result as JSON; 0 for no limit."""
    max_growth: int = 0
    """Bytes by which the worker may have grown over its jobs; 0 for any."""
    may_overlap: bool = False
    """Whether an earlier attempt may still run, on a machine that is lost."""
    endpoint: tuple[str, int, str] | None = None
    """Host, port and secret of the tracker that the watchdog reports to; None where there is no tracker."""
