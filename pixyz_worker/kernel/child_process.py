"""Running a helper process to its end within limits: its output, and how it ended."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from pixyz_worker.kernel.process_tree import ProcessTree, start_options, tree_of

_ANSWER_BYTES, _WORDS_BYTES = 1 << 20, 1 << 16
"""Most bytes kept of the answer (its beginning) and of the output that libraries print (its end)."""
_LOOK_S = 0.25
"""Seconds between checks of the limits and, on Windows, of Ctrl-C."""
_LAST_WORDS_S = 1.0
"""Seconds for which streams are read after the end: a process that has left the tree may keep them open."""


@dataclass(kw_only=True, slots=True)
class Ending:
    """How a process has ended, and its output."""

    code: int | None = None
    """Its exit code, negative for a signal; None when it was ended here."""
    too_late: bool = False
    """Whether it was ended because its time was over."""
    too_large: bool = False
    """Whether it was ended because it took too much memory."""
    answer: bytes = b""
    """What it wrote to its standard output."""
    words: bytes = b""
    """The end of what it wrote to its standard error."""


def run(command: Sequence[str], environment: Mapping[str, str], *, allowed_s: float, most_bytes: int) -> Ending:
    """Run a process until it ends or exceeds a limit; it and its descendants are gone afterwards in any case.

    Args:
        command: what to run.
        environment: its whole environment.
        allowed_s: seconds that it may take; 0 is no limit.
        most_bytes: memory that it may take, where the system can bound it from outside; 0 is no limit.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        bufsize=0,
        **start_options(),
    )
    tree, ending, readers = tree_of(child, most_bytes), Ending(), list[_StreamReader]()
    try:
        assert child.stdout is not None and child.stderr is not None
        readers += _StreamReader(child.stdout, first=_ANSWER_BYTES), _StreamReader(child.stderr, last=_WORDS_BYTES)
        _wait(_ExitWatcher(child), tree, ending, time.monotonic() + allowed_s if allowed_s else None)
    finally:
        tree.kill()
        code = child.wait()
        for reader in readers:
            reader.finish()
    if not (ending.too_late or ending.too_large):
        ending.code = code
    ending.answer, ending.words = (bytes(reader.kept) for reader in readers)
    return ending


def _wait(watcher: _ExitWatcher, tree: ProcessTree, ending: Ending, deadline: float | None) -> None:
    """Wait for the end of a process, or for a limit that it exceeds."""
    while not ending.too_late:
        left = None if deadline is None else deadline - time.monotonic()
        if watcher.exited.wait(_LOOK_S if left is None else min(_LOOK_S, max(left, 0.0))):
            return
        ending.too_late = left is not None and left <= 0
        if tree.is_too_large():
            ending.too_large = True
            return


class _ExitWatcher:
    """Sets an event as soon as a process has ended."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.exited = threading.Event()
        self._child = child
        threading.Thread(target=self._notice, daemon=True, name="pixyz-child-end").start()

    def _notice(self) -> None:
        try:
            if hasattr(os, "waitid"):
                # The exit code is not collected, so that the pid cannot be reused before the tree is killed.
                os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
            else:  # Windows; macOS before Python 3.13
                self._child.wait()
        except ChildProcessError:
            pass  # the exit code was collected already
        finally:
            self.exited.set()


class _StreamReader:
    """Reads a stream in a thread, and keeps its first or its last bytes."""

    def __init__(self, stream: IO[bytes], *, first: int = 0, last: int = 0) -> None:
        self.kept = bytearray()
        self._stream, self._first, self._last = stream, first, last
        self._thread = threading.Thread(target=self._read, daemon=True, name="pixyz-child-stream")
        self._thread.start()

    def finish(self) -> None:
        """Read the rest of the stream; one that another process keeps open is closed when that ends."""
        self._thread.join(_LAST_WORDS_S)

    def _read(self) -> None:
        with self._stream as stream:
            while data := stream.read(1 << 16):
                if self._first:
                    self.kept += data[: self._first - len(self.kept)]
                else:
                    self.kept += data
                    del self.kept[: -self._last]
