"""Commands for this machine: start and stop the platform, shell completion."""

from __future__ import annotations

import sys

import click

from pixyz_ray.cli.options import SecondsParam

LINUX_ONLY = (
    "The platform itself runs on Linux; on this system you can run scripts with `python script.py`, and send jobs to a "
    "platform elsewhere: pixyz -u URL ..."
)


def on_linux() -> bool:
    """Return whether the platform can run on this system."""
    return sys.platform.startswith("linux")


SECONDS = SecondsParam(with_zero=True, most=86_400)


@click.command("up", short_help="Start the platform on this machine.")
@click.option("-d", "--detach", is_flag=True, help="Return once it answers; it goes on in the background.")
@click.option("--host", metavar="HOST", help="Address to listen on. Default: API_HOST, else 127.0.0.1.")
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Port to listen on. Default: API_PORT, else 8001.",
)
@click.option("--dashboard", is_flag=True, help="Also start the dashboard of Ray.")
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Join this Ray cluster instead of starting one; auto for the one of this machine.",
)
@click.option("--insecure", is_flag=True, help="Join a cluster although it asks nobody for a token.")
@click.option("--replace", is_flag=True, help="Take the place of a platform that is up, after an upgrade for example.")
@click.option(
    "--drain",
    "drain_s",
    metavar="SECONDS",
    type=SECONDS,
    help="Time for running jobs to end before they are replaced. Default: 60.",
)
@click.option("--num-cpus", metavar="N", type=click.IntRange(min=1), help="CPUs to offer. Default: all.")
def up_command(
    detach: bool,
    host: str | None,
    port: int | None,
    dashboard: bool,
    address: str | None,
    num_cpus: int | None,
    insecure: bool,
    replace: bool,
    drain_s: float | None,
) -> None:
    """Start the platform on this machine, or on the Ray cluster that it belongs to.

    Other commands on this machine then need neither a URL nor a token.

    With --replace a platform that is up is replaced by one with the installed version and the current settings.
    Jobs are accepted all the time. What runs goes on for at most --drain seconds; what still runs then is run again.
    Options that are not given are those of the platform that is up: its cluster, host and port. Settings are those
    of this shell and of the configuration file; which of them change is printed first.

    \b
    Example:
      pixyz up
      pixyz up --detach --port 9000
      pixyz up --detach --address auto --host 0.0.0.0
      pixyz up --detach --replace --drain 300
    """
    _need_linux()
    if insecure and address is None:
        raise click.UsageError("--insecure is for a Ray cluster that is joined: it needs --address.")
    from pixyz_ray.cli.running_settings import print_changes
    from pixyz_ray.cluster import up as platform
    from pixyz_ray.cluster.driver_order import DRAIN_S

    platform.up(
        detach=detach,
        host=host,
        port=port,
        dashboard=dashboard,
        address=address,
        num_cpus=num_cpus,
        insecure=insecure,
        replace=replace,
        drain_s=DRAIN_S if drain_s is None else drain_s,
        before_replacing=print_changes,
    )


@click.command("down", short_help="Stop the platform of this machine.")
@click.option(
    "--drain",
    "drain_s",
    metavar="SECONDS",
    type=SECONDS,
    default=0.0,
    help="Time for running jobs to end first. Default: 0; they run again after the next start.",
)
@click.option(
    "--address", metavar="HOST:PORT", help="Stop the platform on this Ray cluster, where this home knows none."
)
def down_command(drain_s: float, address: str | None) -> None:
    """Stop the platform of this machine; jobs that have not ended go on at the next start.

    On a Ray cluster that was joined, it stops what it has started there; Ray and everything else on it goes on.

    \b
    Example:
      pixyz down
      pixyz down --drain 120
    """
    _need_linux()
    from pixyz_ray.cluster import up as platform

    platform.down(address=address, drain_s=drain_s)


def _need_linux() -> None:
    if not on_linux():
        raise click.ClickException(LINUX_ONLY)


@click.command("completion", short_help="Print the shell's completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that teaches a shell to complete commands and options.

    \b
    Example:
      eval "$(pixyz completion bash)"                                    # in ~/.bashrc
      eval "$(pixyz completion zsh)"                                     # in ~/.zshrc
      pixyz completion fish > ~/.config/fish/completions/pixyz.fish
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    if complete is None:
        raise click.ClickException(f"This version of click knows nothing of {shell}.")
    click.echo(complete(ctx.find_root().command, {}, "pixyz", "_PIXYZ_COMPLETE").source())
