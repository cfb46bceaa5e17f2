"""HTTP client of the platform: submit a script, follow it, fetch what it made.

    from pixyz_ray.client import Client

    with Client() as client:
        job = client.submit("convert.py", input_file="bolt.step", params={"extension": "glb"})
        print(job.result(timeout=600))
        job.download("output.glb", "bolt.glb")

On the machine that ran `pixyz up` neither a URL nor a token is needed.
"""

from __future__ import annotations

from pixyz_ray.client.address import Address, find_address
from pixyz_ray.client.api import Client, JobHandle
from pixyz_ray.client.errors import InvalidClientConfig, JobFailed, PlatformUnreachable, ServerBusy
from pixyz_ray.client.events import Event, LogEvent, StatusEvent, StepEvent
from pixyz_ray.client.shapes import JobDetails, JobInfo, JobPage

__all__ = [
    "Address",
    "Client",
    "Event",
    "InvalidClientConfig",
    "JobDetails",
    "JobFailed",
    "JobHandle",
    "JobInfo",
    "JobPage",
    "LogEvent",
    "PlatformUnreachable",
    "ServerBusy",
    "StatusEvent",
    "StepEvent",
    "find_address",
]
