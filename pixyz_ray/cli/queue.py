"""The command that shows what waits and what runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pixyz_ray.cli.options import print_json, table_option, with_client
from pixyz_ray.cli.tables import show_table, span

if TYPE_CHECKING:
    from pixyz_ray.client import Client, QueuesInfo

_QUEUES = ("queue", ">waiting", ">running", ">limit", ">places", ">oldest", ">mean run", ">last minute", "for…")
_POOLS = ("pool", ">seats", ">held", ">waiting")
_SUBMITTERS = ("submitter", ">waiting", ">running", ">share")


@click.command("queue", short_help="Show what waits and what runs.")
@table_option
@with_client
def queue_command(client: Client, as_json: bool) -> None:
    """Show how queues, pools of seats and submitters stand.

    `running` has started, all else waits; `limit` is what may run at a time, `places` what is handed to Ray at most;
    `oldest` has waited longest; `last minute` is what began in it.

    \b
    Example:
      pixyz queue
      pixyz queue -r
    """
    standing = client.queues()
    if as_json:
        print_json(standing)
    else:
        _show(standing)


def _show(standing: QueuesInfo) -> None:
    show_table(
        _QUEUES,
        (
            (
                one["name"],
                one["waiting"],
                one["running"],
                one["concurrency"],
                one["places"],
                span(one["oldest_wait"]),
                span(one["mean_run"]),
                one["started_last_minute"],
                one["purpose"],
            )
            for one in standing["queues"]
        ),
    )
    for columns, rows in ((_POOLS, standing["pools"]), (_SUBMITTERS, standing["submitters"])):
        if rows:
            click.echo()
            keys = [title.strip(">") for title in columns[1:]]
            show_table(columns, ([one["name"], *(one[key] for key in keys)] for one in rows))
    cluster = standing["cluster"]
    click.echo(f"\nQueued: {standing['queued']} of at most {standing['max_queued']}, without those that Ray has")
    click.echo(f"Cluster: {cluster['CPU']:g} CPU, {cluster['GPU']:g} GPU, nodes: {cluster['nodes']:g}")
