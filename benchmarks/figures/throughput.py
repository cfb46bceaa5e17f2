"""How many jobs a second come to their end when several clients wait for theirs."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.figures.latency import run_bare, run_ours
from benchmarks.goals import Result, compare
from benchmarks.load import Connection
from benchmarks.sides import Sides, in_turn

CLIENTS = 8


def throughput(sides: Sides) -> list[Result]:
    """Jobs per second with eight clients, each of which sends its next job when it has seen the last one's end."""
    scale = sides.scale
    sides_ = (sides.ours.connect, run_ours), (sides.bare.connect, run_bare)
    for connect, run in sides_:
        rate(connect, run, 1.0)
    values = in_turn(
        scale.load_blocks,
        *(lambda connect=connect, run=run: rate(connect, run, scale.load_s) for connect, run in sides_),
    )
    return [compare("throughput", *values, "{:.0f} /s")]


def rate(connect: Callable[[], Connection], run: Callable[[Connection], float], seconds: float) -> float:
    """Return how many jobs a second come to their end when each client sends its next one after the last one's end."""
    began = time.perf_counter()

    def client(_: int) -> int:
        done = 0
        with connect() as connection:
            while time.perf_counter() < began + seconds:
                run(connection)
                done += 1
        return done

    with ThreadPoolExecutor(CLIENTS) as pool:
        done = sum(pool.map(client, range(CLIENTS)))
    return done / (time.perf_counter() - began)
