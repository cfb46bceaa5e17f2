"""The parameters of a pre-built process as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pixyz_ray.cli.tables import show_table

if TYPE_CHECKING:
    from pixyz_ray.client.shapes import ProcessParameter

_COLUMNS = ("parameter", "type…", "default", "meaning…")


def show_parameters(parameters: Iterable[ProcessParameter]) -> None:
    """Print one row for each parameter."""
    show_table(
        _COLUMNS,
        ((one["name"], one["type"], _as_json(one.get("default")), one["doc"]) for one in parameters),
    )


def _as_json(default: object) -> str | None:
    """Return a default the way it is written in `-p`; None where there is none."""
    return None if default is None else json.dumps(default, ensure_ascii=False)
