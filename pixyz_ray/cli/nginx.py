"""Command `nginx`: the configuration of one address for all machines that run the HTTP service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from pixyz_ray.cli.app import Access
from pixyz_ray.cli.tables import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFAULT_PORT = 8001


@click.command("nginx", short_help="Print an nginx configuration for several API machines.")
@click.option(
    "--listen", metavar="HOST:PORT", default="0.0.0.0:80", show_default=True, help="Where nginx listens; or a port."
)
@click.option(
    "--servers",
    metavar="HOST:PORT,...",
    help="Machines of the HTTP service. Default: ask the platform for the machines of its cluster.",
)
@click.option("--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it to FILE.")
@click.pass_obj
def nginx_command(access: Access, listen: str, servers: str | None, output: Path | None) -> None:
    """Print a complete configuration of nginx: one stable address in front of the HTTP service.

    With API_REPLICAS=N the service runs on N machines, on API_PORT of each. nginx sends each request to one of them,
    and to another one when that is not there. All machines of the cluster are listed, since a replica may move to any
    of them; print the configuration again when machines with new addresses join.

    \b
    Example:
      pixyz nginx --listen 0.0.0.0:80 --output /etc/nginx/nginx.conf && nginx -t && systemctl reload nginx
      pixyz nginx --servers 10.0.0.1:8001,10.0.0.2:8001
    """
    from pixyz_ray.nginx import nginx_configuration

    addresses = [one.strip() for one in servers.split(",") if one.strip()] if servers else _machines(access)
    text = nginx_configuration(addresses, listen)
    if output is None:
        click.echo(text, nl=False)
        return
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    click.echo(f"{output} lists {counted(len(addresses), 'machine')}. Check it with  nginx -t -c {output}", err=True)


def _machines(access: Access) -> Sequence[str]:
    """Return the addresses of the cluster's machines, the head first."""
    from pixyz_ray.client import Client
    from pixyz_ray.nginx import join_address

    with Client(access.url, access.token) as client:
        port = urlsplit(client.address.url).port or _DEFAULT_PORT
        found = [node for node in client.nodes() if node["state"] != "dead"]
    return [join_address(node["address"], port) for node in sorted(found, key=lambda node: not node["head"])]
