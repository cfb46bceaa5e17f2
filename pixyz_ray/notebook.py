"""Jupyter over the client: run a cell as a job, and show a job with its progress.

    %load_ext pixyz_ray.notebook

    %%pixyz -p '{"n": 3}'
    def main(pc, params):
        pc.progress_set_total(params["n"])
        ...

The job is left in the variable `job`, a `pixyz_ray.client.JobHandle`. `show(job)` shows any job.
"""

from __future__ import annotations

import html
import json
import shlex
from importlib import import_module
from typing import Any

from pixyz_ray.client import Client, Event, JobHandle, LogEvent, StatusEvent
from pixyz_ray.client.shapes import job_label

_KEPT_LOG = 4000
"""Characters of a script's output that stay in view: its end says most."""

_USAGE = "%%pixyz [-p JSON] [-i FILE] [-e ENTRYPOINT] [-q QUEUE] [-l SECONDS] [-a NAME] [-u URL] [-t TOKEN]"


class JobView:
    """A job as a notebook shows it: state, progress, step, end of its output, result or traceback."""

    def __init__(self, job: JobHandle) -> None:
        self.job = job
        self._info = job.info
        self._step = ""
        self._begun = 0
        self._log = ""
        self._result: Any = None
        self._notes: list[str] = []

    def take(self, event: Event) -> None:
        """Note what an event says."""
        if isinstance(event, LogEvent):
            self._log = (self._log + event.text)[-_KEPT_LOG:]
        elif isinstance(event, StatusEvent):
            self._info = {
                **self._info,
                "uuid": event.uuid,
                "name": event.name,
                "status": event.status,
                "progress": event.progress,
                "error": event.error,
            }
        elif event.duration < 0 or event.index >= self._begun:
            self._begun, self._step = event.index + 1, event.info
            self._info = {**self._info, "progress": event.progress}

    def finish(self) -> None:
        """Note the job's last state and result."""
        details = self.job.details()
        self._info, self._result = self.job.state(), details["result"]
        self._step = details["steps"][-1]["info"] if details["steps"] else ""
        self._notes = details.get("notes") or []

    def __repr__(self) -> str:
        """Return one line, and below it why the job failed, and its notes."""
        step = f" ({self._step})" if self._step else ""
        line = f"Job [ {self._info['uuid']} ] {self._info['status']} {self._info['progress'] or 0}%{step}"
        below = [self._info["error"]] if self._info["error"] else []
        return "\n".join([line, *below, *(f"Note: {note}" for note in self._notes)])

    def _repr_html_(self) -> str:
        share, status = self._info["progress"] or 0, self._info["status"]
        name, step = html.escape(job_label(self._info)), html.escape(self._step)
        parts = [
            f"<div><b>{name}</b> <code>{self._info['uuid']}</code> {status}</div>",
            f'<div><progress max="100" value="{share}"></progress> {share}% {step}</div>',
        ]
        if self._log:
            parts.append(f"<pre>{html.escape(self._log)}</pre>")
        if self._info["error"]:
            parts.append(f'<pre style="color:#b00">{html.escape(self._info["error"])}</pre>')
        if self._result is not None:
            parts.append(f"<pre>{html.escape(json.dumps(self._result, indent=2))}</pre>")
        parts += [f"<div>Note: {html.escape(note)}</div>" for note in self._notes]
        return "".join(parts)


def show(job: JobHandle) -> JobView:
    """Display a job, live until it ends, and return its view."""
    # Imported late, and untyped: IPython is an extra of the notebook alone.
    screen: Any = import_module("IPython.display").DisplayHandle()
    view = JobView(job)
    screen.display(view)
    shown = repr(view)
    for event in job.events():
        view.take(event)
        if isinstance(event, LogEvent) or repr(view) != shown:
            shown = repr(view)
            screen.update(view)
    view.finish()
    screen.update(view)
    return view


def run_cell(line: str, source: str) -> JobHandle:
    """Send a cell as a script with the options of the magic, show it, and return its job."""
    options = _parse(line)
    client = Client(options["url"], options["token"])
    config = {name: options[name] for name in ("entrypoint", "queue", "time_limit")}
    job = client.submit(
        source.encode(),
        input_file=options["input"],
        params=options["params"],
        name=options["alias"] or "notebook",
        config=config,
        strict=True,
    )
    show(job)
    return job


def load_ipython_extension(shell: Any) -> None:
    """Add the `%%pixyz` magic; called by `%load_ext pixyz_ray.notebook`."""

    def pixyz(line: str, cell: str) -> None:
        shell.push({"job": run_cell(line, cell)})

    pixyz.__doc__ = f"Run this cell as a job of the platform.\n\n    {_USAGE}"
    shell.register_magic_function(pixyz, magic_kind="cell", magic_name="pixyz")


def _parse(line: str) -> dict[str, Any]:
    """Read the magic's options: those of `pixyz exec`, plus -u and -t."""
    import click

    from pixyz_ray.cli.options import JsonParam, SecondsParam

    words = {"-e": "entrypoint", "-q": "queue", "-a": "alias", "-u": "url", "-t": "token"}
    options: list[click.Parameter] = [click.Option([flag, name]) for flag, name in words.items()]
    options.append(click.Option(["-p", "params"], type=JsonParam()))
    options.append(click.Option(["-i", "input"], type=click.Path(exists=True, dir_okay=False)))
    options.append(click.Option(["-l", "time_limit"], type=SecondsParam()))
    command = click.Command("%%pixyz", params=options, add_help_option=False)
    try:
        return command.make_context("%%pixyz", shlex.split(line)).params
    except click.ClickException as error:
        raise ValueError(f"{error.format_message()}\n{_USAGE}") from None
