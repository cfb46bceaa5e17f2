"""How a state looks everywhere: its symbol and its colours; and how names and seconds are written.

The colours are apart for the colour-blind too (after Okabe and Ito), and none stands without its symbol or word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

TERMINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
"""States that a node does not leave."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a state looks like."""

    name: str
    """Name of its class in Mermaid and SVG."""
    symbol: str
    """One character that stands for it."""
    ink: str
    """Strong colour, for borders and marks."""
    tint: str
    """Pale colour of the same kind, below dark text."""
    night: str
    """Strong colour on a dark ground."""


_WAITING = ("○", "#767676", "#eeeeee", "#9aa0a6")
_TABLE = {
    "SUCCESS": ("✓", "#009e73", "#d5f0e6", "#2bc79a"),
    "RUNNING": ("◐", "#0072b2", "#d3e8f7", "#4ba6e0"),
    "STARTED": ("◔", "#3a97cf", "#e3f2fb", "#7cc4f0"),
    "RECEIVED": _WAITING,
    "PENDING": _WAITING,
    "SENT": _WAITING,
    "RETRY": ("↻", "#b97f00", "#fdf0cf", "#e6a91c"),
    "REVOKED": ("⊘", "#aa5a86", "#f6e3ee", "#dd92ba"),
    "FAILURE": ("✗", "#d55e00", "#fbe0d0", "#f47f2b"),
}

LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        state: Look(name=state.lower(), symbol=symbol, ink=ink, tint=tint, night=night)
        for state, (symbol, ink, tint, night) in _TABLE.items()
    }
)
"""State -> its look, in the order in which states are counted."""

_OTHER = Look(name="other", symbol="?", ink="#767676", tint="#eeeeee", night="#9aa0a6")


def look_of(state: str) -> Look:
    """The look of a state, one that we do not know included."""
    return LOOKS.get(state, _OTHER)


def clean(text: object, limit: int) -> str:
    """What a stranger wrote, on one line, without what cannot be seen, at most `limit` characters of it."""
    head = str(text)[: 4 * limit + 64]
    line = " ".join("".join(each if each.isprintable() or each.isspace() else "\ufffd" for each in head).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def seconds(duration: float) -> str:
    """A duration for people: `0.42 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`."""
    if duration < 9.995:
        return f"{max(0.0, duration):.2f} s"
    if duration < 59.95:
        return f"{duration:.1f} s"
    whole = round(duration)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def counted(counts: Mapping[str, int]) -> str:
    """Tasks by state: `10,000 tasks: 9,800 SUCCESS, 200 RUNNING`."""
    total = sum(counts.values())
    if not total:
        return "no tasks"
    known = [state for state in LOOKS if counts.get(state)]
    others = sorted(set(counts) - set(LOOKS))
    shares = ", ".join(f"{counts[state]:,} {clean(state, 20)}" for state in (*known, *others))
    return f"{total:,} task{'s' if total > 1 else ''}: {shares}"
