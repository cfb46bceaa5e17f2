"""Whether the platform can recover by itself, as seen from one of its processes: it needs its supervisor.

Two look-ups in /proc: cheap enough for the event loop of the HTTP service.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import psutil

from pixyz_ray.reaper import is_supervisor

SUPERVISOR = "PIXYZ_SUPERVISOR"
"""Variable with the process id of the supervisor, in the environment of every process on the supervisor's machine."""


class Liveness:
    """Checks the supervisor of this run, if there is one on this machine.

    Args:
        environment: variables of this process; without PIXYZ_SUPERVISOR, as on the nodes of a cluster that was started
            with `ray start`, there is nothing to check.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._raylet = os.getppid()
        self._is_supervised = SUPERVISOR in environment
        self._supervisor: psutil.Process | None = None
        if self._is_supervised:
            pid = int(environment[SUPERVISOR])
            self._supervisor = psutil.Process(pid) if is_supervisor(pid) else None

    def problem(self) -> str | None:
        """Return why the platform cannot recover by itself; None when it can."""
        if not self._is_supervised:
            return None
        status = self._status()
        if status is None:
            return "The supervisor (pixyz up) has died: nothing restarts the platform. Start it again with  pixyz up"
        if status == psutil.STATUS_STOPPED and os.getppid() != self._raylet:
            return (
                "Ray's raylet has died, and the supervisor is stopped by a signal: it cannot restart the platform. "
                "Resume it (kill -CONT), or start again with  pixyz down  and  pixyz up"
            )
        return None

    def _status(self) -> str | None:
        """Return the status of the supervisor's process; None when it has ended."""
        try:
            if self._supervisor is None or not self._supervisor.is_running():
                return None
            status = str(self._supervisor.status())
        except psutil.Error:
            return None
        return None if status == psutil.STATUS_ZOMBIE else status
