"""The commands about the machines of the cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from pixyz_ray.cli.options import SecondsParam, print_json, table_option, with_client
from pixyz_ray.cli.presence import dead_s, living, missing
from pixyz_ray.cli.tables import counted, show_table, span

if TYPE_CHECKING:
    from pixyz_ray.client import Client, NodeInfo

_COLUMNS = (
    *("machine", "address", "id", "state", ">CPU", ">GPU", ">memory", ">share free", ">spill free"),
    *(">running", ">warm", "pixyz", "Python"),
)
_SHORT_ID = 8
_LOOK_EVERY_S = 0.5
_NOT_DRAINED = 1


@click.command("nodes", short_help="Show the machines of the cluster.")
@click.argument("node", required=False)
@click.option("--check", is_flag=True, help="Look at NODE now, such as after its share was mounted.")
@click.option("--all", "every", is_flag=True, help="Show earlier runs of Ray too, on machines that are back since.")
@table_option
@with_client
def nodes_command(client: Client, node: str | None, check: bool, every: bool, as_json: bool) -> None:
    """Show the machines of the cluster, what they have and run, and why one gets no jobs.

    A machine is `ready`; `joining` until it was first looked at; `draining` or `drained` after `pixyz drain`; or
    `unfit`: it has another version, does not see the share, or was just lost; the reason says what to do. One that
    has left is `dead`, and shown for ten minutes. NODE is a host name, an address, or at least 6 characters of the id.

    \b
    Example:
      pixyz nodes
      pixyz nodes b
      pixyz nodes --check b
    """
    if check and node is None:
        raise click.UsageError("--check needs a machine: pixyz nodes --check NODE.")
    if node is not None:
        found = client.check_node(node) if check else client.node(node)
        if as_json:
            print_json(found)
        else:
            _show([found], details=True)
        return
    nodes = client.nodes()
    if not every:
        nodes = [*living(nodes), *missing(nodes)]
    if as_json:
        print_json({"nodes": nodes})
    else:
        _show(nodes)


@click.command("drain", short_help="Let no more jobs begin on a machine.")
@click.argument("node")
@click.option("-w", "--wait", is_flag=True, help="Wait until nothing runs there any more.")
@click.option("--timeout", metavar="SECONDS", type=SecondsParam(), help="Wait at most so long; leaves with 1 then.")
@click.option(
    "--deadline",
    metavar="SECONDS",
    type=SecondsParam(),
    help="End what still runs after this time; those jobs run again elsewhere. Default: let them end.",
)
@click.option("--undo", is_flag=True, help="Let jobs begin there again.")
@click.option("--json", "as_json", is_flag=True, help="Print the machine as JSON.")
@with_client
def drain_command(
    client: Client,
    node: str,
    wait: bool,
    timeout: float | None,
    deadline: float | None,
    undo: bool,
    as_json: bool,
) -> None:
    """Let no more jobs begin on a machine, such as before it is serviced; those that run there end.

    The machine stays drained until --undo, or until Ray is started there again.

    \b
    Example:
      pixyz drain b --wait
      pixyz drain b --wait --deadline 600
      pixyz drain b --undo
    """
    if undo and (wait or timeout is not None or deadline is not None):
        raise click.UsageError("--undo goes without --wait, --timeout and --deadline.")
    if timeout is not None and not wait:
        raise click.UsageError("--timeout says how long to --wait: give both.")
    found = client.undrain(node) if undo else client.drain(node, deadline)
    for note in found.get("notes", ()):
        click.echo(f"Note: {note}", err=True)
    in_time = True
    if wait:
        found, in_time = _wait(client, found, timeout)
    if as_json:
        print_json(found)
    else:
        click.echo(_summary(found))
    if not in_time:
        raise click.exceptions.Exit(_NOT_DRAINED)


def _wait(client: Client, node: NodeInfo, timeout: float | None) -> tuple[NodeInfo, bool]:
    """Wait until nothing runs on a machine; return it, and whether that was in time."""
    end = None if timeout is None else time.monotonic() + timeout
    said = None
    while node["state"] not in ("drained", "dead"):
        if said != (now := node["running"]):
            said = now
            awaited = counted(now, "running job") if now else "the machine to confirm that nothing runs there"
            click.echo(f"{node['name']}: waiting for {awaited}", err=True)
        if end is not None and time.monotonic() >= end:
            return node, False
        time.sleep(_LOOK_EVERY_S)
        # By id: after a restart of Ray there is another machine of that name.
        node = client.node(node["id"])
    return node, True


def _summary(node: NodeInfo) -> str:
    number = node["running"]
    running = f", {counted(number, 'job')} run{'s' if number == 1 else ''} there" if number else ""
    reason = f"\n{node['reason']}" if node["state"] == "unfit" and node["reason"] else ""
    return f"{node['name']} ({node['id'][:_SHORT_ID]}) is {node['state']}{running}.{reason}"


def _show(nodes: list[NodeInfo], *, details: bool = False) -> None:
    show_table(_COLUMNS, map(_row, nodes))
    for node in nodes:
        if node["reason"]:
            click.echo(f"\n{node['reason']}")
        if not details:
            continue
        for card in node["gpus"]["cards"]:
            click.echo(f"GPU: {card['model']}, {_size(card['memory'])}")
        if node["jobs"]:
            click.echo("Running: " + " ".join(node["jobs"]))
        for name, value in sorted(node["labels"].items()):
            click.echo(f"Label: {name}={value}")
        if node["probed"] is not None:
            click.echo(f"Looked at {span(node['probed'])} ago.")


def _row(node: NodeInfo) -> tuple[object, ...]:
    share, workers = node["share"], node["workers"] or {}
    return (
        f"{node['name']} (head)" if node["head"] else node["name"],
        node["address"],
        node["id"][:_SHORT_ID],
        _state(node),
        _used(node["cpus"]),
        _used(node["gpus"]) if node["gpus"]["total"] else None,
        _memory(node["memory"]),
        "not seen" if share["ok"] is False else _free(share["disk"]),
        _free(node["spill_disk"]),
        node["running"],
        workers.get("idle"),
        node["pixyz"],
        node["python"],
    )


def _state(node: NodeInfo) -> str:
    """Return the state in words; of a dead machine with the time since it was found dead."""
    return f"{node['state']} for {span(dead_s(node))}" if node["left"] else node["state"]


def _used(amount: dict[str, Any]) -> str:
    used = "?" if amount["used"] is None else f"{amount['used']:g}"
    return f"{used}/{amount['total']:g}"


def _memory(amount: dict[str, float] | None) -> str | None:
    return None if amount is None else f"{amount['used'] / 2**30:.1f}/{amount['total'] / 2**30:.1f} GiB"


def _free(disk: dict[str, Any] | None) -> str | None:
    return None if disk is None else _size(disk["free"])


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
