"""`python -m benchmarks [FIGURE ...] [--quick] [--write]`: measure, show the table, and write docs/performance.md."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import click

from benchmarks import machine, report
from benchmarks.figures import MEASURES
from benchmarks.goals import FIGURES, GOALS, Result
from benchmarks.platform import ROOT
from benchmarks.scale import FULL, QUICK
from benchmarks.sides import Sides

PAGE = ROOT / "docs" / "performance.md"


@click.command()
@click.argument("figures", nargs=-1, type=click.Choice(sorted(FIGURES)), metavar="[FIGURE]...")
@click.option("--quick", is_flag=True, help="Few and small measurements: does it run, and about what comes out?")
@click.option(
    "--write/--no-write", default=None, help="Write docs/performance.md; by default when all is measured in full."
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to work, on the disk to be measured; 4 GB. Default: the system's temporary folder.",
)
def main(figures: tuple[str, ...], quick: bool, write: bool | None, folder: Path | None) -> None:
    """Measure the platform against bare Ray, Serve and uvicorn: all figures, or those named.

    \b
    Figures: first-line round-trip throughput graphs reads reads-many command startup transfer
    """
    wanted = [name for name in MEASURES if not figures or name in figures]
    scale = QUICK if quick else FULL
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="pixyz-benchmarks-", dir=folder))
    results: dict[str, Result] = {}
    try:
        described = machine.describe(work)
        with Sides(work, scale) as sides:
            for name in wanted:
                click.echo(f"{name} ...", err=True)
                results |= {result.key: result for result in MEASURES[name](sides)}
    finally:
        shutil.rmtree(work, ignore_errors=True)
    minutes = (time.monotonic() - began) / 60
    click.echo(report.table(results, tuple(goal for goal in GOALS if goal.key in results)))
    click.echo(f"\n{described}\n\n{minutes:.1f} minutes", err=True)
    if write or (write is None and not figures and not quick):
        PAGE.write_text(report.page(results, described, scale, minutes), encoding="utf-8")
        click.echo(f"{PAGE} is written.", err=True)


if __name__ == "__main__":
    main()
