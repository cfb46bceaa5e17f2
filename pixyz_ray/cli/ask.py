"""Commands that ask the platform something, or tell it to end a job."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from textwrap import indent
from typing import TYPE_CHECKING

import click

from pixyz_ray.cli.interrupt import interruptible
from pixyz_ray.cli.notes import NotePrinter
from pixyz_ray.cli.options import job_option, json_option, json_text, print_json, table_option, with_client
from pixyz_ray.cli.screen import Screen, stdout_is_terminal
from pixyz_ray.cli.tables import ahead, show_table
from pixyz_ray.cli.watch import exit_code, show_error, watch
from pixyz_ray.version import VERSION

if TYPE_CHECKING:
    from pixyz_ray.client import Client, JobPage


_WAITS = "PENDING"
"""State of a job that waits for its turn."""


@click.command("version", short_help="Show the versions of client and server.")
@json_option
@with_client
def version_command(client: Client, as_json: bool) -> None:
    """Show the versions of this client and of the server.

    \b
    Example:
      pixyz version
    """
    url = client.address.url
    if as_json:
        print_json({"client": VERSION, "server": client.version(), "url": url})
        return
    click.echo(f"client: {VERSION}")
    click.echo(f"server: {client.version()} ({url})")


@click.command("list", short_help="List the pre-built processes.")
@with_client
def list_command(client: Client) -> None:
    """List the pre-built processes of the platform, as JSON.

    \b
    Example:
      pixyz list
    """
    print_json({"processes": client.processes()})


@click.command("doc", short_help="Show how a process is used.")
@click.option("-n", "--name", required=True, metavar="NAME", help="Name of the process.")
@click.option("--text", is_flag=True, help="Print text also where standard output is not a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON also on a terminal.")
@with_client
def doc_command(client: Client, name: str, text: bool, as_json: bool) -> None:
    """Show the documentation of a pre-built process and its parameters: on a terminal as text, else as JSON.

    \b
    Example:
      pixyz doc -n convert_file
      pixyz doc -n convert_file --text | less
    """
    info = client.process_info(name)
    if as_json or not (text or stdout_is_terminal()):
        print_json(info)
        return
    parameters = info.get("parameters")
    if not parameters:
        click.echo(info["doc"])
        return
    from pixyz_ray.cli.parameters import show_parameters, without_parameters

    click.echo(without_parameters(info["doc"]))
    click.echo()
    show_parameters(parameters)


@click.command("jobs", short_help="List jobs, newest first.")
@click.option("--status", metavar="STATUS", help="Only jobs in this state, such as RUNNING.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="At most N jobs. Default: all; 100 with --why.")
@click.option("--after", metavar="ID", help="Continue after this job: the `next` of the answer before.")
@click.option("--why", is_flag=True, help="Show jobs that wait (PENDING, unless --status): where they stand, and why.")
@table_option
@with_client
def jobs_command(
    client: Client, status: str | None, limit: int | None, after: str | None, why: bool, as_json: bool
) -> None:
    """List the jobs of the platform, newest first, as JSON; with --why, those that wait, as a table.

    \b
    Example:
      pixyz jobs
      pixyz jobs --status FAILURE --limit 10
      pixyz jobs --why
    """
    status = status.upper() if status else _WAITS if why else None
    if why and not as_json:
        _show_waiting(client.jobs(status, limit, after, why=True), str(status))
    else:
        _print_jobs(client.job_pages(status, limit, after, why=why))


def _print_jobs(pages: Iterator[JobPage]) -> None:
    """Print `{"jobs": [...], "next": ...}` page by page: a platform may have hundreds of thousands of jobs."""
    following, between = None, "\n"
    # Before anything is printed: an error of the first page leaves standard output empty.
    first = next(pages)
    click.echo('{\n    "jobs": [', nl=False)
    for page in chain((first,), pages):
        following = page.get("next")
        if page["jobs"]:
            items = ",\n".join(indent(json_text(job), " " * 8) for job in page["jobs"])
            click.echo(between + items, nl=False)
            between = ",\n"
    end = "]" if between == "\n" else "\n    ]"
    click.echo(f'{end},\n    "next": {json_text(following)}\n}}')


def _show_waiting(page: JobPage, status: str) -> None:
    """Print the jobs that wait, the next one first."""
    from pixyz_ray.client.shapes import job_label

    waiting = [(job, why) for job in page["jobs"] if (why := job.get("waiting"))]
    waiting.sort(key=lambda row: (row[1]["position"] is None, row[1]["position"]))
    if not waiting:
        click.echo("No job waits.")
        return
    show_table(
        (">position", "job", "name", "starts", "waits for…"),
        (
            (why["position"], job["uuid"], job_label(job), ahead(why["expected_start"]), why["reason"])
            for job, why in waiting
        ),
    )
    if page.get("next"):
        click.echo(f"There are more: pixyz jobs --why --status {status} --after {page['next']}")


@click.command("status", short_help="Show the state of a job.")
@job_option
@click.option("-w", "--watch", "watched", is_flag=True, help="Follow the job to its end instead.")
@click.option("--logs", is_flag=True, help="With -w, print what the script prints, live.")
@with_client
def status_command(client: Client, uuid: str, watched: bool, logs: bool) -> None:
    """Show the state of a job as JSON, or follow it to its end.

    \b
    Example:
      pixyz status -j ID
      pixyz status -j ID -w
    """
    if not watched:
        print_json(client.state(uuid))
        return
    screen = Screen()
    info = watch(client, uuid, screen, logs=logs)
    show_error(info, screen)
    NotePrinter(screen).fetch(client, uuid)
    raise click.exceptions.Exit(exit_code(info["status"]))


@click.command("details", short_help="Show all that is known of a job.")
@job_option
@with_client
def details_command(client: Client, uuid: str) -> None:
    """Show a job's times, steps, attempts and result, as JSON.

    \b
    Example:
      pixyz details -j ID
    """
    print_json(client.details(uuid))


@click.command("logs", short_help="Print what a script printed.")
@job_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@with_client
def logs_command(client: Client, uuid: str, follow: bool) -> None:
    """Print what the script of a job printed.

    \b
    Example:
      pixyz logs -j ID -f
    """
    screen = Screen()
    for text in interruptible(client.logs(uuid, follow=follow)):
        screen.text(text)


@click.command("cancel", short_help="End a job.")
@job_option
@with_client
def cancel_command(client: Client, uuid: str) -> None:
    """End a job, whether it waits or runs, and show its state as JSON.

    \b
    Example:
      pixyz cancel -j ID
    """
    print_json(client.cancel(uuid))


@click.command("pin", short_help="Keep a job from being removed.")
@job_option
@click.option("--off", is_flag=True, help="Take the pin away again.")
@with_client
def pin_command(client: Client, uuid: str, off: bool) -> None:
    """Keep a job and its files however old they get, and show its state as JSON.

    \b
    Example:
      pixyz pin -j ID
      pixyz pin -j ID --off
    """
    print_json(client.pin(uuid, not off))


@click.command("remove", short_help="Remove a job that has ended.")
@job_option
@with_client
def remove_command(client: Client, uuid: str) -> None:
    """Remove a job that has ended: its files, its record, and all that it started.

    \b
    Example:
      pixyz remove -j ID
    """
    print_json(client.remove(uuid))
