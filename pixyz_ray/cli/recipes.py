"""Commands that run a pre-built process and fetch what it made: convert, thumbnails, metadata."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
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
from pixyz_ray.cli.run import Manner, Order, send
from pixyz_ray.cli.screen import Screen
from pixyz_ray.cli.watch import exit_code

if TYPE_CHECKING:
    from pixyz_ray.client import Client, JobHandle


@click.command("convert", short_help="Convert a 3D file to another format.")
@input_option(required=True)
@params_option
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="File to write, or a folder. Default: the name that the process chose, here.",
)
@limit_options
@json_option
@with_client
def convert_command(client: Client, output: Path | None, **options: Any) -> None:
    """Convert a 3D file with the process convert_file, and fetch the result.

    The format is the `extension` of -p; without one it is the ending of -o.

    \b
    Example:
      pixyz convert -i bolt.step -o bolt.glb
      pixyz convert -i bolt.step -p '{"extension": "obj"}'
    """
    params = options["params"] or {}
    if output and output.suffix and isinstance(params, dict) and not output.is_dir():
        params = {"extension": output.suffix[1:].lower(), **params}
    options["params"] = params
    job = _run(client, "convert_file", options)
    _save(job, {_main_output(job): output or Path()}, options["as_json"])


@click.command("thumbnails", short_help="Render pictures of a 3D file.")
@input_option(required=True)
@params_option
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    default=Path(),
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures; made when it is missing. Default: here.",
)
@limit_options
@json_option
@with_client
def thumbnails_command(client: Client, output: Path, **options: Any) -> None:
    """Render a 3D file with the process generate_thumbnails, and fetch all that it made.

    \b
    Example:
      pixyz thumbnails -i bolt.step -o pictures
    """
    job = _run(client, "generate_thumbnails", options)
    _save(job, {path: output / _inside(path) for path in job.outputs()}, options["as_json"])


@click.command("metadata", short_help="Describe a 3D file.")
@input_option(required=True)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    default=Path("metadata.json"),
    type=click.Path(path_type=Path),
    help="File to write, or a folder. Default: metadata.json.",
)
@limit_options
@json_option
@with_client
def metadata_command(client: Client, output: Path, **options: Any) -> None:
    """Describe a 3D file with the process generate_metadata, and fetch its metadata.json.

    \b
    Example:
      pixyz metadata -i bolt.step -o bolt.json
    """
    job = _run(client, "generate_metadata", options)
    wanted = [path for path in job.outputs() if path.endswith(".json")]
    chosen = "metadata.json" if "metadata.json" in wanted else next(iter(wanted), "metadata.json")
    _save(job, {chosen: output}, options["as_json"])


def _run(client: Client, process: str, options: dict[str, Any]) -> JobHandle:
    """Run a process to its end, and return its job; leave with an exit code unless it succeeded."""
    order = Order(
        process=process,
        input_file=options["input_file"],
        params=options.get("params") or {},
        config={"queue": options["queue"], "time_limit": options["time_limit"]},
    )
    job, info = send(client, order, Manner(watch=True, as_json=options["as_json"]))
    if info["status"] != "SUCCESS":
        if options["as_json"]:
            print_json(info)
        raise click.exceptions.Exit(exit_code(info["status"]))
    return job


def _main_output(job: JobHandle) -> str:
    """Return the output that the process names in its result, else the only one, else the first."""
    outputs, result = job.outputs(), job.details()["result"]
    named = result.get("output") if isinstance(result, dict) else None
    if named in outputs:
        return str(named)
    if not outputs:
        raise click.ClickException(f"Job {job.id} succeeded but made no file. See `pixyz logs -j {job.id}`.")
    return outputs[0]


def _save(job: JobHandle, targets: dict[str, Path], as_json: bool) -> None:
    screen = Screen(sys.stderr, quiet=as_json)
    saved = []
    for path, target in targets.items():
        saved.append(job.download(path, target, lambda done, total: screen.bar("Downloading", done, total)))
        screen.live("")
    if as_json:
        print_json({"uuid": job.id, "files": [str(file) for file in saved]})
    else:
        for file in saved:
            click.echo(f"Saved {file}")


def _inside(path: str) -> PurePosixPath:
    """Return an output's relative path, sure to stay inside the folder that it is joined to."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise click.ClickException(f"The server names an output outside its folder: {path!r}. Nothing was written.")
    return relative
