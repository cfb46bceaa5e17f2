"""Command `config`: the settings of the platform; where each comes from, and how to change it."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixyz_ray.cli.app import Access
from pixyz_ray.cli.options import Command, json_option, print_json
from pixyz_ray.cli.running_settings import compare_running
from pixyz_ray.cli.tables import show_table
from pixyz_ray.service_manager import REPLACE, restart_command

if TYPE_CHECKING:
    from pixyz_ray.setting_overview import SettingRow
    from pixyz_ray.setting_reading import Reading


class _ConfigGroup(click.Group):
    """Group whose error for an unknown command names the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            from pixyz_worker.nearest import SIMILAR, suggestion

            hint = suggestion(args[0], self.commands, cutoff=SIMILAR) or f" Use one of {', '.join(self.commands)}."
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


def _changed_option(function: Command) -> Command:
    return click.option("--changed", is_flag=True, help="Only settings that somebody has set.")(function)


@click.group(
    "config", cls=_ConfigGroup, invoke_without_command=True, short_help="Show and change the platform's settings."
)
@_changed_option
@json_option
@click.pass_context
def config_command(ctx: click.Context, changed: bool, as_json: bool) -> None:
    """Show and change the settings of the platform on this machine.

    Each setting comes from the environment, else from the configuration file, else it has its default. Without a
    command, all of them are shown. On a cluster the settings of the head hold on every machine.

    \b
    Example:
      pixyz config --changed                    what is set, and where
      pixyz config explain MAX_MEMORY_USAGE     what a setting means
      pixyz config set MAX_MEMORY_USAGE 8GB     write it into the file; in force after a restart
      pixyz config diff                         what a restart would change
    """
    if ctx.invoked_subcommand is None:
        _show(changed, as_json)


@config_command.command("show", short_help="Show all settings in force.")
@_changed_option
@json_option
def show_command(changed: bool, as_json: bool) -> None:
    """Show the settings that a platform started here would have: value and source of each. Secrets are not shown.

    \b
    Example:
      pixyz config show --changed --json
    """
    _show(changed, as_json)


@config_command.command("get", short_help="Print the value of a setting.")
@click.argument("name")
@json_option
def get_command(name: str, as_json: bool) -> None:
    """Print the value of a setting; an empty line where it has none. Secrets are not shown.

    \b
    Example:
      pixyz config get SHARE_PATH
    """
    row = _row(name)
    if as_json:
        print_json(_plain(row))
    else:
        click.echo(row.text)


@config_command.command("set", short_help="Write a setting into the configuration file.")
@click.argument("name")
@click.argument("value")
def set_command(name: str, value: str) -> None:
    """Write a setting into the configuration file in force; comments and all other lines are kept.

    The value is checked first, as `pixyz up` does. VALUE `-` is read from standard input, for secrets. In force after
    the next start of the platform.

    \b
    Example:
      pixyz config set MAX_MEMORY_USAGE 8GB
      pixyz config set PIXYZ_POOLS '{"catia": 3}'
      pixyz config set JOB_STORE_URL - < url.txt
    """
    from pixyz_ray.config_change import change_setting, setting_name

    name = setting_name(name)
    text = sys.stdin.read().strip() if value == "-" else value.strip()
    if not text:
        raise click.UsageError(f"The value is empty. To go back to the default:  pixyz config unset {name}")
    change = change_setting(name, text)
    state = "is written to" if change.changed else "is already in"
    click.echo(f"{name} {state} {change.file}, line {change.line}.")
    _add_notes(name, changed=change.changed, overridden=change.overridden)


@config_command.command("unset", short_help="Remove a setting from the configuration file.")
@click.argument("name")
def unset_command(name: str) -> None:
    """Remove a setting from the configuration file in force, so that it has its default again.

    \b
    Example:
      pixyz config unset MAX_MEMORY_USAGE
    """
    from pixyz_ray.config_change import change_setting, setting_name

    name = setting_name(name)
    change = change_setting(name, None)
    if change.changed:
        click.echo(f"{name} is removed from {change.file}.")
    else:
        click.echo(f"{name} is not in {change.file}: nothing to remove.")
    _add_notes(name, changed=change.changed, overridden=change.overridden)


