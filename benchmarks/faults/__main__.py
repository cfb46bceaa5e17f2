"""`python -m benchmarks.faults [PART ...] [--jobs N] [--small] [--write]`: make faults, measure, write the page."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import machine
from benchmarks.faults import page
from benchmarks.faults.backlog import backlog
from benchmarks.faults.chaos import Plan, Report, chaos
from benchmarks.faults.detection import detection
from benchmarks.faults.figures import Figure, table
from benchmarks.faults.outages import FREEZES, KILLS
from benchmarks.platform import ROOT

PAGE = ROOT / "docs" / "reliability.md"
PARTS = ("chaos", "detection", "backlog")


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Counts of one run."""

    plan: Plan
    """The chaos run."""
    deaths: int
    """Workers that are killed one by one."""
    stops: int
    """Time limits, and cancels, of each stubborn script."""
    waiting: int
    """Jobs in the long queue."""


FULL = Scale(plan=Plan(jobs=1000, outages=(*KILLS, *FREEZES)), deaths=40, stops=10, waiting=100_000)
SMALL = Scale(plan=page.SMALL_PLAN, deaths=8, stops=2, waiting=2000)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
@click.option("--jobs", type=click.IntRange(min=10), help="Jobs of the chaos run.")
@click.option(
    "--small", is_flag=True, help="Few jobs, few kills, a short queue: does it run, and about what comes out?"
)
@click.option("--seed", type=int, help="What decides by chance in the chaos run.")
@click.option(
    "--write/--no-write", default=None, help="Write docs/reliability.md; by default when all is measured in full."
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to work: half a million small files. Default: the system's temporary folder.",
)
def main(
    parts: Sequence[str], jobs: int | None, small: bool, seed: int | None, write: bool | None, folder: Path | None
) -> None:
    """Make faults on a platform of their own, and measure: all parts, or those named.

    \b
    Parts: chaos detection backlog
    """
    scale = SMALL if small else FULL
    plan = page.changed(scale.plan, jobs, seed)
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="pixyz-faults-", dir=folder))
    figures: list[Figure] = []
    reports: list[Report] = []

    def say(line: str) -> None:
        click.echo(line, err=True)

    def run_chaos() -> list[Figure]:
        reports.append(chaos(plan, say, work))
        for trouble in reports[-1].verdict.troubles:
            say(trouble)
        return page.chaos_figures(reports[-1])

    measures = {
        "chaos": run_chaos,
        "detection": lambda: detection(scale.deaths, scale.stops, say, work),
        "backlog": lambda: backlog(scale.waiting, say, work),
    }
    try:
        described = machine.describe(work)
        for name in [name for name in PARTS if not parts or name in parts]:
            say(f"{name} ...")
            figures += measures[name]()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    minutes = (time.monotonic() - began) / 60
    click.echo(table(figures))
    say(f"\n{described}\n\n{minutes:.1f} minutes")
    if reports and (write or (write is None and not (parts or small or jobs or seed))):
        counts = {"deaths": scale.deaths, "stops": scale.stops, "waiting": scale.waiting}
        PAGE.write_text(page.page(figures, reports[0], described, minutes, counts), encoding="utf-8")
        say(f"{PAGE} is written.")
    # Times depend on the machine; that a job is lost does not.
    sys.exit(0 if all(report.passed for report in reports) else 1)


if __name__ == "__main__":
    main()
