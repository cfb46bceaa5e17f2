"""How long the whole command takes, from the shell and back."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.goals import Result
from benchmarks.platform import NOOP, clean_environment
from benchmarks.sides import Sides, in_turn


def command(sides: Sides) -> list[Result]:
    """`pixyz exec -rw` of a no-op beside a Python that only imports the HTTP library."""
    script = sides.folder / "noop.py"
    script.write_bytes(NOOP)

    def ours() -> float:
        began = time.perf_counter()
        shown = sides.ours.command("exec", "-s", str(script), "-rw")
        seconds = time.perf_counter() - began
        if "SUCCESS" not in shown:
            raise RuntimeError(shown)
        return seconds

    def bare() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import httpx"], env=clean_environment(), check=True)
        return time.perf_counter() - began

    ours()
    bare()
    mine, other = in_turn(sides.scale.commands, ours, bare)
    differences = tuple(one - two for one, two in zip(mine, other, strict=True))
    medians = (f"{sorted(values)[len(values) // 2]:.2f} s" for values in (mine, other))
    return [Result(key="command", ours=next(medians), bare=next(medians), values=differences)]
