"""How the platform of this machine is started again: by its systemd unit, where one runs it, else by `pixyz up`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pixyz_ray.home import read_platform

REPLACE = "pixyz up --detach --replace"


def restart_command() -> str:
    """Return the command that starts the platform of this machine again, with the settings that are written now.

    A supervisor that a unit has started must not be replaced from a shell: systemd would start it once more.
    """
    own = read_platform()
    unit = None if own is None else unit_of(own.pid)
    return REPLACE if unit is None else f"systemctl restart {unit}"


def unit_of(pid: int) -> str | None:
    """Return the systemd unit whose main process this is; None where it is none, or belongs to another user."""
    with suppress(OSError):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if f"SYSTEMD_EXEC_PID={pid}".encode() in variables:
            return unit_of_group(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
    return None


def unit_of_group(groups: str) -> str:
    """Return the unit that the text of /proc/PID/cgroup names.

    >>> unit_of_group("0::/system.slice/pixyz-test.service\\n")
    'pixyz-test'
    >>> unit_of_group("0::/\\n")
    'pixyz'
    """
    names = [line.rpartition("/")[2].strip() for line in groups.splitlines()]
    return next((name.removesuffix(".service") for name in names if name.endswith(".service")), "pixyz")
