"""Commands `backup` and `restore`: the records of all jobs, written to a file and read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click

_SHOWN_EVERY_S = 1.0


@click.command("backup", short_help="Write the records of all jobs to a file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def backup_command(file: Path, force: bool) -> None:
    """Write the records of all jobs to FILE, while the platform is up or down.

    The files of jobs on the share are not in it.

    \b
    Example:
      pixyz backup /backup/jobs-$(date +%F).gz
    """
    from pixyz_ray.backup import take_backup
    from pixyz_ray.settings import load_settings

    with _progress("rows written") as report:
        backup = take_backup(load_settings().job_store_url, file, force=force, report=report)
    click.echo(f"{backup.jobs} jobs are in {file} ({file.stat().st_size} bytes). The share is not: copy it too.")


@click.command("restore", short_help="Read the records of all jobs back from a file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace the jobs of a store that is not empty.")
def restore_command(file: Path, force: bool) -> None:
    """Read the records of all jobs back from FILE, which `pixyz backup` wrote. The platform must be down.

    Jobs that had not ended then go on at the next start.

    \b
    Example:
      pixyz down
      pixyz restore /backup/jobs-2025-03-01.gz
    """
    from pixyz_ray.backup import compare_share, platform_down, restore_backup
    from pixyz_ray.home import home
    from pixyz_ray.settings import load_settings

    settings = load_settings()
    with platform_down(home()):
        with _progress("bytes checked") as checked, _progress("rows restored") as report:
            backup, replaced = restore_backup(settings.job_store_url, file, force=force, checked=checked, report=report)
        taken = datetime.fromtimestamp(backup.taken).astimezone().isoformat(" ", "seconds")
        click.echo(f"{backup.jobs} jobs are restored, as they were at {taken}.")
        if replaced:
            click.echo(f"{replaced} jobs that were in the store are replaced.")
        try:
            missing, unknown = compare_share(settings.job_store_url, settings.share_path)
        except OSError as error:
            click.echo(f"SHARE_PATH {settings.share_path} cannot be read: {error.strerror or error}.", err=True)
            return
    if missing:
        click.echo(f"{missing} of them have no folder on the share: they have no outputs, and cannot be run again.")
    if unknown:
        click.echo(f"{unknown} folders on the share belong to none of them, as they are newer. They are kept.")


@contextmanager
def _progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that reports progress on standard error, at most once a second."""
    shown = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _SHOWN_EVERY_S:
            shown = time.monotonic()
            click.echo(f"{done} of {total} {unit} ({100 * done // max(1, total)} %)", err=True)

    yield report
