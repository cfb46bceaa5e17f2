"""Commands that send a job: `exec` for a script of one's own, `process` for a pre-built one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixyz_ray.cli.options import (
    input_option,
    json_option,
    limit_options,
    params_option,
    print_json,
    with_client,
)
from pixyz_ray.cli.screen import Screen, bar
from pixyz_ray.cli.treatment import treatment, treatment_options
from pixyz_ray.cli.watch import exit_code, show_error, watch

if TYPE_CHECKING:
    from pixyz_ray.client import Client, JobHandle, JobInfo

_SHOWN_DEFAULTS: Mapping[str, Any] = {"entrypoint": "main", "queue": None, "time_limit": 3600}
"""What the header shows for what was not given. It is not sent: the script's own schedule comes before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A job to send."""

    script: Path | None = None
    """Script; None when a process is named."""
    process: str | None = None
    """Name of a pre-built process; None when there is a script."""
    input_file: Path | None = None
    """Input file."""
    params: Any = field(default_factory=dict)
    """JSON value for the entrypoint."""
    alias: str | None = None
    """Name of the job."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """entrypoint, queue, time_limit, ...; what is None counts as not given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
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

    def screen(self) -> Screen:
        """Return where lines for people go."""
        return Screen(quiet=self.batch or self.as_json)


def send(client: Client, order: Order, manner: Manner) -> tuple[JobHandle, JobInfo]:
    """Send a job, follow it if that is wanted, and return it with its last known state."""
    screen = manner.screen()
    _show_header(screen, order, manner.watch)
    try:
        job = client.submit(
            order.script,
            process=order.process,
            input_file=order.input_file,
            params=order.params,
            name=order.alias,
            config=order.config,
            on_upload=lambda done, total: screen.bar("Uploading", done, total),
        )
    except BaseException:
        screen.close()
        raise
    screen.line(bar("Uploading", 1.0))
    screen.line(f"Job [ {job.id} ] started")
    info = watch(client, job.id, screen, logs=manner.logs) if manner.watch else job.info
    show_error(info, screen)
    return job, info


def _show_header(screen: Screen, order: Order, watched: bool) -> None:
    given = {key: value for key, value in order.config.items() if value is not None}
    screen.line("-------- New PixyzScheduler Job ---------")
    if order.script:
        screen.line(f"- script file:  '{order.script}'")
    else:
        screen.line(f"- process name:  '{order.process}'")
    if order.input_file:
        screen.line(f"- input file:  '{order.input_file}'")
    screen.line(f"- script params:  {json.dumps(order.params)}")
    screen.line(f"- worker config:  {json.dumps({**_SHOWN_DEFAULTS, **given})}")
    screen.line(f"-  watch status:  {watched}")
    screen.line("-----------------------------------------")


def _finish(job: JobHandle, info: JobInfo, manner: Manner) -> None:
    """Print what was asked for at the end, and leave with the exit code of a watched job."""
    if manner.details:
        print_json(job.details())
    elif manner.as_json:
        print_json(info)
    elif manner.batch and not manner.watch:
        click.echo(job.id)
    if manner.batch and info["error"]:
        click.echo(info["error"].rstrip(), err=True)
    if manner.watch:
        raise click.exceptions.Exit(exit_code(info["status"]))


_JOB_OPTIONS = (
    input_option(required=False),
    params_option,
    click.option("-e", "--entrypoint", metavar="NAME", help="Function of the script to call. Default: main."),
    limit_options,
    treatment_options,
    click.option("-a", "--alias", metavar="NAME", help="Name of the job in lists."),
    click.option("--root-file", metavar="NAME", help="File to open inside an input archive (.zip, .tar.gz)."),
    click.option("--compute-only", is_flag=True, help="Run without input and output folders."),
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


def _manner(options: Mapping[str, Any]) -> Manner:
    return Manner(**{name: options[name] for name in ("watch", "details", "batch", "as_json", "logs")})


def _order(options: Mapping[str, Any], **what: Any) -> Order:
    config = {name: options[name] for name in ("entrypoint", "queue", "time_limit", "root_file")}
    return Order(
        input_file=options["input_file"],
        params={} if options["params"] is None else options["params"],
        alias=options["alias"],
        config={**config, "compute_only": options["compute_only"] or None, **treatment(options)},
        **what,
    )


@click.command("exec", short_help="Run a script of your own.")
@click.option(
    "-s",
    "--script",
    required=True,
    metavar="SCRIPT",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python script with an entrypoint: def main(pc, params).",
)
@_job_options
def exec_command(client: Client, script: Path, **options: Any) -> None:
    """Run a script of your own on the platform.

    What you leave out is up to the script's @pixyz_schedule, then to the platform.

    \b
    Example:
      pixyz exec -s scripts/tutorial/00_sleep.py -rw
      pixyz exec -s convert.py -i bolt.step -p '{"extension": "glb"}' -w
      pixyz exec -s native.py -i part.CATPart --pool catia --memory-limit 8GiB --retries 2 --keep 7d
      id=$(pixyz exec -s long.py -b)
    """
    manner = _manner(options)
    job, info = send(client, _order(options, script=script), manner)
    _finish(job, info, manner)


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
    manner = _manner(options)
    job, info = send(client, _order(options, process=name), manner)
    _finish(job, info, manner)
