"""Options that several commands share, and the JSON parameter."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from pixyz_ray.cli.app import Access

_QUOTES = (
    "\nThe shell kept the single quotes. Windows: write the JSON to a file and give -p @FILE, "
    'or quote it as "{\\"time\\": 1}".'
)
P = ParamSpec("P")
R = TypeVar("R")
Command = Callable[..., Any]


class SecondsParam(click.ParamType[float]):
    """A time in seconds: any number above 0.

    Args:
        with_zero: whether 0 is a time too.
        most: the longest time, in seconds.
    """

    name = "SECONDS"

    def __init__(self, *, with_zero: bool = False, most: float = math.inf) -> None:
        self._with_zero = with_zero
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, as an integer where it is one."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not (0 < seconds < math.inf or (self._with_zero and seconds == 0)):
            least = "from 0 on" if self._with_zero else "above 0"
            self.fail(
                f"{value!r} is not a time. Write it as a number of seconds {least}, such as 90 or 0.5.", param, ctx
            )
        if seconds > self._most:
            self.fail(f"{value} seconds are too long: at most {self._most:g}.", param, ctx)
        return int(seconds) if seconds.is_integer() else seconds


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
            self.fail(message + (_QUOTES if text.startswith("'") else ""), param, ctx)
        except ValueError as error:
            self.fail(f"{place} is not valid JSON: {error}.", param, ctx)

    def _read(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if value != "-" and not value.startswith("@"):
            return value, "the value"
        place = "standard input" if value == "-" else value[1:]
        try:
            content = sys.stdin.buffer.read() if value == "-" else Path(place).read_bytes()
            # JSON is UTF-8 whatever the code page; PowerShell writes UTF-16, and a byte order mark.
            return content.decode(json.detect_encoding(content)), place
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"cannot read {place}: {error}", param, ctx)


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
    return click.option("-j", "--job", "--jobid", "uuid", metavar="ID", required=True, help="Id of the job.")(function)


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
        type=click.Path(exists=True, dir_okay=False),
        help="Input file; the script finds it with pc.get_input_file().",
    )


def params_option(function: Command) -> Command:
    """Add `-p`, the parameters of the script."""
    return click.option(
        "-p",
        "--params",
        default="{}",
        type=JsonParam(),
        help="Parameters of the script: any JSON, @FILE, or - for standard input. Default: {}.",
    )(function)


def alias_option(function: Command) -> Command:
    """Add `-a`, the name of the job."""
    return click.option("-a", "--alias", metavar="NAME", help="Name of the job in lists.")(function)


def strict_option(function: Command) -> Command:
    """Add `--strict`."""
    return click.option(
        "--strict",
        is_flag=True,
        help="Refuse unknown parameters and misspelt settings; otherwise a note names them.",
    )(function)


def limit_options(function: Command) -> Command:
    """Add `-q` and `-l`, where the job runs and for how long."""
    function = click.option(
        "-l",
        "--limit",
        "--time-limit",
        "time_limit",
        type=SecondsParam(),
        help="Seconds that one attempt may run, such as 90 or 0.5; a retry on another queue has that queue's limit. "
        "Default: what the script asks for, else the queue's.",
    )(function)
    return click.option(
        "-q",
        "--queue",
        metavar="QUEUE",
        help="Queue: cpu, gpu, gpuhigh, control, zip, clean. Default: what the script asks for, else cpu.",
    )(function)


def json_text(value: Any) -> str:
    """Return a value as JSON, in the layout of the tutorial, with escapes for what standard output cannot encode."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "")
    return json.dumps(value, indent=4, ensure_ascii=encoding not in ("utf8", "utf8sig"))


def print_json(value: Any) -> None:
    """Print a value as JSON, in the layout of the tutorial."""
    click.echo(json_text(value))
