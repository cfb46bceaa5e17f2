"""The client: one method per path of the REST contract."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast, overload
from urllib.parse import quote
from uuid import uuid4

import httpx

from pixyz_ray.client.download import fetch
from pixyz_ray.client.errors import PlatformUnreachable, ServerBusy, check_answer, unreachable
from pixyz_ray.client.events import Event, StatusEvent, follow_events
from pixyz_ray.client.form import Form, OnProgress
from pixyz_ray.client.graph_view import GraphFormat, GraphView
from pixyz_ray.client.graphs import graph_submission
from pixyz_ray.client.job_handle import JobHandle
from pixyz_ray.client.local_name import local_name
from pixyz_ray.client.machines import MachineRequests
from pixyz_ray.client.patience import Patience, silence_limit
from pixyz_ray.client.shapes import ConfigInfo, JobDetails, JobInfo, JobPage, ProcessInfo, QueuesInfo
from pixyz_ray.client.submission import JobOptions, Submission, function_submission, job_submission, merged_config
from pixyz_ray.client.target import target_file

if TYPE_CHECKING:
    from pixyz_worker.canvas import Canvas

_ACCEPT_S = 600.0
_SUBMIT_AGAIN_S = 20.0
"""Seconds for which a submission is sent again; a platform that refuses it for longer has another problem."""
"""Seconds that the server may take to answer a submission: it makes all bytes safe on disk first."""
_PAGE = 100
"""Jobs of a page, unless the caller says how many."""
_LARGEST_PAGE = 1000
"""Jobs that the server puts on one page at most."""


class Client(MachineRequests):
    """Connection to a platform; use it as a context manager, or `close` it.

    Args:
        url: base URL; without one: PIXYZ_URL, the configuration file, this machine's platform, http://127.0.0.1:8001.
        token: token; without one: PIXYZ_TOKEN, or what is stored beside the URL.
        timeout: seconds that one answer may take.
        patience: seconds that a broken connection may take to come back while following or fetching.
    """

    def version(self) -> str:
        """Return the version of the server."""
        response = self._request("GET", "/health", accept={404, 503})
        if response.status_code == httpx.codes.NOT_FOUND:
            return self._request("GET", "/").text.strip()
        try:
            return str(response.json()["version"])
        except (ValueError, KeyError, TypeError):
            return self._request("GET", "/").text.strip()

    def health(self) -> dict[str, Any]:
        """Return what the platform says about itself: status, version, whether it is ready."""
        return cast("dict[str, Any]", self._request("GET", "/health", accept={503}).json())

    def processes(self) -> list[str]:
        """Return the names of the pre-built processes."""
        return cast("list[str]", self._json("/processes")["processes"])

    def process_info(self, name: str) -> ProcessInfo:
        """Return the documentation of a pre-built process and, where the server knows them, its parameters."""
        return cast(ProcessInfo, self._json(f"/processes/{quote(name, safe='')}"))

    def process_doc(self, name: str) -> str:
        """Return the documentation of a pre-built process."""
        return self.process_info(name)["doc"]

    def jobs(
        self, status: str | None = None, limit: int | None = None, after: str | None = None, *, why: bool = False
    ) -> JobPage:
        """Return one page of jobs, newest first, and the id to give as `after` for the next page.

        Args:
            status: only jobs with this status.
            limit: jobs of the page; 100 when None.
            after: the `next` of the previous page.
            why: jobs that have not begun say in `waiting` what they wait for, and their position.
        """
        query = {"status": status, "limit": limit or _PAGE, "after": after, "why": "true" if why else None}
        params = {key: value for key, value in query.items() if value is not None}
        return cast(JobPage, self._json("/jobs", params=params))

    def job_pages(
        self, status: str | None = None, limit: int | None = None, after: str | None = None, *, why: bool = False
    ) -> Iterator[JobPage]:
        """Yield pages of jobs, newest first, up to `limit` jobs; all of them when None."""
        left = limit
        while left is None or left > 0:
            page = self.jobs(status, min(left or _LARGEST_PAGE, _LARGEST_PAGE), after, why=why)
            yield page
            after = page.get("next")
            if not after or not page["jobs"]:
                return
            left = None if left is None else left - len(page["jobs"])

    def all_jobs(self, status: str | None = None, *, why: bool = False) -> Iterator[JobInfo]:
        """Yield all jobs, newest first, fetched page by page."""
        for page in self.job_pages(status, why=why):
            yield from page["jobs"]

    def queues(self) -> QueuesInfo:
        """Return how queues, pools of seats and submitters stand."""
        return cast(QueuesInfo, self._json("/queues"))

    def config(self) -> ConfigInfo:
        """Return the platform's settings in force, without the values of secrets."""
        return cast(ConfigInfo, self._json("/config"))

    def job(self, uuid: str) -> JobHandle:
        """Return a handle of an existing job."""
        return JobHandle(self, self.state(uuid))

    @overload
    def submit(
        self,
        script: str | os.PathLike[str] | bytes | None = None,
        *,
        process: str | None = None,
        input_file: str | os.PathLike[str] | None = None,
        params: Any = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        on_upload: OnProgress | None = None,
        **options: Unpack[JobOptions],
    ) -> JobHandle: ...

    @overload
    def submit(
        self,
        script: Callable[..., Any],
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        on_upload: OnProgress | None = None,
        **options: Unpack[JobOptions],
    ) -> JobHandle: ...

    def submit(
        self,
        script: str | os.PathLike[str] | bytes | Callable[..., Any] | None = None,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        process: str | None = None,
        input_file: str | os.PathLike[str] | None = None,
        params: Any = None,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        on_upload: OnProgress | None = None,
        **options: Unpack[JobOptions],
    ) -> JobHandle:
        """Send a job, streaming its files from disk, and return its handle once the platform has accepted it.

        Args:
            script: path of a Python script, or its source as bytes. Either this or `process`. Or a function,
                whose result becomes the job's; `args` and `kwargs` are its arguments.
            process: name of a pre-built process.
            input_file: file that the script gets as `pc.get_input_file()`.
            params: JSON value passed to the entrypoint; {} when None.
            name: alias of the job.
            config: entrypoint, queue, time_limit, root_file, compute_only, ...
            on_upload: called with the bytes sent and in all.
            options: priority, retries, retry_on, memory_limit, gpu, gpu_memory, pools, isolation, keep, strict; the
                same as in `config`.
        """
        given = merged_config(config, options)
        if callable(script):
            if process is not None or input_file is not None or params is not None:
                raise TypeError(
                    "submit() gives a function its arguments; process, input_file and params go without one"
                )
            return self._send(function_submission(script, args, kwargs or {}, given), name, on_upload)
        if args or kwargs:
            raise TypeError("submit() gives arguments to a function; a script takes params")
        return self._send(job_submission(script, process, input_file, params, given), name, on_upload)

    def process(
        self,
        process: str,
        input_file: str | os.PathLike[str] | None = None,
        params: Any = None,
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        on_upload: OnProgress | None = None,
        **options: Unpack[JobOptions],
    ) -> JobHandle:
        """Run a pre-built process; a parameter or a setting that it does not know is refused.

        Args:
            process: name of the process.
            input_file: file to process.
            params: parameters of the process.
            name: alias of the job.
            config: queue, time_limit, root_file, ...
            on_upload: called with the bytes sent and in all.
            options: as for `submit`; `strict=False` turns the refusal into a note in the job's details.
        """
        options.setdefault("strict", True)
        return self.submit(
            process=process,
            input_file=input_file,
            params=params,
            name=name,
            config=config,
            on_upload=on_upload,
            **options,
        )

    def run(
        self,
        canvas: Canvas,
        *,
        input_file: str | os.PathLike[str] | None = None,
        name: str | None = None,
        on_upload: OnProgress | None = None,
    ) -> JobHandle:
        """Send a composition: a chain, group, chord, chunks or a single signature; its result is the job's.

        Args:
            canvas: what to run; its scripts, and those made of functions, go with it.
            input_file: file that its tasks get as `pc.get_input_file()`; else that of their contexts.
            name: alias of the job.
            on_upload: called with the bytes sent and in all.
        """
        source = None if input_file is None else Path(input_file)
        return self._send(graph_submission(canvas, source), name, on_upload)

    def state(self, uuid: str) -> JobInfo:
        """Return uuid, name, status, progress and error of a job."""
        return cast(JobInfo, self._json(_job(uuid)))

    def details(self, uuid: str) -> JobDetails:
        """Return a job's state with times, steps, result and attempts."""
        return cast(JobDetails, self._json(_job(uuid, "/details")))

    def graph(self, uuid: str) -> GraphView:
        """Return what a job's script started, with states and times. A notebook shows it as a picture."""
        return GraphView(self._json(_job(uuid, "/graph")))

    def graph_as(self, uuid: str, format: GraphFormat) -> str:
        """Return the graph of a job as text: a tree (`text`), `json`, or a picture (`mermaid`, `dot`, `svg`)."""
        if format == "text":
            return self.graph(uuid).as_text()
        return self._request("GET", _job(uuid, "/graph"), params={"format": format}).text

    def outputs(self, uuid: str) -> list[str]:
        """Return the relative paths of the files that a job made."""
        return cast("list[str]", self._json(_job(uuid, "/outputs"))["outputs"])

    def cancel(self, uuid: str) -> JobInfo:
        """Ask the platform to end a job, and return the job's state."""
        return cast(JobInfo, self._request("POST", _job(uuid, "/cancel")).json())

    def remove(self, uuid: str) -> JobInfo:
        """Remove a job that has ended: its files, its record, and all that it started."""
        return cast(JobInfo, self._request("POST", _job(uuid, "/remove")).json())

    def pin(self, uuid: str, pinned: bool = True) -> JobInfo:
        """Keep a job and its files from being removed, or no longer, and return its state."""
        return cast(JobInfo, self._request("PUT" if pinned else "DELETE", _job(uuid, "/pin")).json())

    def download(
        self,
        uuid: str,
        path: str,
        target: str | os.PathLike[str] = ".",
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Fetch one output to a file or into a folder, resuming where a connection broke; return its path.

        A text that ends with a separator, such as `new/`, is a folder, which is made.
        """
        place = target_file(target, local_name(path.rsplit("/", 1)[-1]))
        source = _job(uuid, f"/outputs/{quote(path, errors='surrogateescape')}")
        return fetch(self._http, source, place, patience_s=self._patience_s, on_progress=on_progress)

    def download_all(
        self,
        uuid: str,
        target: str | os.PathLike[str],
        on_progress: OnProgress | None = None,
        *,
        timeout: float = 600.0,
    ) -> Path:
        """Fetch a zip of all outputs to a file or into a folder (`new/` is made); return where it is.

        While the job or the packing is not done this waits as the server asks, `timeout` seconds at most.
        """
        place = target_file(target, f"{uuid}.zip")
        source = _job(uuid, "/outputs/archive")
        return fetch(self._http, source, place, patience_s=timeout, on_progress=on_progress)

    def logs(self, uuid: str, *, follow: bool = False) -> Iterator[str]:
        """Yield what a job's script printed, in pieces of any size; with `follow` up to the job's end."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        patience = Patience(self._patience_s)
        offset = 0
        while True:
            try:
                for chunk in self._log_bytes(uuid, follow, offset):
                    offset += len(chunk)
                    patience.renew()
                    yield decoder.decode(chunk)
                return
            except (httpx.TransportError, ServerBusy) as error:
                if isinstance(error, httpx.ConnectError) and not offset:
                    raise unreachable(self.address.url, error) from error
                busy = isinstance(error, ServerBusy)
                if not patience.pause(error.retry_after if isinstance(error, ServerBusy) else None):
                    raise error if busy else unreachable(self.address.url, error) from error

    def events(self, uuid: str, *, timeout: float | None = None) -> Iterator[Event]:
        """Yield a job's status, step and log events up to its end, over as many connections as that takes.

        Raises:
            PixyzTimeout: the job did not end within `timeout` seconds.
        """
        return follow_events(self._http, _job(uuid, "/events"), patience_s=self._patience_s, timeout=timeout)

    def wait(self, uuid: str, timeout: float | None = None) -> JobInfo:
        """Wait for the end of a job and return its last state.

        Raises:
            PixyzTimeout: the job did not end within `timeout` seconds.
        """
        for event in self.events(uuid, timeout=timeout):
            if isinstance(event, StatusEvent) and event.terminal:
                return JobInfo(
                    uuid=event.uuid,
                    name=event.name,
                    status=event.status,
                    progress=event.progress,
                    error=event.error,
                )
        return self.state(uuid)

    def _send(self, submission: Submission, name: str | None, on_upload: OnProgress | None) -> JobHandle:
        fields = {**submission.fields, **({"name": name} if name else {})}
        timeout = silence_limit(self._http, _ACCEPT_S)
        # With the same key a job that was accepted is not started a second time.
        key = {"Idempotency-Key": uuid4().hex}
        patience = Patience(min(self._patience_s, _SUBMIT_AGAIN_S))
        while True:
            form = Form(fields, submission.files, on_upload)
            try:
                response = self._request("POST", "/jobs", content=form, headers=form.headers | key, timeout=timeout)
                return JobHandle(self, response.json())
            except (PlatformUnreachable, ServerBusy) as error:
                if not _may_be_sent_again(error) or not patience.pause(getattr(error, "retry_after", None)):
                    raise

    def _log_bytes(self, uuid: str, follow: bool, offset: int) -> Iterator[bytes]:
        params: dict[str, str | int] = {"offset": offset, **({"follow": "true"} if follow else {})}
        # A followed script may be silent for as long as it likes.
        timeout = silence_limit(self._http, None) if follow else self._http.timeout
        options: Any = {"params": params, "headers": {"Accept-Encoding": "identity"}, "timeout": timeout}
        with self._http.stream("GET", _job(uuid, "/logs"), **options) as response:
            check_answer(response)
            yield from response.iter_raw()


def _may_be_sent_again(error: PlatformUnreachable | ServerBusy) -> bool:
    """Return whether a submission that failed may succeed soon: a connection broke, or a replica is being replaced."""
    if isinstance(error, ServerBusy):
        return error.status_code in (502, 503, 504)
    return not isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


def _job(uuid: str, rest: str = "") -> str:
    return f"/jobs/{quote(uuid, safe='')}{rest}"
