"""The processes of a worker and of what its script has started: which they are, and what memory and time they take."""

from __future__ import annotations

import os

ATTEMPT_MARK = "PIXYZ_ATTEMPT"
"""Variable, `uuid/attempt`, in the environment of what a script starts: finds it even when its parents are gone."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_HAS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # noqa: PTH110 - pathlib is too big here

Key = tuple[int, int]
"""Process id and start time: a number that was given to another process since is not taken for the same."""


class Process:
    """What /proc/PID/stat says of a process that lives."""

    __slots__ = ("cpu_us", "group", "parent", "pid", "rss", "start")

    def __init__(self, pid: int, fields: list[bytes]) -> None:
        self.pid = pid
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.start = int(fields[19])
        """When it began, in ticks since the machine's start."""
        self.rss = int(fields[21]) * _PAGE
        """Bytes in memory."""
        self.cpu_us = sum(map(int, fields[11:15])) * _TICK_US
        """CPU time, its reaped children's included, in microseconds."""

    @property
    def key(self) -> Key:
        """What tells it from every other process."""
        return self.pid, self.start


def read_process(pid: int) -> Process | None:
    """Return a process, None when it is gone, or dead and only not fetched yet by its parent."""
    fields = _stat(pid)
    # A dead leader whose threads go on is a process that lives.
    if not fields or (fields[0] in (b"Z", b"X") and int(fields[17]) < 2):
        return None
    return Process(pid, fields)


def wait_status(pid: int) -> int | None:
    """Return the status that a dead process has left, as long as its parent has not fetched it."""
    fields = _stat(pid)
    return int(fields[49]) if fields and fields[0] == b"Z" else None


def descendants(pid: int) -> list[Process]:
    """Return the living processes below one, children before their own."""
    if not _HAS_CHILDREN:
        return _below({pid}, _everybody())
    found: list[Process] = []
    waiting = _children(pid)
    while waiting:
        each = waiting.pop()
        if process := read_process(each):
            found.append(process)
            waiting += _children(each)
    return found


class Tree:
    """A worker and all that its attempt has started.

    Args:
        worker: the worker's process id.
        group: its process group, if that is its own; 0 otherwise.
    """

    def __init__(self, worker: int, group: int) -> None:
        self._worker = worker
        own = read_process(worker)
        self._start = own.start if own else -1
        self._group = group
        self._seen: set[Key] = set()
        self._strangers: set[Key] = set()
        self.mark = b""
        """`PIXYZ_ATTEMPT=uuid/attempt` of the attempt that runs."""

    def begin(self, mark: str) -> None:
        """Forget what an earlier attempt had started."""
        self._seen.clear()
        self._strangers.clear()
        self.mark = f"{ATTEMPT_MARK}={mark}".encode()

    def look(self) -> list[Process]:
        """Return the worker and its descendants, quickly: what is needed ten times a second."""
        worker = read_process(self._worker)
        if worker is None or worker.start != self._start:
            return []
        found = descendants(self._worker)
        self._seen.update(process.key for process in found)
        return [worker, *found]

    def everything(self, *, worker: bool = True) -> list[Process]:
        """Return every process that belongs to the attempt, whatever became of its parents, the worker first.

        Args:
            worker: whether the worker itself is wanted.
        """
        processes = _everybody()
        processes.pop(os.getpid(), None)
        own = processes.get(self._worker)
        if own and own.start != self._start:
            own = None
        ours = {process.pid for process in processes.values() if self._is_ours(process)}
        if own:
            ours.add(own.pid)
        found = [processes[pid] for pid in ours if not own or pid != own.pid] + _below(ours, processes)
        self._seen.update(process.key for process in found)
        return [own, *found] if own and worker else found

    def _is_ours(self, process: Process) -> bool:
        if process.key in self._seen or (self._group and process.group == self._group):
            return True
        if not self.mark or process.key in self._strangers:
            return False
        if self.mark in content(f"/proc/{process.pid}/environ").split(b"\0"):
            return True
        self._strangers.add(process.key)
        return False


def unshared(process: Process) -> int:
    """Return the bytes of a process that are no file's and no shared memory's. A fork's pages count in each process."""
    fields = content(f"/proc/{process.pid}/statm").split()
    return max(0, (int(fields[1]) - int(fields[2])) * _PAGE) if fields else 0


def proportional(process: Process) -> int:
    """Return the same with the pages of a fork shared out among those that have them; slow for a large process."""
    for line in content(f"/proc/{process.pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss_Anon:"):
            return int(line.split()[1]) * 1024
    return unshared(process)


def content(path: str) -> bytes:
    """Return a file's content; nothing when it is not there or not ours to read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        pieces = []
        while piece := os.read(file, 65536):
            pieces.append(piece)
        return b"".join(pieces)
    except OSError:
        return b""
    finally:
        os.close(file)


def _stat(pid: int) -> list[bytes]:
    # A process may call itself anything, brackets and spaces included.
    return content(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return []
    return [int(child) for thread in threads for child in content(f"/proc/{pid}/task/{thread}/children").split()]


def _everybody() -> dict[int, Process]:
    numbers = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    return {number: process for number in numbers if (process := read_process(number))}


def _below(roots: set[int], processes: dict[int, Process]) -> list[Process]:
    """Return the descendants of some processes that are not among these."""
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    known = set(roots)
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child.pid not in known:
                known.add(child.pid)
                found.append(child)
                waiting.append(child.pid)
    return found
