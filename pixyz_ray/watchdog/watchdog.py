"""The watchdog process: looks at one worker, and at the attempt that it runs, until the worker is dead.

Started by `guard.py` with nothing but the standard library, in a session of its own, as nobody's child.
"""

from __future__ import annotations

# What lies below `signal`, which takes a megabyte of enums.
import _signal
import os
import select

from pixyz_ray.watchdog.death import OomCounter, exit_of
from pixyz_ray.watchdog.line import Line
from pixyz_ray.watchdog.log_file import tail
from pixyz_ray.watchdog.machine import Machine
from pixyz_ray.watchdog.page import Order, Page
from pixyz_ray.watchdog.process_tree import Process, Tree, read_process
from pixyz_ray.watchdog.signals import kill_all, send
from pixyz_ray.watchdog.watch import LOST_GRACE_S, Watch

_IDLE_S = 0.2
_TELLING_S = 3.0
_KILL_PATIENCE_S = 5.0


class Watchdog:
    """Looks after one worker.

    Args:
        page: what it shares with the worker.
        worker: the worker's process id.
        pidfd: a handle of the worker, -1 where the kernel has none.
    """

    def __init__(self, page: Page, worker: int, pidfd: int) -> None:
        self._page = page
        self._worker = worker
        self._pidfd = pidfd
        process = read_process(worker)
        self._start = process.start if process else -1
        self._tree = Tree(worker, page.group)
        self._oom = OomCounter()
        self._machine = Machine()
        self._watch: Watch | None = None
        self._line: Line | None = None

    def run(self) -> None:
        """Watch until the worker is dead; then tidy up and tell."""
        wait_s = 0.0
        while not self._worker_is_dead(wait_s):
            self._hear()
            wait_s = self._look()
        self._worker_is_gone()

    def _worker_is_dead(self, wait_s: float) -> bool:
        """Wait for something to do, at the most so long; return whether it is the end of the worker."""
        poll = select.poll()
        if self._pidfd >= 0:
            poll.register(self._pidfd, select.POLLIN)
        if self._line is not None and not self._line.broken:
            poll.register(self._line.fileno(), self._line.waits_for)
        ready = [descriptor for descriptor, _ in poll.poll(wait_s * 1000)]
        if self._pidfd >= 0:
            return self._pidfd in ready
        process = read_process(self._worker)
        return process is None or process.start != self._start

    def _look(self) -> float:
        """Look at what runs; return the seconds until the next look."""
        watch = self._watch
        if watch is None or watch.order.serial != self._page.serial:
            if watch is not None and watch.wanted and self._page.serial == watch.order.serial + 1:
                # It was told to stop and has ended since: if the worker has seen that, it leaves, or is made to.
                return self._enforce(watch)
            order = self._page.order()
            self._watch = watch = self._begin(order) if order else None
        if watch is None:
            return _IDLE_S
        if (young_s := watch.is_young_for()) > 0:
            return young_s
        if not watch.looked:
            self._oom.begin()
        self._keep_line(watch)
        if watch.look():
            self._stop(watch, "memory", 0.0)
        elif watch.has_too_much_of_a_gpu():
            self._stop(watch, "gpu_memory", 0.0)
        elif watch.is_in_the_way(self._machine.is_full(), self._machine.taken):
            self._stop(watch, "machine", 0.0)
        watch.report(self._line)
        return self._enforce(watch)

    def _begin(self, order: Order) -> Watch:
        watch = Watch(order, self._page, self._tree)
        self._tree.begin(watch.name)
        return watch

    def _keep_line(self, watch: Watch) -> None:
        """Say on the line to the tracker that this attempt is looked after; take note when the line breaks."""
        if watch.order.endpoint is None or watch.reason:
            return
        line = self._line
        if line is not None and line.broken:
            self._line = None
            if watch.is_given_up(line):
                self._stop(watch, "stopped", LOST_GRACE_S)
                return
        if self._line is not None and self._line.endpoint != watch.order.endpoint:
            self._line.close()
            self._line = None
        if self._line is None:
            self._line = Line(watch.order.endpoint)
            watch.told = False
        if not watch.told:
            watch.told = True
            self._line.say(watch.number, "guard", watch.order.uuid, watch.order.attempt)

    def _hear(self) -> None:
        """Take what the tracker says."""
        line, watch = self._line, self._watch
        if line is None:
            return
        for number, _, grace_s in line.hear():
            if watch is not None and number == watch.number:
                self._stop(watch, "stopped", grace_s)
        if line.broken and (watch is None or watch.order.serial != self._page.serial):
            self._line = None

    def _stop(self, watch: Watch, reason: str, grace_s: float) -> None:
        """Tell the attempt to stop, if it still runs."""
        watch.wanted = watch.wanted or reason
        self._page.stopped = watch.order.serial
        # Only now, and after a system call, which keeps the order in the processor too: see Guard.end.
        os.getppid()
        if self._page.serial != watch.order.serial:
            return
        first = not watch.reason
        watch.stop(reason, grace_s)
        if first and grace_s > 0:
            for process in self._tree.everything():
                send(process, _signal.SIGTERM)

    def _enforce(self, watch: Watch) -> float:
        """Kill what was told to stop and has not, when its time is over; return the seconds until the next look."""
        left_s = watch.time_left()
        if left_s > 0:
            return min(left_s, watch.look_s)
        kill_all(self._tree.everything, patience_s=_KILL_PATIENCE_S, group=self._page.group)
        return 0.0

    def _worker_is_gone(self) -> None:
        """End all that the worker's attempt has left; tell how the worker died if that ended an attempt."""
        order = self._page.order()
        watch = self._watch
        if order is not None and (watch is None or watch.order.serial != order.serial):
            watch = self._begin(order)
        left = kill_all(self._remains, patience_s=_KILL_PATIENCE_S, group=self._page.group)
        if watch is None or watch.order.endpoint is None or not (order or watch.wanted):
            return
        signal, code = exit_of(self._worker, self._pidfd, self._page.exit_code, tail(watch.order.log))
        watch.trim_log()
        about = {
            "signal": signal,
            "exit_code": code,
            "reason": watch.wanted or None,
            "oom_killer": signal == _signal.SIGKILL and not watch.wanted and self._oom.has_grown(),
            **watch.peaks(),
            "left_running": len(left),
        }
        if self._line is None or self._line.broken or self._line.endpoint != watch.order.endpoint:
            self._line = Line(watch.order.endpoint)
        self._line.say(0, "died", watch.order.uuid, watch.order.attempt, about)
        self._line.flush(_TELLING_S)

    def _remains(self) -> list[Process]:
        return self._tree.everything(worker=False)


def main(page: int, worker: int, pidfd: int) -> None:
    """Be the watchdog of a worker.

    Args:
        page: descriptor of the shared page.
        worker: the worker's process id.
        pidfd: descriptor of the worker's handle, -1 for none.
    """
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_IGN)
    _write_about_itself("comm", b"pixyz-watchdog")
    # Ray marks its workers as what the kernel kills first; this one is to outlive its worker.
    _write_about_itself("oom_score_adj", b"0")
    Watchdog(Page(page), worker, pidfd).run()


def _write_about_itself(name: str, text: bytes) -> None:
    try:
        file = os.open(f"/proc/self/{name}", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(file, text)
    except OSError:
        pass
    finally:
        os.close(file)
