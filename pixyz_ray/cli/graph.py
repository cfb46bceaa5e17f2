"""The command that shows the graph of a job: as a tree, live, or as a picture for a page."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from pixyz_ray.cli.options import job_option, print_json, with_client
from pixyz_ray.cli.watch import exit_code, stopped_watching

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

    from pixyz_ray.client import Client, GraphView
    from pixyz_ray.client.graph_view import GraphFormat

_FORMATS = ("text", "json", "mermaid", "dot", "svg")
_PAUSE_S = 0.5
"""Between two looks at a graph that is watched."""
_COLOURS = {
    "SUCCESS": "green",
    "FAILURE": "bold red",
    "REVOKED": "magenta",
    "RUNNING": "cyan",
    "STARTED": "cyan",
    "RETRY": "yellow",
}


@click.command("graph", short_help="Show the tasks that a job started.")
@job_option
@click.option(
    "-f",
    "--format",
    "format",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="A tree of lines, JSON, or a picture: Mermaid for Markdown, DOT for Graphviz, SVG for anything.",
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write, instead of printing."
)
@click.option("-w", "--watch", "watched", is_flag=True, help="Wait until the graph has ended; the tree is shown live.")
@with_client
def graph_command(client: Client, uuid: str, format: GraphFormat, output: Path | None, watched: bool) -> None:
    """Show the graph of a job: the tasks that its script started, and what these started, with states and durations.

    With -w, the exit code is that of the job's status, as for `pixyz status -w`.

    \b
    Example:
      pixyz graph -j ID
      pixyz graph -j ID -w
      pixyz graph -j ID -f svg -o graph.svg
    """
    graph = _watch(client, uuid, live=format == "text" and output is None) if watched else None
    _show(client, uuid, format, output, graph)
    if graph is not None:
        raise click.exceptions.Exit(exit_code(_verdict(graph)))


def _show(client: Client, uuid: str, format: GraphFormat, output: Path | None, graph: GraphView | None) -> None:
    if format == "json" and output is None:
        print_json(client.graph(uuid) if graph is None else graph)
        return
    text = graph.as_text() if graph is not None and format == "text" else client.graph_as(uuid, format)
    if output is not None:
        output.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        click.echo(f"Saved {output}")
    elif format == "text" and sys.stdout.isatty():
        from rich.console import Console

        Console().print(_coloured(text), soft_wrap=True)
    else:
        click.echo(text.rstrip("\n"))


def _watch(client: Client, uuid: str, *, live: bool) -> GraphView:
    """Wait until a graph has ended; return it as it is then."""
    try:
        with _screen(live=live and sys.stdout.isatty()) as screen:
            while True:
                begin = time.monotonic()
                graph = client.graph(uuid)
                if graph.ended:
                    return graph
                if screen is not None:
                    screen.update(_coloured(graph.as_text()), refresh=True)
                # A large graph takes a while to tell; the platform has better things to do.
                time.sleep(max(_PAUSE_S, 5 * (time.monotonic() - begin)))
    except KeyboardInterrupt:
        raise stopped_watching(f"pixyz graph -j {uuid} -w") from None


def _screen(*, live: bool) -> AbstractContextManager[Live | None]:
    """A part of the terminal that changes in place; None where there is no terminal."""
    if not live:
        return nullcontext()
    from rich.live import Live

    # The last state is printed whole when this has gone: it may be longer than the terminal.
    return Live(transient=True, auto_refresh=False)


def _coloured(tree: str) -> Text:
    """Colour the states of a tree."""
    from rich.text import Text

    text = Text(tree, no_wrap=True, overflow="ellipsis")
    for state, colour in _COLOURS.items():
        text.highlight_regex(rf"(?m)^[ │├└─→⇢]*\S (?:{state})\b", colour)
    return text


def _verdict(graph: GraphView) -> str:
    """The status that a watched graph ended with: its job's, or that of what failed after a job that did not wait."""
    state, job = cast(str, graph["state"]), next(iter(graph["nodes"]), None)
    if state != "SUCCESS" or job is None or not job["stopped"]:
        return state
    end = datetime.fromisoformat(job["stopped"])
    late = {
        node["state"] for node in graph["nodes"] if node["stopped"] and datetime.fromisoformat(node["stopped"]) > end
    }
    return next((word for word in ("FAILURE", "REVOKED") if word in late), state)
