"""The parameters of a pre-built process as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pixyz_ray.cli.tables import show_table

if TYPE_CHECKING:
    from pixyz_ray.client.shapes import ProcessParameter

_SECTION = re.compile(r"^Parameters:[^\n]*\n(?:[ \t]+\S[^\n]*(?:\n|\Z))+\n*", re.MULTILINE)
"""The section that declares the parameters (see pixyz_worker/declaration.py), and the blank lines after it."""
_COLUMNS = ("parameter", "type…", "default", "meaning…")


def without_parameters(doc: str) -> str:
    """Return the documentation of a process without its section `Parameters:`, which the table shows.

    >>> without_parameters("Sleep.\\n\\nParameters:\\n    t (number): seconds.\\n\\nReturns: t.")
    'Sleep.\\n\\nReturns: t.'
    """
    return _SECTION.sub("", doc, count=1).rstrip()


def show_parameters(parameters: Iterable[ProcessParameter]) -> None:
    """Print one row for each parameter."""
    show_table(
        _COLUMNS,
        ((one["name"], one["type"], _as_json(one.get("default")), one["doc"]) for one in parameters),
    )


def _as_json(default: object) -> str | None:
    """Return a default the way it is written in `-p`; None where there is none."""
    return None if default is None else json.dumps(default, ensure_ascii=False)
