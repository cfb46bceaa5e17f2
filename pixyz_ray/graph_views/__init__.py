"""Pictures of a graph of tasks: the answer of `GET /jobs/{id}/graph` as Mermaid, DOT, SVG or a tree of text.

    view -> nesting (who is in which box) -> folding (what is too much to show) -> scene -> one language each

Pure functions of the view: no clock, no network, no library but Python's own.
"""

from __future__ import annotations

from pixyz_ray.graph_views.dot import as_dot
from pixyz_ray.graph_views.mermaid import as_mermaid
from pixyz_ray.graph_views.svg import as_svg
from pixyz_ray.graph_views.text import as_text

__all__ = ["as_dot", "as_mermaid", "as_svg", "as_text"]
