"""Options that several commands share, and the JSON parameter."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from pixyz_ray.cli.app import Access

P = ParamSpec("P")
R = TypeVar("R")
Command = Callable[..., Any]


class JsonParam(click.ParamType[Any]):
    """JSON on the command line, in a file (`@params.json`) or on standard input (`-`)."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value that the text stands for."""
        if not isinstance(value, str):
            return value
        text, place = self._read(value, param, ctx)
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            row = text.splitlines()[error.lineno - 1] if text.strip() else ""
            mark = f"\n  {row}\n  {' ' * (error.colno - 1)}^" if len(row) < 200 else ""
            message = f"{place} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.{mark}"
            self.fail(message, param, ctx)
        except ValueError as error:
            self.fail(f"{place} is not valid JSON: {error}.", param, ctx)

    def _read(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if value == "-":
            return sys.stdin.read(), "standard input"
        if not value.startswith("@"):
            return value, "the value"
        try:
            return Path(value[1:]).read_text(encoding="utf-8"), value[1:]
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"cannot read {value[1:]}: {error}", param, ctx)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def with_client(function: Callable[P, R]) -> Command:
    """Give a command a connected client as its first argument, and the options that say to which platform."""

    @click.option("-u", "--url", metavar="URL", help="URL of the platform (also before the command).")
    @click.option(
        "-t",
        "--token",
        "-k",
        "--key",
        "token",
        metavar="TOKEN",
        help="Token of the platform (the same as -k before the command).",
    )
    @click.pass_obj
    @functools.wraps(function)
    def command(access: Access, url: str | None, token: str | None, *args: Any, **options: Any) -> R:
        from pixyz_ray.client import Client

        with Client(url or access.url, token or access.token) as client:
            return function(client, *args, **options)  # type: ignore[arg-type]

    return command


def job_option(function: Command) -> Command:
    """Add `-j`, the job that the command is about."""
    return click.option("-j", "--job", "uuid", metavar="ID", required=True, help="Id of the job.")(function)


def json_option(function: Command) -> Command:
    """Add `--json` to a command whose output is made for people."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(function)


def table_option(function: Command) -> Command:
    """Add `-r` to a command that prints a table."""
    return click.option("-r", "--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(function)


def input_option(*, required: bool) -> Callable[[Command], Command]:
    """Add `-i`, the file that the script gets."""
    return click.option(
        "-i",
        "--input",
        "input_file",
        metavar="FILE",
        required=required,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Input file; the script finds it with pc.get_input_file().",
    )


def params_option(function: Command) -> Command:
    """Add `-p`, the parameters of the script."""
    return click.option(
        "-p",
        "--params",
        type=JsonParam(),
        help="Parameters of the script as JSON, as @FILE, or - for standard input. Default: {}.",
    )(function)


def limit_options(function: Command) -> Command:
    """Add `-q` and `-l`, where the job runs and for how long."""
    function = click.option(
        "-l",
        "--time-limit",
        "time_limit",
        metavar="SECONDS",
        type=click.IntRange(min=1),
        help="Seconds that the job may run. Default: what the script asks for, else 3600.",
    )(function)
    return click.option(
        "-q",
        "--queue",
        metavar="QUEUE",
        help="Queue: cpu, gpu, gpuhigh, control, zip, clean. Default: what the script asks for, else cpu.",
    )(function)


def print_json(value: Any) -> None:
    """Print a value the way the tutorial shows it."""
    click.echo(json.dumps(value, indent=4, ensure_ascii=False))
