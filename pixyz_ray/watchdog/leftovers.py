"""What a script has left running when it is over: found, told to end, and ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

from pixyz_ray.watchdog.process_tree import Key, Process, descendants
from pixyz_ray.watchdog.signals import kill_all, send

_GRACE_S = 0.5
_KILL_PATIENCE_S = 5.0
_LOOK_S = 0.005


class Leftovers:
    """This process's descendants, those excepted that were there from the start."""

    def __init__(self) -> None:
        self._own = {process.key for process in descendants(os.getpid())}
        self.hopeless = False
        """Whether processes were left that could not be ended."""

    def there_are(self) -> bool:
        """Tell, in a microsecond, whether there is any child, living or dead."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def end(self) -> int:
        """End them, SIGTERM first; return how many there were."""
        left = self._living()
        found: set[Key] = {process.key for process in left}
        for process in left:
            send(process, signal.SIGTERM)
            # Otherwise a stopped one would not hear of it.
            send(process, signal.SIGCONT)
        deadline = time.monotonic() + _GRACE_S
        while left and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            left = self._living()
            found.update(process.key for process in left)
        if left:
            found |= kill_all(self._living, patience_s=_KILL_PATIENCE_S)
        _stop_resource_tracker()
        self.hopeless = bool(left) and bool(self._living())
        return len(found)

    def _living(self) -> list[Process]:
        """Fetch those that are dead, which their parent never did; return the others."""
        living = [process for process in descendants(os.getpid()) if process.key not in self._own]
        tracker = _resource_tracker_pid()
        _fetch_dead({pid for pid, _ in self._own} | {tracker})
        return [process for process in living if process.pid != tracker]


def _fetch_dead(spared: set[int]) -> None:
    with suppress(ChildProcessError):
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in spared:
                return
            os.waitpid(dead.si_pid, os.WNOHANG)


def _resource_tracker_pid() -> int:
    """Return the helper process of multiprocessing, which a script may have started; 0 for none."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    return getattr(getattr(module, "_resource_tracker", None), "_pid", None) or 0


def _stop_resource_tracker() -> None:
    """Have it end by itself: it tidies up, and the next script gets a new one without a warning."""
    if _resource_tracker_pid():
        with suppress(Exception):
            sys.modules["multiprocessing.resource_tracker"]._resource_tracker._stop()
