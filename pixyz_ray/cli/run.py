"""Commands that send a job: `exec` for a script of one's own, `process` for a pre-built one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from pixyz_ray.cli.notes import NotePrinter
from pixyz_ray.cli.options import (
    alias_option,
    input_option,
    json_option,
    limit_options,
    params_option,
    print_json,
    strict_option,
    with_client,
)
from pixyz_ray.cli.screen import Screen, bar
from pixyz_ray.cli.treatment import treatment, treatment_options
from pixyz_ray.cli.watch import exit_code, show_error, watch

if TYPE_CHECKING:
    from pixyz_ray.client import Client, JobDetails, JobHandle, JobInfo

_SHOWN_DEFAULTS: Mapping[str, Any] = {"entrypoint": "main", "queue": None, "time_limit": 3600}
"""What the header shows for what was not given. It is not sent: the script's own schedule comes before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """A job to send."""

    script: str | None = None
    """Path of the script, as it was typed; None when a process is named."""
    process: str | None = None
    """Name of a pre-built process; None when there is a script."""
    input_file: str | None = None
    """Path of the input file, as it was typed."""
    params: Any = field(default_factory=dict)
    """JSON value for the entrypoint."""
    alias: str | None = None
    """Name of the job."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """entrypoint, queue, time_limit, ...; what is None counts as not given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputMode:
    """How a job is shown."""

    watch: bool = False
    """Follow it to its end."""
    details: bool = False
    """Print its details at the end."""
    batch: bool = False
    """Print the id alone, or nothing where it is watched."""
    as_json: bool = False
    """Print one JSON document and nothing else."""
    logs: bool = False
    """Print what the script prints, live."""

    @property
    def for_program(self) -> bool:
        """Whether a program reads standard output, so that notes go to standard error."""
        return self.batch or self.as_json or self.details

    def screen(self) -> Screen:
        """Return where lines for people go."""
        return Screen(quiet=self.batch or self.as_json)


@dataclass(frozen=True, kw_only=True, slots=True)
class SentJob:
    """A job that was accepted, and what is known of it: at its end where it was watched."""

    job: JobHandle
    """Handle of the job."""
    info: JobInfo
    """Its state."""
    details: JobDetails | None
    """Its details; None where the server did not answer."""


def send(client: Client, request: JobRequest, mode: OutputMode) -> SentJob:
    """Send a job, follow it if that is wanted, and print its notes."""
    screen = mode.screen()
    notes = NotePrinter(screen, to_stderr=mode.for_program)
    _show_header(screen, request, mode.watch)
    job = _submit(client, request, screen)
    screen.line(bar("Uploading", 1.0))
    screen.line(f"Job [ {job.id} ] started")
    # Report a mistake in the parameters now, not when the job has run for hours.
    details = notes.fetch(client, job.id)
    if not mode.watch:
        return SentJob(job=job, info=job.info, details=details)
    info = watch(client, job.id, screen, logs=mode.logs)
    show_error(info, screen)
    return SentJob(job=job, info=info, details=notes.fetch(client, job.id))


def _submit(client: Client, request: JobRequest, screen: Screen) -> JobHandle:
    from pixyz_ray.client.submission import NULL

    try:
        return client.submit(
            request.script,
            process=request.process,
            input_file=request.input_file,
            params=NULL if request.params is None else request.params,
            name=request.alias,
            config=request.config,
            on_upload=lambda done, total: screen.bar("Uploading", done, total),
        )
    except BaseException:
        screen.close()
        raise


def _show_header(screen: Screen, request: JobRequest, watched: bool) -> None:
    given = {key: value for key, value in request.config.items() if value is not None}
    screen.line("-------- New PixyzScheduler Job ---------")
    if request.script:
        screen.line(f"- script file:  '{request.script}'")
    else:
        screen.line(f"- process name:  '{request.process}'")
    if request.input_file:
        screen.line(f"- input file:  '{request.input_file}'")
    screen.line(f"- script params:  {json.dumps(request.params)}")
    screen.line(f"- worker config:  {json.dumps({**_SHOWN_DEFAULTS, **given})}")
    screen.line(f"-  watch status:  {watched}")
    screen.line("-----------------------------------------")


