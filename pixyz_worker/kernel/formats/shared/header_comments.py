"""What files of formats without units say in comments at their top: `units: mm`, and `up: z`.

We write both; of what others write, units in any usual words are understood.
"""

from __future__ import annotations

import re

from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Axis

METRES: dict[str, float] = {
    "m": 1.0,
    "mm": 1e-3,
    "cm": 1e-2,
    "in": 0.0254,
    "ft": 0.3048,
    "um": 1e-6,
    "km": 1e3,
    "yd": 0.9144,
}
"""Metres in one unit, by the short name that we write."""

_LONG = {
    "metre": "m",
    "meter": "m",
    "millimetre": "mm",
    "millimeter": "mm",
    "centimetre": "cm",
    "centimeter": "cm",
    "inch": "in",
    "inche": "in",
    "foot": "ft",
    "feet": "ft",
    "micron": "um",
    "micrometre": "um",
    "micrometer": "um",
    "kilometre": "km",
    "kilometer": "km",
    "yard": "yd",
}
_UP = re.compile(r"^[#\s]*up: ([xyz])\s*$", re.MULTILINE)
_STATED = re.compile(r"\bunits?\s*[:=]\s*(?:(\d[\d.]*(?:e[+-]?\d+)?)\s*)?([a-z]+)", re.IGNORECASE)


def metres(name: str) -> float | None:
    """Metres in a unit, by its short or long English name, one or many; None when it is not known."""
    word = name.strip().lower()
    word = _LONG.get(word, _LONG.get(word.removesuffix("s"), word))
    return METRES.get(word)


def stated(comment: str) -> float | None:
    """Metres in the unit that a comment names, such as `units: mm` or `units: 2.5 mm`; None when it names none."""
    for number, name in _STATED.findall(comment):
        unit = metres(name)
        size = (unit or 0.0) * (float(number) if number.count(".") < 2 and number else 1.0)
        if 1e-12 < size < 1e12:
            return size
    return None


def comments(unit_m: float | None, up: Axis | None) -> list[str]:
    """What comments say of such a unit and such an axis; nothing of what nobody knows."""
    said = [] if unit_m is None else [f"units: {_words(unit_m)}"]
    return said if up is None else [*said, f"up: {up}"]


def up_of(said: str) -> Axis | None:
    """The axis that points up, as comments say it; None when they do not."""
    found = _UP.search(said)
    axes: dict[str, Axis] = {"x": "x", "y": "y", "z": "z"}
    return axes[found[1]] if found else None


def unit_of(said: str, options: ReadOptions) -> float | None:
    """Metres in the unit of a file: the one that its comments name, else the one that the reader is told, else None."""
    return stated(said) or options.unit_m


def _words(unit_m: float) -> str:
    for name, size in METRES.items():
        if abs(size - unit_m) <= 1e-9 * size:
            return name
    return f"{unit_m!r} m"