@config_command.command("path", short_help="Print the configuration file in force.")
def path_command() -> None:
    """Print the path of the configuration file in force; where there is none, of the one that `set` would make.

    \b
    Example:
      ${EDITOR:-vi} "$(pixyz config path)"
    """
    from pixyz_ray.config_change import file_in_force

    path = file_in_force()
    click.echo(path)
    if not path.exists():
        from pixyz_ray.config_file import places

        click.echo(f"There is no configuration file yet. Places: {', else '.join(places())}.", err=True)


@config_command.command("explain", short_help="Say what a setting means.")
@click.argument("name")
def explain_command(name: str) -> None:
    """Say what a setting means, its value, its default, and where it comes from.

    \b
    Example:
      pixyz config explain PIXYZ_TIME_LIMIT
    """
    from pixyz_ray.setting_overview import default_text, description

    row = _row(name)
    click.echo(description(row.name))
    click.echo(f"value    {row.text or '(none)'}")
    click.echo(f"source   {row.source}")
    click.echo(f"default  {default_text(row.name) or '(none)'}")


@config_command.command("check", short_help="Check the configuration file.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
def check_command(file: Path | None) -> None:
    """Check FILE, or the configuration file in force, together with the environment. Leaves with 1 on a problem.

    \b
    Example:
      pixyz config check /etc/pixyz-scheduler.conf.new
    """
    from pixyz_ray.config_change import read_file
    from pixyz_ray.settings import read_settings

    reading = read_settings() if file is None else read_file(file)
    for problem in reading.sources.problems:
        click.echo(f"problem  {problem}")
    for note in reading.sources.notes:
        click.echo(f"note     {note}")
    if reading.sources.problems:
        raise click.exceptions.Exit(1)
    number = sum(given.folder is not None for given in reading.sources.given.values())
    click.echo(f"good     {number} settings of {reading.sources.file or 'no file'} can be used.")


@config_command.command("diff", short_help="Compare the platform that runs with the settings written here.")
@json_option
@click.pass_obj
def diff_command(access: Access, as_json: bool) -> None:
    """Show the settings that a restart from this shell would change. Leaves with 1 where there are some.

    \b
    Example:
      pixyz config diff
    """
    found = compare_running(access.url, access.token, _checked())
    if as_json:
        print_json(found)
    elif not found:
        click.echo("The platform runs with the settings that are written here.")
    else:
        _show_differences(found)
    raise click.exceptions.Exit(1 if found else 0)


def _show_differences(found: Sequence[dict[str, Any]]) -> None:
    columns = ("setting", "runs with…", "from…", "written…", "at…")
    keys = ("name", "running", "running_source", "written", "written_source")
    show_table(columns, ([row[key] for key in keys] for row in found))
    if (command := restart_command()) == REPLACE:
        click.echo(f"Started again from here, it has the values under `written`: {command}")
    else:
        click.echo(f"Its unit starts it again, with the environment of the unit and not that of this shell: {command}")


def _show(changed: bool, as_json: bool) -> None:
    from pixyz_ray.settings import read_settings

    reading = read_settings()
    rows = [row for row in _rows(reading) if not changed or row.source != "default"]
    if as_json:
        print_json(
            {"file": None if (file := reading.sources.file) is None else str(file), "settings": list(map(_plain, rows))}
        )
        return
    show_table(("setting", "value…", "source…"), ((row.name, row.text or None, row.source) for row in rows))
    for note in reading.sources.notes:
        click.echo(f"note: {note}", err=True)


def _checked() -> Reading:
    from pixyz_ray.settings import read_settings

    reading = read_settings()
    reading.checked()
    return reading


def _rows(reading: Reading) -> list[SettingRow]:
    from pixyz_ray.setting_overview import overview

    return overview(reading.checked(), secrets.token_hex())


def _row(name: str) -> SettingRow:
    from pixyz_ray.config_change import setting_name

    name = setting_name(name)
    return next(row for row in _rows(_checked()) if row.name == name)


def _plain(row: SettingRow) -> dict[str, Any]:
    """Return a row as JSON; fingerprints are of use only for comparison."""
    values = row.answer()
    return {**{key: value for key, value in values.items() if key != "fingerprint"}, "secret": row.is_secret}


def _add_notes(name: str, *, changed: bool, overridden: bool) -> None:
    from pixyz_ray.home import read_platform

    if overridden:
        click.echo(f"{name} is also set in the environment of this shell, which takes precedence.", err=True)
    if changed and read_platform() is not None:
        click.echo(
            f"The platform that is up keeps its settings until it is started again: {restart_command()}", err=True
        )
