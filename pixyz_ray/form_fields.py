"""Fields of the form of `POST /jobs`: which there are, and what is said of others."""

from __future__ import annotations

from collections.abc import Sequence

from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.nearest import SIMILAR, nearest

TEXT_FIELDS = ("process", "params", "name", "config")
"""Fields that are texts in any kind of form."""
FORM_FIELDS = ("process", "script", "file", "params", "name", "config", "graph")
"""All fields."""

_MOST_NAMES = 10
_MOST_NAME_CHARS = 100


class UnknownFields:
    """Names of the fields of one form that do not exist; a few of them, and of each the beginning."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Remember a field's name unless it is known, or empty."""
        # One more than is shown says that there are more.
        if name and name not in FORM_FIELDS and len(self._names) <= _MOST_NAMES:
            self._names[name[:_MOST_NAME_CHARS]] = None

    def names(self) -> tuple[str, ...]:
        """Return the names, in the order in which they came."""
        return tuple(self._names)


def field_notes(names: Sequence[str], *, strict: bool) -> tuple[str, ...]:
    """Return a note for each field that does not exist.

    Args:
        names: their names, as `UnknownFields` has them.
        strict: whether such a field is refused.

    Raises:
        InvalidBackendParameter: `strict`, and there is one.
    """
    problems = [_problem(name) for name in names[:_MOST_NAMES]]
    if problems and strict:
        raise InvalidBackendParameter(f"{problems[0]} With 'strict', such a field is refused.")
    notes = [f"{problem} It was ignored." for problem in problems]
    if len(names) > _MOST_NAMES:
        notes.append("The form has more fields that are not known. They were ignored.")
    return tuple(notes)


def _problem(name: str) -> str:
    meant = nearest(name, FORM_FIELDS, cutoff=SIMILAR)
    advice = f"; did you mean {meant!r}?" if meant else f". Fields: {', '.join(FORM_FIELDS)}."
    return f"form field {name!r} is not known{advice}"
