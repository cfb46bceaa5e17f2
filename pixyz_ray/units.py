"""Sizes and durations as people write them: `2GB`, `512 MiB`, `1h30m`, `7d`.

A size's units are powers of 1024, however they are written: KB and KiB are 1024 bytes, MB and MiB 1024 KB, and so on.
That is how the settings of earlier schedulers count memory (2 GB are 2097152 KB). Only the standard library is
imported, since the command line reads its options with it; pydantic's `ByteSize` counts KB as 1000 bytes, and no
installed library reads durations such as `1h30m`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

KILOBYTE = 1024
SIZE_HINT = "a size such as 2GB or 512MB"
DURATION_HINT = "a duration such as 90s, 1h30m or 7d"
LARGEST_SIZE = 2**63 - 1

_POWERS: Mapping[str, int] = MappingProxyType({"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5})
_SECONDS: Mapping[str, Fraction] = MappingProxyType(
    {
        name: Fraction(seconds)
        for names, seconds in (
            ("ms", "0.001"),
            ("s sec second seconds", 1),
            ("m min minute minutes", 60),
            ("h hr hour hours", 3600),
            ("d day days", 86400),
            ("w week weeks", 604800),
        )
        for name in names.split()
    }
)
_NUMBER = r"[0-9][0-9_]*(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,3})?"
_SIZE = re.compile(rf"({_NUMBER})\s*(?:([kmgtp]?)(?:i?b|bytes?)?)", re.IGNORECASE)
_BARE = re.compile(_NUMBER, re.IGNORECASE)
_PART = re.compile(rf"({_NUMBER})\s*([a-z]+)\s*", re.IGNORECASE)
_PARTS = re.compile(rf"(?:{_PART.pattern})+", re.IGNORECASE)


def is_bare(text: str) -> bool:
    """Return whether a text is a number without a unit."""
    return _BARE.fullmatch(text.strip()) is not None


def parse_size(text: str, *, bare: int = 1) -> int:
    """Return the bytes that a text stands for.

    Args:
        text: a number with or without a unit, in capitals or not: `2097152`, `2GB`, `1.5 g`, `512MiB`.
        bare: bytes of one unit of a number that has none.

    Raises:
        ValueError: it is not a size, or not a whole number of bytes, or larger than 2**63 - 1 bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"is not a size: write {SIZE_HINT}")
    number = Fraction(match[1].replace("_", ""))
    unit = bare if is_bare(text) else KILOBYTE ** _POWERS[match[2].lower()]
    size = number * unit
    if size.denominator != 1 and unit == 1:
        raise ValueError("is not a whole number of bytes")
    if size > LARGEST_SIZE:
        raise ValueError("is too large for a size")
    return int(size)


def parse_duration(text: str) -> float:
    """Return the seconds that a text stands for.

    Args:
        text: seconds, or numbers with units (ms, s, m, h, d, w), in capitals or not: `90`, `1h30m`, `7d`, `500ms`.

    Raises:
        ValueError: it is not a duration.
    """
    trimmed = text.strip()
    if is_bare(trimmed):
        parts = [(trimmed, "s")]
    elif _PARTS.fullmatch(trimmed):
        parts = _PART.findall(trimmed)
    else:
        raise ValueError(f"is not a duration: write {DURATION_HINT}")
    try:
        return float(sum(Fraction(number.replace("_", "")) * _SECONDS[unit.lower()] for number, unit in parts))
    except KeyError as error:
        raise ValueError(f"has the unknown unit {error.args[0]!r}: write {DURATION_HINT}") from None
    except OverflowError:
        raise ValueError("is too long for a duration") from None


def format_size(size: int) -> str:
    """Return a number of bytes in the largest unit that holds it exactly; `parse_size` reads it back."""
    for prefix in "ptgmk":
        unit = KILOBYTE ** _POWERS[prefix]
        if size and size % unit == 0:
            return f"{size // unit}{prefix.upper()}B"
    return f"{size}B" if size else "0"


def format_memory(size: int) -> str:
    """Return a number of bytes for people, rounded, in the largest unit that it has at least one of.

    >>> format_memory(8 * 2**30), format_memory(9_771_050_598), format_memory(0)
    ('8 GB', '9.1 GB', '0 bytes')
    """
    amount, units = float(size), ["bytes", "KB", "MB", "GB", "TB"]
    while amount >= KILOBYTE and len(units) > 1:
        amount /= KILOBYTE
        del units[0]
    return f"{amount:.3g} {units[0]}" if amount < 1000 else f"{amount:.0f} {units[0]}"


def format_number(value: float) -> str:
    """Return a number for people, without an exponent where it is of a usual size: `2592000`, `0.5`.

    >>> format_number(2592000.0), format_number(0.5), format_number(1e-7)
    ('2592000', '0.5', '1e-07')
    """
    return f"{value:.15g}"


def format_duration(seconds: float) -> str:
    """Return a number of seconds in days, hours, minutes and seconds; `parse_duration` reads it back."""
    if seconds != int(seconds):
        thousandths = seconds * 1000
        whole = seconds < 1 and thousandths == int(thousandths) and int(thousandths) / 1000 == seconds
        return f"{int(thousandths)}ms" if whole else f"{seconds!r}s"
    rest, text = int(seconds), ""
    for name, unit in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        amount, rest = divmod(rest, unit)
        text += f"{amount}{name}" if amount else ""
    return text or "0"
