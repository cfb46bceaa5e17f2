"""Root of the command line: which commands there are, where they live, and how an error becomes an exit code.

Exit codes: 0 success; 1 the server refused; 2 wrong usage; 3 no platform answers; 10 to 17 a watched job
did not end with SUCCESS (see `watch.EXIT_CODES`); 130 interrupted.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "up": "platform",
        "down": "platform",
        "doctor": "doctor",
        "config": "config",
        "backup": "backup",
        "restore": "backup",
        "version": "ask",
        "exec": "run",
        "process": "run",
        "convert": "recipes",
        "thumbnails": "recipes",
        "metadata": "recipes",
        "list": "ask",
        "doc": "ask",
        "jobs": "ask",
        "queue": "queue",
        "nodes": "nodes",
        "drain": "nodes",
        "status": "ask",
        "details": "ask",
        "graph": "graph",
        "logs": "ask",
        "cancel": "ask",
        "pin": "ask",
        "remove": "ask",
        "outputs": "fetch",
        "download": "fetch",
        "download_all": "fetch",
        "nginx": "nginx",
        "completion": "platform",
    }
)
"""Command -> module of this package that has it as `NAME_command`; loaded when it is asked for."""

ALIASES: Mapping[str, str] = MappingProxyType({"downloadall": "download_all", "download-all": "download_all"})

_REFUSED, _USAGE, _UNREACHABLE, _INTERRUPTED = 1, 2, 3, 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What was given before the command's name."""

    url: str | None
    """Base URL of the platform; None: look it up."""
    token: str | None
    """Token; None: look it up."""


class LazyGroup(click.Group):
    """Group whose commands are imported when they are named, and whose errors end with a sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name or an alias."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = import_module(f"pixyz_ray.cli.{COMMANDS[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; the error for one that does not exist names the nearest."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            from pixyz_worker.nearest import SIMILAR, suggestion

            if hint := suggestion(args[0], (*COMMANDS, *ALIASES), cutoff=SIMILAR):
                ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nInterrupted.", err=True)
            raise click.exceptions.Exit(_INTERRUPTED) from None
        except Exception as error:
            failure = _explain(error)
            if failure is None:
                raise
            raise failure from error


class _Failure(click.ClickException):
    """A sentence on standard error, and the exit code to leave with."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.exit_code = code  # type: ignore[misc]  # click declares it per class, and reads it from the instance


def _explain(error: Exception) -> click.ClickException | None:
    """Return an expected error as a sentence with its exit code; None for any other, which is a bug."""
    from pixyz_worker.exception import PixyzException, PixyzFileNotFound, PixyzWebError

    if isinstance(error, OSError) and error.filename is not None:
        return _Failure(f"{error.filename}: {error.strerror or error}.", _USAGE)
    if not isinstance(error, PixyzException):
        return None
    from pixyz_ray.client.address import config_path
    from pixyz_ray.client.errors import FileNotWritten, InvalidClientConfig, PlatformUnreachable

    sentence, code = error.message, _REFUSED
    if isinstance(error, PixyzWebError):
        sentence = f"{error.message} (HTTP {error.status_code})"
        if error.status_code == 401:
            sentence += f"\nGive the token with -k TOKEN, PIXYZ_TOKEN or {config_path()}."
    elif isinstance(error, PlatformUnreachable):
        code = _UNREACHABLE
    elif isinstance(error, InvalidClientConfig | FileNotWritten | PixyzFileNotFound):
        code = _USAGE
    return _Failure(sentence, code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "-u",
    "--url",
    metavar="URL",
    help="URL of the platform. Default: PIXYZ_URL, the configuration file, this machine's platform, "
    "http://127.0.0.1:8001.",
)
@click.option(
    "-k",
    "--key",
    "-t",
    "--token",
    "token",
    metavar="TOKEN",
    help="Token of the platform. Default: PIXYZ_TOKEN, or the one stored beside the URL.",
)
@click.pass_context
def cli(ctx: click.Context, url: str | None, token: str | None) -> None:
    """Run Python scripts for 3D and CAD data on a platform, and fetch what they made.

    \b
    Example:
      pixyz up --detach                                   start a platform on this machine
      pixyz exec -s scripts/tutorial/00_sleep.py -rw      run a script, follow it, print its result
      pixyz convert -i bolt.step -o bolt.glb              convert a file and fetch the result
      pixyz -u URL -k TOKEN jobs --status FAILURE         ask another platform
      pixyz down

    Every command line of client.py works here: write `pixyz` in place of `python client.py`.
    """
    ctx.obj = Access(url=url, token=token)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the bar and the hourglass are not in every encoding
    cli.main(args=list(args) if args is not None else None, prog_name="pixyz")
