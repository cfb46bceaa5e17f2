"""JSON objects of files that nobody vouches for: every value is checked when it is taken out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

_Choice = TypeVar("_Choice", bound=str)


class Record:
    """One object of a JSON text; each method raises ValueError that names the key when its value makes no sense."""

    __slots__ = ("_values", "_what")

    def __init__(self, values: Any, what: str) -> None:
        """Look at `values`, which has to be an object; `what` is its name in sentences."""
        if not isinstance(values, dict):
            raise ValueError(f"its {what} is not an object")
        self._values: dict[str, Any] = values
        self._what = what

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self._values.get(key, default)
        return value if isinstance(value, str) else self._wrong(key)

    def choice(self, key: str, choices: tuple[_Choice, ...], default: _Choice) -> _Choice:
        """One of some strings."""
        value = self._values.get(key, default)
        return value if isinstance(value, str) and value in choices else self._wrong(key)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._values.get(key, default)
        return value if isinstance(value, bool) else self._wrong(key)

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        value = self._values.get(key, default)
        return float(value) if _is_number(value) else self._wrong(key)

    def length(self, key: str) -> float | None:
        """A number above 0, or None."""
        value = self._values.get(key)
        return None if value is None else (float(value) if _is_number(value) and value > 0 else self._wrong(key))

    def numbers(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """As many finite numbers as the default has."""
        value = self._values.get(key, default)
        if not isinstance(value, list | tuple) or len(value) != len(default) or not all(map(_is_number, value)):
            self._wrong(key)
        return tuple(float(each) for each in value)

    def index(self, key: str, count: int) -> int | None:
        """A number from 0 to below count, or None."""
        value = self._values.get(key)
        return None if value is None else self._place(key, value, count)

    def indices(self, key: str, count: int) -> list[int | None]:
        """A list of numbers from 0 to below count, or None."""
        return [None if value is None else self._place(key, value, count) for value in self.items(key)]

    def counts(self, key: str) -> tuple[int, ...]:
        """A list of numbers that are 0 or more."""
        return tuple(self._place(key, value, 1 << 48) for value in self.items(key))

    def items(self, key: str) -> list[Any]:
        """A list; empty when the key is not there."""
        value = self._values.get(key, [])
        return value if isinstance(value, list) else self._wrong(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(key)
        return tuple(values) if all(isinstance(value, str) for value in values) else self._wrong(key)

    def records(self, key: str) -> Iterator[Record]:
        """Objects of a list, one by one."""
        what = f"{self._what}.{key}"
        return (Record(value, what) for value in self.items(key))

    def record(self, key: str) -> Record | None:
        """An object, or None."""
        value = self._values.get(key)
        return None if value is None else Record(value, f"{self._what}.{key}")

    def plain(self, key: str) -> dict[str, Any]:
        """An object of whatever values; a new one when the key is not there."""
        value = self._values.get(key, {})
        return value if isinstance(value, dict) else self._wrong(key)

    def properties(self, key: str) -> dict[str, Any]:
        """An object whose values are texts, numbers or flags."""
        value = self.plain(key)
        return value if all(isinstance(each, str | int | float) for each in value.values()) else self._wrong(key)

    def is_null(self, key: str) -> bool:
        """Whether there is nothing of that key."""
        return self._values.get(key) is None

    @property
    def names(self) -> tuple[str, ...]:
        """Its keys."""
        return tuple(self._values)

    def _place(self, key: str, value: Any, count: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count:
            return value
        raise self._error(key)

    def _wrong(self, key: str) -> Any:
        raise self._error(key)

    def _error(self, key: str) -> ValueError:
        return ValueError(f"{key} of its {self._what} makes no sense: {str(self._values.get(key))[:80]!r}")


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond what a float holds
        return False
