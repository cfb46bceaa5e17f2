"""The graph of a job, as the server sent it, with ways to look at it."""

from __future__ import annotations

from typing import Any, Literal

GraphFormat = Literal["text", "json", "mermaid", "dot", "svg"]
"""How a graph can be written."""


class GraphView(dict[str, Any]):
    """The answer of `GET /jobs/{id}/graph`: uuid, state, nodes, edges. A notebook shows its picture, `print` a tree."""

    def __str__(self) -> str:
        return self.as_text()

    @property
    def ended(self) -> bool:
        """Whether nothing of the graph waits or runs any more."""
        from pixyz_ray.graph_views.looks import TERMINAL

        return all(state in TERMINAL for state in (self["state"], *(node["state"] for node in self["nodes"])))

    # Drawing is imported when something is drawn: most callers of a client do not.

    def as_text(self) -> str:
        """Return the graph as a tree of lines."""
        from pixyz_ray.graph_views import as_text

        return as_text(self)

    def as_svg(self) -> str:
        """Return the graph as a picture."""
        from pixyz_ray.graph_views import as_svg

        return as_svg(self)

    def _repr_svg_(self) -> str:
        return self.as_svg()
