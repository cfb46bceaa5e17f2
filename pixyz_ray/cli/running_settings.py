"""Comparison of the settings of a running platform with those that are written on this machine."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import click

from pixyz_ray.cli.checks import Check, Verdict

if TYPE_CHECKING:
    from pixyz_ray.setting_reading import Reading

RESTART = "pixyz up --detach --replace"
"""How a platform gets other settings."""
_KEPT_OPTIONS = {"host": "API_HOST", "port": "API_PORT"}
"""Options of `pixyz up` that `--replace` uses again, and the settings that they give."""
_ON_COMMAND_LINE = "on the command line"
_IN_ENVIRONMENT = "in the environment"
_PATIENCE_S = 10.0


def compare_running(url: str | None, token: str | None, reading: Reading, **options: float) -> list[dict[str, Any]]:
    """Return the settings that a running platform has with another value than `pixyz up --replace` would give it.

    Args:
        url: its URL; None: look it up.
        token: its token; None: look it up.
        reading: the settings that were read now.
        options: more arguments of Client.

    Raises:
        click.ClickException: the platform does not tell its settings.
    """
    from pixyz_ray.client import Client
    from pixyz_ray.home import read_platform
    from pixyz_ray.setting_overview import differences, fingerprint_key, overview
    from pixyz_worker.exception import PixyzWebError

    with Client(url, token, **options) as client:
        try:
            running = client.config()["settings"]
        except PixyzWebError as error:
            if error.status_code != 404:
                raise
            message = f"The platform at {client.address.url} does not tell its settings: it is an older version."
            raise click.ClickException(message) from None
        own = read_platform()
        is_own = own is not None and own.url == client.address.url
    key = fingerprint_key(own.token) if own is not None and is_own else secrets.token_hex()
    found = differences(running, overview(reading.checked(), key), same_key=is_own)
    kept = {_KEPT_OPTIONS.get(name) for name in (own.options or {})} if own is not None and is_own else set()
    return [row for row in found if row["name"] not in kept or row["written_source"] == _ON_COMMAND_LINE]


def print_changes(reading: Reading) -> None:
    """Print which settings of this machine's platform change when it is replaced; secrets by name alone.

    Args:
        reading: the settings of the next platform.
    """
    from pixyz_ray.home import read_platform
    from pixyz_worker.exception import PixyzException

    own = read_platform()
    if own is None:
        return
    try:
        found = compare_running(own.url, own.token, reading, timeout=_PATIENCE_S, patience=0.0)
    except (PixyzException, click.ClickException) as error:
        click.echo(f"Whether its settings change is not known: {error.message}", err=True)
        return
    if found:
        click.echo("Settings that change:")
    for row in found:
        before, after = (
            f"{_value(row[side], secret=row['secret'])} ({row[f'{side}_source']})" for side in ("running", "written")
        )
        click.echo(f"  {row['name']}: {before} -> {after}")


def _value(value: str | None, *, secret: bool) -> str:
    if value is None:
        return "not set"
    return "set" if secret else value


def check_running(url: str | None, token: str | None, reading: Reading) -> list[Check]:
    """Return notes for `pixyz doctor` where this machine's platform runs with other settings than are written here.

    They name the same settings as `pixyz config diff`, those apart that the platform has from its environment: a
    service manager gives it these again.
    """
    from pixyz_ray.client import Client
    from pixyz_ray.home import read_platform
    from pixyz_worker.exception import PixyzException

    own = read_platform()
    if own is None or reading.settings is None:
        return []
    try:
        with Client(url, token) as client:
            if client.address.url != own.url:
                return []
        found = compare_running(url, token, reading)
    except (PixyzException, click.ClickException):
        return []  # the check of the platform has reported that it does not answer
    checks = []
    if names := [row["name"] for row in found if row["running_source"] != _IN_ENVIRONMENT]:
        what = f"the platform that runs has other values of {', '.join(names)} than are written here"
        remedy = f"Compare: pixyz config diff. A restart brings them into force: {RESTART}."
        checks.append(Check(name="Settings", verdict=Verdict.NOTE, found=what, remedy=remedy))
    if names := [row["name"] for row in found if row["running_source"] == _IN_ENVIRONMENT]:
        what = f"the platform that runs has {', '.join(names)} from its environment; this shell gives other values"
        remedy = (
            "Nothing to do where systemd or `ray job submit` gives it that environment. Else write them down with "
            "pixyz config set NAME VALUE: a restart from this shell would lose them. Compare: pixyz config diff."
        )
        checks.append(Check(name="Settings", verdict=Verdict.NOTE, found=what, remedy=remedy))
    return checks
