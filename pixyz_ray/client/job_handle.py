"""The handle of one job: the client's methods with the job's id filled in, and its result."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixyz_ray.client.errors import JobFailed
from pixyz_ray.client.events import Event
from pixyz_ray.client.form import OnProgress
from pixyz_ray.client.graph_view import GraphView
from pixyz_ray.client.shapes import JobDetails, JobInfo, job_label

if TYPE_CHECKING:
    from pixyz_ray.client.api import Client


class JobHandle:
    """One job of a platform; every method asks the server."""

    def __init__(self, client: Client, info: JobInfo) -> None:
        self._client = client
        self.info = info
        """State of the job when it was last asked for."""

    def __repr__(self) -> str:
        return f"<JobHandle {self.id} {job_label(self.info)!r} {self.info['status']}>"

    @property
    def id(self) -> str:
        """Identity of the job."""
        return self.info["uuid"]

    @property
    def client(self) -> Client:
        """Connection that this job is asked for over."""
        return self._client

    def state(self) -> JobInfo:
        """Return uuid, name, status, progress and error."""
        self.info = self._client.state(self.id)
        return self.info

    def details(self) -> JobDetails:
        """Return the state with times, steps, result and attempts."""
        return self._client.details(self.id)

    def notes(self) -> list[str]:
        """Return what the platform did differently from what was asked, one message each."""
        return self.details().get("notes") or []

    def graph(self) -> GraphView:
        """Return what the job's script started, with states and times. A notebook shows it as a picture."""
        return self._client.graph(self.id)

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Yield status, step and log events up to the end of the job."""
        return self._client.events(self.id, timeout=timeout)

    def logs(self, *, follow: bool = False) -> Iterator[str]:
        """Yield what the script printed, in pieces of any size."""
        return self._client.logs(self.id, follow=follow)

    def wait(self, timeout: float | None = None) -> JobInfo:
        """Wait for the end, whatever it is, and return the last state.

        Raises:
            PixyzTimeout: the job did not end within `timeout` seconds.
        """
        self.info = self._client.wait(self.id, timeout=timeout)
        return self.info

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return what the script returned.

        Raises:
            JobFailed: the job ended with FAILURE or REVOKED.
            PixyzTimeout: it did not end within `timeout` seconds.
        """
        info = self.wait(timeout)
        if info["status"] == "SUCCESS":
            return self.details()["result"]
        message = f"Job {self.id} ended with {info['status']}.\n{info['error'] or ''}".strip()
        raise JobFailed(message, self.id, info["status"], info["error"])

    def cancel(self) -> JobInfo:
        """Ask the platform to end the job, and return its state."""
        self.info = self._client.cancel(self.id)
        return self.info

    def pin(self, pinned: bool = True) -> JobInfo:
        """Keep the job and its files from being removed, or no longer, and return its state."""
        self.info = self._client.pin(self.id, pinned)
        return self.info

    def outputs(self) -> list[str]:
        """Return the relative paths of the files that the job made."""
        return self._client.outputs(self.id)

    def download(self, path: str, target: str | os.PathLike[str] = ".", on_progress: OnProgress | None = None) -> Path:
        """Fetch one output to a file or into a folder, and return where it is."""
        return self._client.download(self.id, path, target, on_progress)

    def download_all(
        self, target: str | os.PathLike[str], on_progress: OnProgress | None = None, timeout: float = 600.0
    ) -> Path:
        """Fetch a zip of all outputs, and return where it is."""
        return self._client.download_all(self.id, target, on_progress, timeout=timeout)
