"""The jobs of the chaos run: what each one does, and what must come out of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.chaos_script import RETRIES

SCRIPT = Path(__file__).with_name("chaos_script.py")
POOL, SEATS = "seat", 3
GRAPH_RESULTS: Mapping[str, Any] = {"chain": 3, "group": [1, 1, 1], "chord": 3, "heavy": 4}
"""What each graph of the script comes to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One job as it is sent."""

    number: int
    """Its place in the run."""
    name: str
    """Alias, which no other job of the run has."""
    kind: str
    """What it does, in a word."""
    params: Mapping[str, Any]
    """What its entrypoint gets."""
    config: Mapping[str, Any]
    """How the platform is to treat it."""
    files: frozenset[str] = frozenset()
    """Outputs that it leaves, each with the token of its attempt."""
    result: Any = None
    """What it must return; None where that is the token of the attempt."""


@dataclass(kw_only=True, slots=True)
class Sent:
    """A job that the platform has, and what was seen of it."""

    order: Order
    """What was sent."""
    uuid: str
    """Its id."""
    answered: bool
    """Whether its POST was answered; else it was found by its alias."""
    cancelled: str | None = None
    """What came of asking to cancel it: the state answered, `unknown` without an answer; None when nobody asked."""
    seen: dict[str, Any] = field(default_factory=dict)
    """Its details when its end was first seen."""


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    weight: int
    params: Callable[[random.Random], dict[str, Any]]
    config: Mapping[str, Any] = field(default_factory=dict)


def _seconds(low: float, high: float) -> Callable[[random.Random], dict[str, Any]]:
    return lambda chance: {"seconds": round(chance.uniform(low, high), 2)}


def _shape(chance: random.Random) -> dict[str, Any]:
    return {"kind": "graph", "shape": chance.choice(sorted(GRAPH_RESULTS))}


_KINDS = (
    _Kind("nothing", 18, lambda _: {}),
    _Kind("sleep", 22, _seconds(0.3, 2.0)),
    _Kind("files", 16, lambda chance: {"kind": "nothing", "files": chance.randint(3, 8)}),
    _Kind("loop", 8, _seconds(0.1, 0.8)),
    _Kind("child", 6, lambda chance: {**_seconds(0.1, 0.6)(chance), "files": 2}),
    _Kind("crash", 6, lambda _: {"files": 2}),
    _Kind("graph, wait=True", 6, _shape, {"entrypoint": "graph_waits"}),
    _Kind("graph, .get()", 6, _shape, {"entrypoint": "graph_gets"}),
    _Kind("seat", 8, lambda chance: {"kind": "sleep", **_seconds(0.1, 0.6)(chance)}, {"pools": {POOL: 1}}),
    _Kind("two seats", 4, lambda chance: {"kind": "sleep", **_seconds(0.1, 0.6)(chance)}, {"pools": {POOL: 2}}),
)


def make_orders(count: int, ledgers: Path, chance: random.Random) -> list[Order]:
    """Return so many jobs, every kind among the first of them, in an order of their own.

    Args:
        count: how many.
        ledgers: folder, outside of the platform, of the lines that attempts leave.
        chance: what decides.
    """
    kinds = [*_KINDS, *chance.choices(_KINDS, [kind.weight for kind in _KINDS], k=max(0, count - len(_KINDS)))][:count]
    chance.shuffle(kinds)
    return [_order(number, kind, ledgers, chance) for number, kind in enumerate(kinds)]


def _order(number: int, kind: _Kind, ledgers: Path, chance: random.Random) -> Order:
    ledger = str(ledgers / str(number))
    params = {"kind": kind.name, "n": number, "ledger": ledger, **kind.params(chance)}
    return Order(
        number=number,
        name=f"chaos-{number}",
        kind=kind.name,
        params=params,
        # The kills are many: what they end must be tried again more often than a job's own crash would be.
        config={"retries": RETRIES, **kind.config},
        files=frozenset(f"part-{file}.txt" for file in range(params.get("files", 0))),
        result=GRAPH_RESULTS.get(params.get("shape", "")),
    )
