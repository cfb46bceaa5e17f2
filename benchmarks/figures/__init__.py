"""The figures, one function each: takes the Sides, returns the Results of its goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from benchmarks.figures.command import command
from benchmarks.figures.graphs import graphs
from benchmarks.figures.latency import first_line, round_trip
from benchmarks.figures.reads import reads, reads_many
from benchmarks.figures.startup import startup
from benchmarks.figures.throughput import throughput
from benchmarks.figures.transfer import transfer
from benchmarks.goals import Result
from benchmarks.sides import Sides

MEASURES: Mapping[str, Callable[[Sides], list[Result]]] = MappingProxyType(
    {
        # First, with nothing else on the machine.
        "startup": startup,
        "first-line": first_line,
        "round-trip": round_trip,
        "throughput": throughput,
        "graphs": graphs,
        "reads": reads,
        "command": command,
        "transfer": transfer,
        # Last, since it begins with a platform that already has many jobs.
        "reads-many": reads_many,
    }
)
"""Figure -> what measures it, in the order in which they are best run."""
