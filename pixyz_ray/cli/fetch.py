"""Commands that list and fetch what a job made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pixyz_ray.cli.options import SecondsParam, job_option, json_option, print_json, with_client
from pixyz_ray.cli.screen import Screen

if TYPE_CHECKING:
    from pixyz_ray.client import Client


@click.command("outputs", short_help="List the files that a job made.")
@job_option
@with_client
def outputs_command(client: Client, uuid: str) -> None:
    """List the files that a job made, as JSON.

    \b
    Example:
      pixyz outputs -j ID
    """
    print_json({"outputs": client.outputs(uuid)})


@click.command("download", short_help="Fetch one file that a job made.")
@job_option
@click.option("-f", "--file", "path", metavar="FILE", required=True, help="Path as `pixyz outputs` shows it.")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    default=".",
    type=click.Path(),
    help="File to write, or a folder (DIR/ is made). Default: the file's own name, here.",
)
@json_option
@with_client
def download_command(client: Client, uuid: str, path: str, output: str, as_json: bool) -> None:
    """Fetch one file that a job made; a broken connection is resumed.

    \b
    Example:
      pixyz download -j ID -f output.glb -o bolt.glb
    """
    screen = Screen(sys.stderr, quiet=as_json)
    saved = client.download(uuid, path, output, lambda done, total: screen.bar("Downloading", done, total))
    _report(saved, screen, as_json)


@click.command("download_all", short_help="Fetch all files of a job as a zip.")
@job_option
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    default=".",
    type=click.Path(),
    help="Zip file to write, or a folder (DIR/ is made). Default: ID.zip, here.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    default=600.0,
    show_default=True,
    type=SecondsParam(with_zero=True),
    help="How long to wait for the job and the packing.",
)
@json_option
@with_client
def download_all_command(client: Client, uuid: str, output: str, timeout: float, as_json: bool) -> None:
    """Fetch all files that a job made as one zip; waits until it is packed.

    `downloadall` and `download-all` are the same command.

    \b
    Example:
      pixyz download_all -j ID -o outputs.zip
    """
    screen = Screen(sys.stderr, quiet=as_json)
    screen.live("Waiting for the archive...")
    saved = client.download_all(
        uuid, output, lambda done, total: screen.bar("Downloading", done, total), timeout=timeout
    )
    _report(saved, screen, as_json)


def _report(saved: Path, screen: Screen, as_json: bool) -> None:
    screen.live("")
    if as_json:
        print_json({"file": str(saved), "bytes": saved.stat().st_size})
    else:
        click.echo(f"Saved {saved}")
