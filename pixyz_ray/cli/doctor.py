"""Command `doctor`: look at the installation, and say what to do for each thing that is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType

import click

from pixyz_ray.cli.app import Access
from pixyz_ray.cli.options import json_option, print_json

_MARKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("PROBLEM", "red")}
)


@click.command("doctor", short_help="Check the installation.")
@json_option
@click.pass_obj
def doctor_command(access: Access, as_json: bool) -> None:
    """Check the installation, and say what to do for each thing that is missing.

    Leaves with 1 when something essential is missing.

    \b
    Example:
      pixyz doctor
    """
    from pixyz_ray.cli.checks import Verdict, run_checks
    from pixyz_ray.cli.machine_checks import check_machines
    from pixyz_ray.cli.setting_checks import check_settings

    settings = check_settings(access.url, access.token)
    machines = check_machines(access.url, access.token)
    checks = [*run_checks(access.url, access.token), *machines, *settings.checks]
    healthy = all(check.verdict is not Verdict.PROBLEM for check in checks)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(check) for check in checks], "settings": settings.rows})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            word, colour = _MARKS[check.verdict]
            click.echo(f"{check.name:<{width}}  {click.style(f'{word:<7}', fg=colour)}  {check.found}")
            if check.remedy:
                click.echo(f"{'':<{width}}           -> {check.remedy}")
        if settings.rows:
            click.echo("\nSettings that are not at their default:")
        for row in settings.rows:
            click.echo(f"  {row['name']}={row['value']}  ({row['source']})")
    raise click.exceptions.Exit(0 if healthy else 1)
