"""Commands for this machine: start and stop the platform, shell completion."""

from __future__ import annotations

import sys

import click

LINUX_ONLY = (
    "The platform itself runs on Linux; on this system you can run scripts with `python script.py`, and send jobs to a "
    "platform elsewhere: pixyz -u URL ..."
)


def on_linux() -> bool:
    """Return whether the platform can run on this system."""
    return sys.platform.startswith("linux")


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
@click.option("--address", metavar="HOST:PORT", help="Join this Ray cluster instead of starting one.")
@click.option("--num-cpus", metavar="N", type=click.IntRange(min=1), help="CPUs to offer. Default: all.")
def up_command(
    detach: bool,
    host: str | None,
    port: int | None,
    dashboard: bool,
    address: str | None,
    num_cpus: int | None,
) -> None:
    """Start the platform on this machine.

    Other commands on this machine then need neither a URL nor a token.

    \b
    Example:
      pixyz up
      pixyz up --detach --port 9000
    """
    _need_linux()
    from pixyz_ray.cluster import up as platform

    platform.up(detach=detach, host=host, port=port, dashboard=dashboard, address=address, num_cpus=num_cpus)


@click.command("down", short_help="Stop the platform of this machine.")
def down_command() -> None:
    """Stop the platform of this machine; jobs that have not ended go on at the next start.

    \b
    Example:
      pixyz down
    """
    _need_linux()
    from pixyz_ray.cluster import up as platform

    platform.down()


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
