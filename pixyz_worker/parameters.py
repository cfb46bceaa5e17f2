"""Parameters of a process, checked: each wrong one is refused with a sentence that says what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any, TypeVar

from pixyz_worker.console import say
from pixyz_worker.exception import PixyzException
from pixyz_worker.nearest import suggestion

Default = TypeVar("Default")

UNITS = {"mm": 0.001, "cm": 0.01, "m": 1.0, "in": 0.0254, "ft": 0.3048}
"""Metres in each unit that a parameter may name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fineness:
    """How closely triangles follow exact surfaces; the smaller of sag and sag_ratio holds."""

    sag_mm: float
    """Largest distance from the surface, in millimetres; -1 leaves it to sag_ratio."""
    sag_ratio: float
    """The same as a share of the diagonal of a part's box; -1 leaves it to sag_mm."""
    angle_deg: float
    """Largest angle between the normals of triangles that meet, in degrees; -1 for any."""


QUALITIES: dict[str, Fineness] = {
    "very_high": Fineness(sag_mm=0.01, sag_ratio=0.0001, angle_deg=-1),
    "high": Fineness(sag_mm=0.1, sag_ratio=0.0002, angle_deg=-1),
    "medium": Fineness(sag_mm=0.2, sag_ratio=0.0003, angle_deg=-1),
    "low": Fineness(sag_mm=1.0, sag_ratio=0.001, angle_deg=-1),
}
"""The qualities that a parameter may name, finest first; 0 to 3 name them too."""


class Parameters:
    """The params of a job. Every method takes one by its name and gives it checked, or the default without it.

    >>> params = Parameters({"width": 64})
    >>> params.whole("width", 512, low=1), params.whole("height", 512, low=1)
    (64, 512)

    All of them raise PixyzException with a sentence when the value is wrong. None counts as not given.
    """

    def __init__(self, given: Any) -> None:
        if not isinstance(given, Mapping):
            raise PixyzException(f"params must be an object with names and values, not {given!r}")
        self._given = given
        self._known: set[str] = set()

    def text(self, name: str, default: str) -> str:
        """A text that is not empty."""
        value = self._value(name, default)
        if not isinstance(value, str) or not value.strip():
            raise _wrong(name, "a text", value)
        return value

    def extension(self, name: str, default: str) -> str:
        """A format to write, as a file extension: in lower case, without a dot."""
        value = self._value(name, default)
        if not isinstance(value, str) or not value.strip(". ").isalnum():
            from pixyz_worker.kernel.formats import writable_extensions

            raise _wrong(name, f"one of {', '.join(sorted(writable_extensions()))}", value)
        return value.strip(". ").lower()

    def file_name(self, name: str, default: str) -> str:
        """The name of a file that is sure to lie right in the output folder."""
        value = self._value(name, default)
        plain = isinstance(value, str) and value.strip() and not value.startswith(".")
        if not plain or any(mark in value for mark in "/\\:\0"):
            raise _wrong(name, "a plain name without a folder", value)
        return str(value)

    def choice(self, name: str, choices: Sequence[str], default: Default) -> str | Default:
        """One of several words, in any case."""
        value = self._value(name, default)
        if value is default:
            return default
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in choices:
            raise _wrong(name, f"one of {', '.join(choices)}", value)
        return word

    def seconds(self, name: str, default: Default) -> float | Default:
        """A time in seconds, 0 or more."""
        value = self._value(name, default)
        if value is default:
            return default
        if not _is_number(value) or not 0 <= value < inf:
            raise _wrong(name, "a number of seconds, 0 or more", value)
        return float(value)

    def number(self, name: str, default: Default, *, above: float = 0.0, most: float = inf) -> float | Default:
        """A number above a bound, and not above another."""
        value = self._value(name, default)
        if value is default:
            return default
        if not _is_number(value) or not above < value <= most or value == inf:
            bound = f" and {most:g} at most" if most < inf else ""
            raise _wrong(name, f"a number above {above:g}{bound}", value)
        return float(value)

    def whole(self, name: str, default: int, *, low: int = 0, most: int = 2**31) -> int:
        """A whole number between two bounds."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= most:
            raise _wrong(name, f"a whole number from {low} to {most}", value)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise _wrong(name, "true or false", value)
        return value

    def decimation(self, name: str) -> list[Any] | None:
        """A target for algo.decimateTarget: triangles as a whole number, or a share of them above 0 and below 1."""
        value = self._value(name, None)
        if value is None:
            return None
        if _is_number(value) and 0 < value < 1:
            return ["ratio", 100 * float(value)]
        if _is_number(value) and 1 <= value < inf and value == int(value):
            return ["triangleCount", int(value)]
        raise _wrong(name, "a number of triangles, or a share of them such as 0.25", value)

    def shares(self, name: str, default: Sequence[float]) -> list[float]:
        """A list of shares, each above 0, at most 1, and below the one before it."""
        value = self._value(name, list(default))
        right = isinstance(value, list) and all(_is_number(share) and 0 < share <= 1 for share in value)
        if not right or any(after >= before for before, after in pairwise(value)):
            raise _wrong(name, "a list of shares from 1 down, such as [1, 0.5, 0.25]", value)
        return [float(share) for share in value]

    def fineness(self, default: Fineness | None) -> Fineness | None:
        """The parameters quality, sag, sag_ratio and angle, which is stronger than what quality says of each."""
        quality = self._value("quality", None)
        if isinstance(quality, int) and not isinstance(quality, bool) and 0 <= quality < len(QUALITIES):
            quality = [*QUALITIES][quality]
        if quality is not None and (not isinstance(quality, str) or quality.lower() not in QUALITIES):
            raise _wrong("quality", f"one of {', '.join(QUALITIES)}, or 0 to {len(QUALITIES) - 1}", quality)
        named = QUALITIES[quality.lower()] if quality else None
        sag = self.number("sag", None)
        ratio = self.number("sag_ratio", None, most=1)
        angle = self.number("angle", None, most=90)
        if named is None and sag is None and ratio is None and angle is None:
            return default
        if sag is None and ratio is None:
            base = named or default or QUALITIES["medium"]
            sag, ratio = base.sag_mm, base.sag_ratio
        return Fineness(
            sag_mm=-1 if sag is None else sag,
            sag_ratio=-1 if ratio is None else ratio,
            angle_deg=angle if angle is not None else named.angle_deg if named else -1,
        )

    def say_unknown(self) -> None:
        """Print the names that no method has asked for: they may be misspelt."""
        for name in [str(name) for name in self._given if name not in self._known]:
            known = sorted(self._known)
            meant = suggestion(name, known)
            say(f"{name!r} is not a parameter, and ignored.{meant} Parameters: {', '.join(known)}.")

    def _value(self, name: str, default: Any) -> Any:
        self._known.add(name)
        value = self._given.get(name)
        return default if value is None else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(name: str, wanted: str, value: Any) -> PixyzException:
    return PixyzException(f"{name} must be {wanted}; not {value!r}")
