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


def compare_running(url: str | None, token: str | None, reading: Reading) -> list[dict[str, Any]]:
    """Return the settings that a running platform has with another value than a new start would.

    Args:
        url: its URL; None: look it up.
        token: its token; None: look it up.
        reading: the settings that were read now.

    Raises:
        click.ClickException: the platform does not tell its settings.
    """
    from pixyz_ray.client import Client
    from pixyz_ray.home import read_platform
    from pixyz_ray.setting_overview import differences, fingerprint_key, overview
    from pixyz_worker.exception import PixyzWebError

    with Client(url, token) as client:
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
    return differences(running, overview(reading.checked(), key), same_key=is_own)


def check_running(url: str | None, token: str | None, reading: Reading) -> list[Check]:
    """Return a note for `pixyz doctor` where this machine's platform runs with other settings than are written here.

    What its start had in its environment or on its command line is not compared: a service manager gives it that again.
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
    given = ("in the environment", "on the command line")
    names = [row["name"] for row in found if row["running_source"] not in given]
    if not names:
        return []
    return [
        Check(
            name="Settings",
            verdict=Verdict.NOTE,
            found=f"the platform that runs has other values of {', '.join(names)} than are written here",
            remedy=f"Compare: pixyz config diff. A restart brings them into force: {RESTART}.",
        )
    ]
