"""The worker's side: what a worker tells its watchdog of each attempt, and what it puts in order after it.

`guard().begin(...)` and `guard().end()` are in the way of every job, also of those that take two milliseconds: they
write to memory that the watchdog looks at from time to time, and ask the kernel few, cheap things.
"""

from __future__ import annotations

import _thread
import os
import resource
import select
import time
from dataclasses import dataclass

from pixyz_ray.watchdog.leftovers import Leftovers
from pixyz_ray.watchdog.log_file import trim
from pixyz_ray.watchdog.page import UNWATCHED, Endpoint, Page
from pixyz_ray.watchdog.start import own_group, start_watchdog

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_RESET_PEAK = b"5"
_exit = os._exit


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What an attempt has taken."""

    peak_rss: int
    """Bytes in memory at the most, of all its processes together."""
    peak_uss: int
    """Of these, bytes that belong to no file and are not shared memory."""
    cpu_time: float
    """Seconds of all its processes together."""
    left_running: int
    """Processes that the script had started, and that had to be ended after it."""
    peak_gpu_memory: int | None = None
    """Bytes on one GPU at the most, of all its processes together; None where it is not known."""
    gpu_unwatched: bool = False
    """Whether it had a GPU, and its memory there is not known on this machine."""


class Guard:
    """One worker process and its watchdog; made by `guard()`."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._page = Page.make()
        self._page.group = own_group()
        try:
            self._clear_refs = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            # A kernel that forgets no peak: what is left is what is seen now and then.
            self._clear_refs = -1
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        self._alive = start_watchdog(self._page.descriptor)
        self._poll = select.poll()
        self._poll.register(self._alive, 0)
        self._quick_peak = self._peak_is_quick()
        self._leftovers = Leftovers()
        self._barrier = _thread.allocate_lock()
        self._leaving = False
        self._log = ""
        self._max_log_bytes = 0
        self._before = (0.0, 0)

    @property
    def watched(self) -> bool:
        """Whether the watchdog lives."""
        return not self._poll.poll(0)

    @property
    def stopping(self) -> bool:
        """Whether the attempt that runs was told to stop."""
        return self._page.stopped == self._page.serial != 0

    def begin(
        self,
        uuid: str,
        attempt: int,
        *,
        memory_limit: int | None = None,
        gpu_limit: int | None = None,
        log: str = "",
        max_log_bytes: int = 0,
        endpoint: Endpoint | None = None,
    ) -> None:
        """Tell the watchdog which attempt runs from now on.

        Args:
            uuid: the job.
            attempt: number of the run.
            memory_limit: bytes that all its processes together may have; None for no limit.
            gpu_limit: bytes that all its processes together may have on one GPU, or UNBOUNDED; None without a GPU.
            log: path of its log, which is opened for appending; empty for none.
            max_log_bytes: length from which on the log is cut; 0 for any length.
            endpoint: host, port and secret of the tracker's channel; None for nobody to tell.
        """
        page = self._page
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_time = own[0] + own[1] + children[0] + children[1]
        self._before = cpu_time, children[2]
        self._log, self._max_log_bytes = log, max_log_bytes
        page.write_endpoint(endpoint)
        page.write_order(
            attempt,
            memory_limit or 0,
            gpu_limit or 0,
            max_log_bytes,
            time.monotonic_ns(),
            int(cpu_time * 1e6),
            uuid.encode(),
            os.fsencode(log),
        )
        os._exit = self._leave  # type: ignore[assignment]
        if self._clear_refs >= 0:
            os.write(self._clear_refs, _RESET_PEAK)
        page.serial += 1

    def end(self) -> Usage:
        """End what the script has left running, tell the watchdog that the attempt is over, return what it took."""
        page = self._page
        left = self._leftovers.end() if self._leftovers.there_are() else 0
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        usage = self._usage(own, children, *self.memory(), left)
        if self._max_log_bytes:
            trim(self._log, self._max_log_bytes)
        os._exit = _exit
        serial = page.serial
        page.serial = serial + 1
        # The watchdog writes that it stops the attempt, then looks whether it still runs. That this is written before
        # the other is read, in the processor too, makes sure that one of the two sees what the other has done.
        with self._barrier:
            self._leaving = page.stopped == serial
        return usage

    def memory(self) -> tuple[int, int]:
        """Return the bytes that this process has in memory, and those of them that are a file's or shared memory."""
        resident, shared = os.pread(self._statm, 128, 0).split(b" ", 3)[1:3]
        return int(resident) * _PAGE_BYTES, int(shared) * _PAGE_BYTES

    def must_leave(self) -> bool:
        """Return whether the worker must leave (os._exit) rather than take another job.

        The attempt that has just ended was told to stop, and a signal may be on its way. The watchdog tells of it.
        """
        return self._leaving

    @property
    def spoiled(self) -> bool:
        """Whether processes that an attempt has left did not end.

        Its outcome counts, but the worker should leave after it: the watchdog sees to what is left then.
        """
        return self._leftovers.hopeless

    def _usage(
        self, own: resource.struct_rusage, children: resource.struct_rusage, resident: int, shared: int, left: int
    ) -> Usage:
        cpu_before, child_before = self._before
        tree_rss, tree_uss, tree_cpu, tree_gpu = self._page.usage(self._page.serial)
        peak = resident
        if self._clear_refs >= 0:
            peak = max(peak, own[2] * 1024 if self._quick_peak else self._peak())
        # A child that was too quick for the watchdog to see.
        child = children[2] * 1024 if children[2] > child_before else 0
        cpu_time = own[0] + own[1] + children[0] + children[1] - cpu_before
        return Usage(
            peak_rss=max(peak, tree_rss, child),
            peak_uss=max(peak - shared, tree_uss),
            peak_gpu_memory=tree_gpu if 0 < tree_gpu != UNWATCHED else None,
            gpu_unwatched=tree_gpu == UNWATCHED,
            cpu_time=max(cpu_time, tree_cpu / 1e6),
            left_running=left,
        )

    def _leave(self, status: int) -> None:
        """Stand in for os._exit while an attempt runs: the code may be lost otherwise."""
        if os.getpid() == self.pid:
            self._page.exit_code = status
        _exit(status)

    def _peak(self) -> int:
        """Return the most memory since it was reset, in bytes."""
        return int(os.pread(self._status, 4096, 0).partition(b"VmHWM:")[2].split(None, 1)[0]) * 1024

    def _peak_is_quick(self) -> bool:
        """Return whether getrusage knows the peak: it starts from that of the program that has started this one."""
        if self._clear_refs < 0:
            return False
        os.write(self._clear_refs, _RESET_PEAK)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 <= self._peak() + (1 << 20)

    def close(self) -> None:
        """Close what the guard of a watchdog that has died holds."""
        for descriptor in (self._clear_refs, self._statm, self._status, self._alive, self._page.descriptor):
            if descriptor >= 0:
                os.close(descriptor)


_guards: list[Guard] = []


def guard() -> Guard:
    """Return this process's guard; a new one after a fork, and when the watchdog has died.

    It is for the worker process alone: a process that a script has forked asks `is_stopping`.
    """
    if _guards:
        current = _guards[0]
        if current.pid == os.getpid():
            if current.watched:
                return current
            current.close()
        _guards.clear()
    _guards.append(Guard())
    return _guards[0]


def is_stopping() -> bool:
    """Return whether the attempt that runs in this process, or in the one that forked it, was told to stop."""
    return bool(_guards) and _guards[0].stopping
