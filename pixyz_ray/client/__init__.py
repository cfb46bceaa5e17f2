"""HTTP client of the platform: submit a script, follow it, fetch what it made.

    from pixyz_ray.client import Client

    with Client() as client:
        job = client.submit("convert.py", input_file="bolt.step", params={"extension": "glb"})
        print(job.result(timeout=600))
        job.download("output.glb", "bolt.glb")

A function needs no script: `client.submit(function, 1, 2)`, and with `@task` it can be part of a graph:

    @task
    def add(a, b):
        return a + b

    client.run(chain(add.s(1, 2), add.s(10))).result()

On the machine that ran `pixyz up` neither a URL nor a token is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixyz_ray.client.address import Address, find_address
from pixyz_ray.client.api import Client
from pixyz_ray.client.errors import FileNotWritten, InvalidClientConfig, JobFailed, PlatformUnreachable, ServerBusy
from pixyz_ray.client.events import Event, LogEvent, StatusEvent, StepEvent
from pixyz_ray.client.graph_view import GraphView
from pixyz_ray.client.job_handle import JobHandle
from pixyz_ray.client.shapes import (
    ConfigInfo,
    JobDetails,
    JobInfo,
    JobPage,
    NodeInfo,
    ProcessInfo,
    QueuesInfo,
    SettingInfo,
    WaitingInfo,
)
from pixyz_ray.client.submission import JobOptions

if TYPE_CHECKING:
    from pixyz_worker.function import task

__all__ = [
    "Address",
    "Client",
    "ConfigInfo",
    "Event",
    "FileNotWritten",
    "GraphView",
    "InvalidClientConfig",
    "JobDetails",
    "JobFailed",
    "JobHandle",
    "JobInfo",
    "JobOptions",
    "JobPage",
    "LogEvent",
    "NodeInfo",
    "PlatformUnreachable",
    "ProcessInfo",
    "QueuesInfo",
    "ServerBusy",
    "SettingInfo",
    "StatusEvent",
    "StepEvent",
    "WaitingInfo",
    "find_address",
    "task",
]


def __getattr__(name: str) -> object:
    """Look `task` up when it is first used: most callers need none."""
    if name != "task":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pixyz_worker.function import task

    return task
