"""Commands that run a pre-built process and fetch what it made: convert, thumbnails, metadata."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

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
from pixyz_ray.cli.run import JobRequest, OutputMode, SentJob, send
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
    type=click.Path(),
    help="File to write, or a folder (DIR/ is made). Default: the name that the process chose, here.",
)
@limit_options
@alias_option
@strict_option
@json_option
@with_client
def convert_command(client: Client, output: str | None, **options: Any) -> None:
    """Convert a 3D file with the process convert_file, and fetch the result.

    The format is the `extension` of -p; without one it is the ending of -o. Formats of several files (obj with its
    materials and textures, gltf) come with all of them, side by side, with the names by which they refer to each
    other.

    \b
    Parameters for -p, all of them optional:
      extension   format to write: "glb", "fbx", "obj", "step", ...
      filename    name of the output, without extension
      quality     "very_high", "high", "medium" or "low": how closely exact
                  surfaces are followed; or sag (mm), sag_ratio, angle (degrees)
      decimate    triangles that are left, or a share of them such as 0.25
      up_axis     "y" or "z"; units: "mm", "cm", "m", "in" or "ft"
      repair      true or false

    `pixyz doc -n convert_file --text` says more.

    \b
    Example:
      pixyz convert -i bolt.step -o bolt.glb
      pixyz convert -i bolt.step -p '{"extension": "obj", "quality": "low"}'
      pixyz convert -i scan.ply -o scan.glb -p '{"decimate": 50000, "units": "mm"}'
    """
    from pixyz_ray.client.target import is_folder

    if output and isinstance(options["params"], dict) and not is_folder(output):
        options["params"] = {**_names_of(Path(output)), **options["params"]}
    sent = _run(client, "convert_file", options)
    _save(sent.job, _converted(sent, output), options["as_json"])


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
@alias_option
@strict_option
@json_option
@with_client
def thumbnails_command(client: Client, output: Path, **options: Any) -> None:
    """Render a 3D file with the process generate_thumbnails, and fetch all that it made.

    That is iso.png, x.png, y.png and z.png with a transparent background, preview.glb, and metadata.json.

    \b
    Parameters for -p, all of them optional:
      width, height   pixels of a picture; default 512
      quality         "very_high", "high", "medium" or "low"; default "medium"
      renderer        "auto", "vtk" or "embree"
      units           unit of a file that names none: "mm", "cm", "m", ...

    \b
    Example:
      pixyz thumbnails -i bolt.step -o pictures
      pixyz thumbnails -i bolt.step -o pictures -p '{"width": 1024}'
    """
    job = _run(client, "generate_thumbnails", options).job
    _save(job, {path: output / _inside(path) for path in job.outputs()}, options["as_json"])


@click.command("metadata", short_help="Describe a 3D file.")
@input_option(required=True)
@params_option
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    default="metadata.json",
    type=click.Path(),
    help="File to write, or a folder (DIR/ is made). Default: metadata.json.",
)
@limit_options
@alias_option
@strict_option
@json_option
@with_client
def metadata_command(client: Client, output: str, **options: Any) -> None:
    """Describe a 3D file with the process generate_metadata, and fetch its metadata.json.

    It has the size (in millimetres), and counts of parts, materials, bodies, triangles, animations, annotations and
    metadata; `pixyz doc -n generate_metadata --text` lists them.

    \b
    Parameters for -p, all of them optional:
      quality   how closely exact surfaces are followed before triangles
                are counted: "very_high", "high", "medium" or "low"
      units     unit of a file that names none: "mm", "cm", "m", ...

    \b
    Example:
      pixyz metadata -i bolt.step -o bolt.json
    """
    job = _run(client, "generate_metadata", options).job
    wanted = [path for path in job.outputs() if path.endswith(".json")]
    chosen = "metadata.json" if "metadata.json" in wanted else next(iter(wanted), "metadata.json")
    _save(job, {chosen: output}, options["as_json"])


def _run(client: Client, process: str, options: dict[str, Any]) -> SentJob:
    """Run a process to its end, and return its job and details; leave with an exit code unless it succeeded."""
    request = JobRequest(
        process=process,
        input_file=options["input_file"],
        params=options["params"],
        alias=options["alias"],
        config={
            "queue": options["queue"],
            "time_limit": options["time_limit"],
            "strict": options["strict"] or None,
        },
    )
    sent = send(client, request, OutputMode(watch=True, as_json=options["as_json"]))
    if sent.info["status"] != "SUCCESS":
        if options["as_json"]:
            print_json(sent.info)
        raise click.exceptions.Exit(exit_code(sent.info["status"]))
    return sent


def _names_of(output: Path) -> dict[str, str]:
    """Return the parameters of convert_file that follow from the file to write.

    Files of a format refer to each other, so the process has to name all of them after the target.
    """
    format = {"extension": output.suffix[1:].lower()} if output.suffix else {}
    plain = not set(output.stem) & set("\\:") and not output.stem.startswith(".")
    return {**format, **({"filename": output.stem} if plain and output.stem else {})}


def _converted(sent: SentJob, output: str | None) -> dict[str, str | Path]:
    """Return where each output goes: the others beside the one that the process names in its result, which is last."""
    from pixyz_ray.client.target import is_folder

    job = sent.job
    outputs, result = job.outputs(), (sent.details or job.details())["result"]
    if not outputs:
        raise click.ClickException(f"Job {job.id} succeeded but made no file. See `pixyz logs -j {job.id}`.")
    named = result.get("output") if isinstance(result, dict) else None
    main = str(named) if named in outputs else outputs[0]
    target = output or "."
    folder = Path(target) if is_folder(target) else Path(target).parent
    return {**{path: folder / _inside(path) for path in outputs if path != main}, main: target}


def _save(job: JobHandle, targets: Mapping[str, str | Path], as_json: bool) -> None:
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
    """Return an output's relative path on this machine, sure to stay inside the folder that it is joined to."""
    from pixyz_ray.client.local_name import local_name

    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise click.ClickException(f"The server names an output outside its folder: {path!r}. Nothing was written.")
    return PurePosixPath(*map(local_name, relative.parts))