def _finish(sent: SentJob, mode: OutputMode) -> None:
    """Print what was asked for at the end, and leave with the exit code of a watched job."""
    info = sent.info
    if mode.details:
        print_json(sent.details or sent.job.details())
    elif mode.as_json:
        print_json(info)
    elif mode.batch and not mode.watch:
        click.echo(sent.job.id)
    if mode.batch and info["error"]:
        click.echo(info["error"].rstrip(), err=True)
    if mode.watch:
        raise click.exceptions.Exit(exit_code(info["status"]))


_JOB_OPTIONS = (
    input_option(required=False),
    params_option,
    click.option("-e", "--entrypoint", metavar="NAME", help="Function of the script to call. Default: main."),
    limit_options,
    treatment_options,
    alias_option,
    click.option("--root-file", metavar="NAME", help="File to open inside an input archive (.zip, .tar.gz)."),
    click.option("--compute-only", is_flag=True, help="Run without input and output folders."),
    strict_option,
    click.option("-w", "--watch", is_flag=True, help="Follow the job to its end; exit 0 only if it succeeds."),
    click.option("-r", "--result", "details", is_flag=True, help="Print the job's details as JSON."),
    click.option(
        "-b",
        "--batch",
        is_flag=True,
        help="Print the id alone; with -w print nothing and leave with the exit code of the status.",
    ),
    click.option("--logs", is_flag=True, help="With -w, print what the script prints, live."),
    json_option,
    with_client,
)


def _job_options(function: Any) -> Any:
    for option in reversed(_JOB_OPTIONS):
        function = option(function)
    return function


def _mode(options: Mapping[str, Any]) -> OutputMode:
    return OutputMode(**{name: options[name] for name in ("watch", "details", "batch", "as_json", "logs")})


def _request(options: Mapping[str, Any], **what: Any) -> JobRequest:
    config = {name: options[name] for name in ("entrypoint", "queue", "time_limit", "root_file")}
    flags = {name: options[name] or None for name in ("compute_only", "strict")}
    return JobRequest(
        input_file=options["input_file"],
        params=options["params"],
        alias=options["alias"],
        config={**config, **flags, **treatment(options)},
        **what,
    )


@click.command("exec", short_help="Run a script of your own.")
@click.option(
    "-s",
    "--script",
    required=True,
    metavar="SCRIPT",
    type=click.Path(exists=True, dir_okay=False),
    help="Python script with an entrypoint: def main(pc, params).",
)
@_job_options
def exec_command(client: Client, script: str, **options: Any) -> None:
    """Run a script of your own on the platform.

    What you leave out is up to the script's @pixyz_schedule, then to the platform.

    \b
    Example:
      pixyz exec -s scripts/tutorial/00_sleep.py -rw
      pixyz exec -s convert.py -i bolt.step -p '{"extension": "glb"}' -w
      pixyz exec -s native.py -i part.CATPart --pool catia --memory-limit 8GiB --retries 2 --keep 7d
      pixyz exec -s checks.py -p '["bolt", "nut"]' --strict -bw && echo fine
      id=$(pixyz exec -s long.py -b)
    """
    mode = _mode(options)
    _finish(send(client, _request(options, script=script), mode), mode)


@click.command("process", short_help="Run a pre-built process.")
@click.option("-n", "--name", required=True, metavar="NAME", help="Name of the process; `pixyz list` shows them.")
@_job_options
def process_command(client: Client, name: str, **options: Any) -> None:
    """Run one of the platform's pre-built processes.

    \b
    Example:
      pixyz process -n sleep -p '{"time": 0.1}' -w
      pixyz process -n convert_file -i bolt.step -p '{"extension": "glb"}' -rw
    """
    mode = _mode(options)
    _finish(send(client, _request(options, process=name), mode), mode)
