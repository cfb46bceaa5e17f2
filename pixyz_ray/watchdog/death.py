"""How a process died that is nobody's child here: by which signal or with which code, and if memory had run out."""

from __future__ import annotations

# What lies below `signal`, which takes a megabyte of enums.
import _signal
import fcntl
import struct
import time

from pixyz_ray.watchdog.process_tree import content, wait_status

# Linux 6.15: ioctl(pidfd, PIDFD_GET_INFO) with a struct pidfd_info of 64 bytes, whose last number is the wait status.
_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_INFO_EXIT = 1 << 3
_STATUS_AT = 60
_PATIENCE_S = 0.1

# What faulthandler leaves at the end of the log.
_FAULTS = (
    (b"Fatal Python error: Segmentation fault", _signal.SIGSEGV),
    (b"Fatal Python error: Aborted", _signal.SIGABRT),
    (b"Fatal Python error: Bus error", _signal.SIGBUS),
    (b"Fatal Python error: Illegal instruction", _signal.SIGILL),
    (b"Fatal Python error: Floating point exception", _signal.SIGFPE),
)


class OomCounter:
    """The kernel's count of processes that it killed for memory, in this process's control group where that counts."""

    def __init__(self) -> None:
        self._path, self._key = next((place for place in _oom_places() if _count(*place) is not None), ("", b""))
        self._before = self._now()

    def begin(self) -> None:
        """Take down the count as it is now."""
        self._before = self._now()

    def has_grown(self) -> bool:
        """Return whether a process was killed since."""
        return self._now() > self._before

    def _now(self) -> int:
        return _count(self._path, self._key) or 0 if self._path else 0


def exit_of(pid: int, pidfd: int, marker: int | None, log_tail: bytes) -> tuple[int | None, int | None]:
    """Return (signal, None) or (None, exit code) of a process that is dead.

    Args:
        pid: the process.
        pidfd: a handle opened while it lived; -1 for none.
        marker: what it handed to os._exit, if it did.
        log_tail: the end of what it has printed.
    """
    status = _status(pid, pidfd)
    if status is not None:
        number = status & 0x7F
        return (number, None) if number else (None, (status >> 8) & 0xFF)
    if marker is not None:
        return None, marker
    # The last of them: a child process may have died of another before.
    places = [(log_tail.rfind(text), int(number)) for text, number in _FAULTS]
    place, number = max(places)
    return (number if place >= 0 else int(_signal.SIGKILL)), None


def _status(pid: int, pidfd: int) -> int | None:
    """Ask for the wait status: it stands in /proc until the parent has fetched it, and with the handle from then on."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        status = wait_status(pid)
        if status is None:
            status = _status_of_handle(pidfd)
        if status is not None or pidfd < 0 or time.monotonic() > deadline:
            return status
        time.sleep(0.005)


def _status_of_handle(pidfd: int) -> int | None:
    info = bytearray(64)
    struct.pack_into("<Q", info, 0, _INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info, True)
    except (OSError, ValueError):
        return None
    if not struct.unpack_from("<Q", info, 0)[0] & _INFO_EXIT:
        return None
    status: int = struct.unpack_from("<i", info, _STATUS_AT)[0]
    return status


def _oom_places() -> list[tuple[str, bytes]]:
    """Return the files that may have the count, and its name there, the most exact first."""
    places = []
    for line in content("/proc/self/cgroup").decode().splitlines():
        _, controllers, group = line.split(":", 2)
        group = group.rstrip("/")
        if not controllers:
            places.append((f"/sys/fs/cgroup{group}/memory.events", b"oom_kill"))
        elif "memory" in controllers.split(","):
            places.append((f"/sys/fs/cgroup/memory{group}/memory.oom_control", b"oom_kill"))
    return [*places, ("/proc/vmstat", b"oom_kill")]


def _count(path: str, key: bytes) -> int | None:
    for line in content(path).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == key:
            return int(words[1])
    return None
