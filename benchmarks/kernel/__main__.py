"""`python -m benchmarks.kernel [FIGURE ...] [--blocks N] [--small]`: measure the 3D kernel, and write its page."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import machine
from benchmarks.goals import Result, compare
from benchmarks.kernel import inputs
from benchmarks.kernel.goals import ALONE, GOALS, WRITTEN
from benchmarks.kernel.page import page, quality_table
from benchmarks.kernel.quality import Quality, decimations, repairs
from benchmarks.platform import ROOT
from benchmarks.report import table

PAGE = ROOT / "docs" / "kernel-figures.md"
FIGURES = ("step", "write", "decimate", "thumbnails", "open", "quality")
SAMPLE = ROOT / "samples" / "bracket_assembly.step"
LARGE, MILLION, MEDIUM = 1_300_000, 1_000_000, 207_000
_CHILD_S = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one process said of itself."""

    seconds: float
    megabytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A folder with the files that are measured, and how often each is."""

    folder: Path
    blocks: int
    """Runs of each side, in turn."""
    scale: float
    """Share of the full sizes."""
    say: Callable[[str], None]

    def file(self, name: str, make: Callable[[Path], None]) -> Path:
        """A file that is made when it is first asked for."""
        path = self.folder / name
        if not path.exists():
            self.say(f"making {name} ...")
            make(path)
        return path

    def step(self) -> Path:
        """The STEP assembly."""
        plates = max(round(inputs.PLATES * self.scale), 2)
        return self.file("assembly.step", lambda path: inputs.step_assembly(path, plates))

    def glb(self, triangles: int) -> Path:
        """A GLB of so many triangles at full size."""
        wanted = round(triangles * self.scale)
        return self.file(f"ball-{wanted}.glb", lambda path: inputs.glb(path, wanted))

    def run(self, task: str, source: Path, target: str = "out.glb") -> Measured:
        """One task in a process of its own."""
        command = [sys.executable, "-m", "benchmarks.kernel.work", task, str(source), str(self.folder / target)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_CHILD_S, check=False)
        if done.returncode:
            raise click.ClickException(f"{task} of {source.name} failed: {done.stderr.strip()[-2000:]}")
        return Measured(**json.loads(done.stdout.splitlines()[-1]))

    def pair(self, key: str, ours: tuple[str, Path, str], bare: tuple[str, Path, str]) -> list[Result]:
        """Time and memory of both sides, run in turn."""
        self.say(f"{key} ...")
        mine, others = list[Measured](), list[Measured]()
        for _ in range(self.blocks):
            mine.append(self.run(*ours))
            others.append(self.run(*bare))
        times = compare(f"{key}-time", _seconds(mine), _seconds(others), "{:.2f} s")
        memory = compare(f"{key}-memory", _megabytes(mine), _megabytes(others), "{:.0f} MB")
        return [times, memory]


def step(bench: Bench) -> list[Result]:
    """STEP to GLB, with exact surfaces and without, beside cascadio alone."""
    source, bare = bench.step(), "bare.glb"
    exact = bench.pair("step", ("convert-step", source, "out.glb"), ("cascadio", source, bare))
    return exact + bench.pair("step-base", ("convert-base", source, "out.glb"), ("cascadio", source, bare))


def write(bench: Bench) -> list[Result]:
    """A GLB to other formats, beside trimesh where it writes them."""
    source, results = bench.glb(LARGE), list[Result]()
    for kind in WRITTEN:
        results += bench.pair(kind, ("convert", source, f"out.{kind}"), ("trimesh", source, f"bare.{kind}"))
    for kind in ALONE:
        bench.say(f"{kind} ...")
        seconds = _seconds([bench.run("convert", source, f"out.{kind}") for _ in range(bench.blocks)])
        results.append(_alone(f"{kind}-time", seconds))
    return results


def decimate(bench: Bench) -> list[Result]:
    """A million triangles down to a tenth."""
    source = bench.glb(MILLION)
    return bench.pair("decimate", ("decimate", source, "-"), ("simplification", source, "-"))


def thumbnails(bench: Bench) -> list[Result]:
    """Four pictures of the STEP assembly, beside the time to import and tessellate it."""
    source = bench.step()
    bench.run("convert-step", source, "assembly.glb")
    results = []
    for renderer in ("embree", "vtk"):
        bench.say(f"thumbnails by {renderer} ...")
        runs = [
            (bench.run(renderer, bench.folder / "assembly.glb", "."), bench.run("read", source))
            for _ in range(bench.blocks)
        ]
        mine, others = [pair[0] for pair in runs], [pair[1] for pair in runs]
        results.append(compare(f"thumbnails-{renderer}", _seconds(mine), _seconds(others), "{:.2f} s"))
    return results


def open_container(bench: Bench) -> list[Result]:
    """A .pxz beside the GLB that it was made of."""
    source = bench.glb(LARGE)
    bench.run("convert-edited", source, "large.pxz")
    return bench.pair("open", ("read", bench.folder / "large.pxz", "-"), ("read", source, "-"))[:1]


MEASURES: Mapping[str, Callable[[Bench], list[Result]]] = {
    "step": step,
    "write": write,
    "decimate": decimate,
    "thumbnails": thumbnails,
    "open": open_container,
}


def _seconds(runs: Sequence[Measured]) -> list[float]:
    return [run.seconds for run in runs]


def _megabytes(runs: Sequence[Measured]) -> list[float]:
    return [run.megabytes for run in runs]


def _alone(key: str, seconds: Sequence[float]) -> Result:
    middle = sorted(seconds)[len(seconds) // 2]
    return Result(key=key, ours=f"{middle:.2f} s", values=(1.0,))


@click.command()
@click.argument("figures", nargs=-1, type=click.Choice(FIGURES), metavar="[FIGURE]...")
@click.option("--blocks", default=5, show_default=True, type=click.IntRange(min=1), help="Runs of each side, in turn.")
@click.option("--small", is_flag=True, help="Small files, one run each: does it run, and about what comes out?")
@click.option("--write/--no-write", default=None, help="Write docs/kernel-figures.md; by default when all is measured.")
def main(figures: Sequence[str], blocks: int, small: bool, write: bool | None) -> None:
    """Measure the 3D kernel beside the libraries that it stands on: all figures, or those named.

    \b
    Figures: step write decimate thumbnails open quality
    """
    began = time.monotonic()
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="pixyz-kernel-bench-") as folder:
        bench = Bench(
            folder=Path(folder),
            blocks=1 if small else blocks,
            scale=0.02 if small else 1.0,
            say=lambda line: click.echo(line, err=True),
        )
        described = machine.describe(bench.folder)
        for name in [name for name in figures or FIGURES if name in MEASURES]:
            results |= {result.key: result for result in MEASURES[name](bench)}
    shapes: list[Quality] = []
    if "quality" in (figures or FIGURES):
        click.echo("quality ...", err=True)
        shapes = [*decimations(SAMPLE), *repairs(SAMPLE)]
    minutes = (time.monotonic() - began) / 60
    shown = tuple(goal for goal in GOALS if goal.key in results)
    click.echo(table(results, shown))
    click.echo(f"\n{quality_table(shapes)}" if shapes else "")
    click.echo(f"\n{described}\n\n{minutes:.1f} minutes", err=True)
    if write or (write is None and not (figures or small)):
        PAGE.write_text(page(results, shapes, described, bench.blocks, minutes), encoding="utf-8")
        click.echo(f"{PAGE} is written.", err=True)


if __name__ == "__main__":
    main()
