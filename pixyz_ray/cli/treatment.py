"""Options of how the platform treats a job: its turn, its retries, what it may use, and how long it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from pixyz_ray.cli.options import Command
from pixyz_ray.units import parse_duration, parse_size

_FOREVER = "forever"
_KEYS = ("priority", "retries", "memory_limit", "gpu", "gpu_memory", "isolation", "keep")


class SizeParam(click.ParamType[int]):
    """An amount of memory: 500MB, 2GiB (units of 1024), or bytes."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes that the text stands for."""
        try:
            size = value if isinstance(value, int) else parse_size(str(value))
        except ValueError:
            size = 0
        if size < 1:
            self.fail(f"{value!r} is not a size. Write it as 500MB, 2GiB, or in bytes.", param, ctx)
        return size


class KeepParam(click.ParamType[Any]):
    """How long a job is kept after its end: `forever`, seconds, or 12h and 7d."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return True to keep forever, else seconds."""
        if value is True or value == _FOREVER:
            return True
        try:
            seconds = parse_duration(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time. Write it as 90 (seconds), 30m, 12h, 7d or forever.", param, ctx)
        return int(seconds) if seconds.is_integer() else seconds


class SeatsParam(click.ParamType[tuple[str, int]]):
    """Seats of a pool: NAME for one of them, or NAME:N."""

    name = "NAME[:N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return the pool's name and the number of seats."""
        if isinstance(value, tuple):
            return value
        pool, _, seats = str(value).partition(":")
        if not pool or not (seats or "1").isdecimal() or int(seats or 1) < 1:
            self.fail(f"{value!r} names no seats. Write NAME for one of a pool, or NAME:N.", param, ctx)
        return pool, int(seats or 1)


_OPTIONS = (
    click.option(
        "--priority",
        metavar="0-9",
        type=click.IntRange(0, 9),
        help="Whose turn it is: 9 goes first. Default: what the script asks for, else 5.",
    ),
    click.option(
        "--retries",
        metavar="N",
        type=click.IntRange(min=0),
        help="How often it may be tried again after a crash, a time-out or a kill for memory.",
    ),
    click.option(
        "--memory-limit", type=SizeParam(), help="Memory that it may use, with all its processes: 500MB, 2GiB."
    ),
    click.option(
        "--gpu",
        type=click.Choice(("require", "prefer")),
        help="require: wait for a machine with a GPU; prefer: run on CPU where there is none. Without -q on queue gpu.",
    ),
    click.option(
        "--gpu-memory",
        type=SizeParam(),
        help="Memory that it needs on a GPU, and may use at most: 8GB. Jobs share a card that has room for them.",
    ),
    click.option(
        "--pool",
        "pools",
        multiple=True,
        type=SeatsParam(),
        help="Seats of a pool, such as licences, that it holds while it runs; may be given several times.",
    ),
    click.option(
        "--isolation",
        type=click.Choice(("warm", "fresh")),
        help="fresh: run in a worker process of its own, which nothing ran in before.",
    ),
    click.option(
        "--keep",
        is_flag=False,
        flag_value=_FOREVER,
        type=KeepParam(),
        help="How long it is kept after its end: seconds, 12h, 7d; forever, also without a TIME.",
    ),
)


def treatment_options(function: Command) -> Command:
    """Add the options of how the platform treats a job."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def treatment(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given as keys of a job's config; None counts as not given."""
    return {**{name: options[name] for name in _KEYS}, "pools": dict(options["pools"]) or None}
