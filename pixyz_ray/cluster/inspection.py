"""Inspection of scripts in child processes with limits of time and memory; results are cached by digest.

Two children are kept alive, one for short scripts and one for long ones, so that long scripts do not delay short ones.
"""

from __future__ import annotations

import atexit
import hashlib
import marshal
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pixyz_ray.cluster.errors import EngineNotReady
from pixyz_worker.exception import InvalidScript
from pixyz_worker.inspection_child import ANSWER, REQUEST, decode
from pixyz_worker.loader import ScriptInfo

_ROOT = str(Path(__file__).resolve().parents[2])
_START = (
    "import sys; sys.path.append(sys.argv[1]); from pixyz_worker.inspection_child import main; "
    "main(*map(int, sys.argv[2:]))"
)
_SHORT_BYTES = 32 * 1024
_MAX_ANSWER_BYTES = 64 * 2**20
_ENTRY_BYTES = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectionLimits:
    """Limits for inspecting one script."""

    cpu_s: int = 10
    """Seconds of CPU time."""
    wall_s: float = 15.0
    """Seconds of wall-clock time."""
    memory_bytes: int = 2**30
    """Bytes of memory of the child."""
    waiting_s: float = 10.0
    """Seconds that a script may wait for its turn."""
    max_waiting: int = 4
    """Callers of one child, the one being served included."""
    cache_bytes: int = 16 * 2**20
    """Bytes of the cache."""


class Inspector:
    """Reads what scripts declare, without ever parsing one in this process. Safe to use from several threads.

    Args:
        limits: limits for inspecting one script.
    """

    def __init__(self, limits: InspectionLimits = InspectionLimits()) -> None:
        self._limits = limits
        self._short, self._long = _Child(limits), _Child(limits)
        self._known = _Cache(limits.cache_bytes)

    def start(self) -> None:
        """Start the child for short scripts, so that the first script does not wait for it."""
        with suppress(OSError):
            self._short.start()

    def close(self) -> None:
        """End the children."""
        self._short.stop()
        self._long.stop()

    def known(self, digest: str, name: str) -> ScriptInfo | None:
        """Return what a script declares, if it is cached.

        Args:
            digest: SHA-256 (hex) of its source.
            name: its file name.

        Raises:
            InvalidScript: it was read, and cannot be run.
        """
        found = self._known.get((digest, name))
        if isinstance(found, _Refusal):
            raise found.error()
        return found

    def inspect(self, source: bytes, name: str) -> ScriptInfo:
        """Return what a script declares; blocks while its child reads it.

        Raises:
            InvalidScript: it cannot be run, or takes more time or memory to read than is allowed.
            EngineNotReady: too many other scripts are being read.
        """
        digest = hashlib.sha256(source).hexdigest()
        if (found := self.known(digest, name)) is not None:
            return found
        child = self._short if len(source) <= _SHORT_BYTES else self._long
        result, size = self._understood(child.ask(source, name), name)
        self._known.put((digest, name), result, size)
        if isinstance(result, _Refusal):
            raise result.error()
        return result

    def _understood(self, answer: bytes | None, name: str) -> tuple[ScriptInfo | _Refusal, int]:
        size = _ENTRY_BYTES + len(answer or b"")
        if answer is None:
            limit = f"more than {self._limits.cpu_s} s of CPU time, or crashes Python's parser"
            return _Refusal(f"{name}: The script takes {limit} to read. {_ADVICE}"), size
        kind, *values = marshal.loads(answer)
        if kind == "ok":
            return decode(*values), size
        if kind == "invalid":
            return _Refusal(*values), size
        limit = f"more than {self._limits.memory_bytes >> 20} MiB of memory"
        return _Refusal(f"{name}: The script takes {limit} to read. {_ADVICE}"), size


_ADVICE = "Move its data into an input file, and read that when the script runs."


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a script cannot be run. An exception itself would keep the traceback of its first use."""

    message: str
    line: int | None = None
    column: int | None = None

    def error(self) -> InvalidScript:
        return InvalidScript(self.message, line=self.line, column=self.column)


class _Cache:
    """The results used last, bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._items: OrderedDict[tuple[str, str], tuple[ScriptInfo | _Refusal, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, str]) -> ScriptInfo | _Refusal | None:
        with self._lock:
            if (found := self._items.get(key)) is None:
                return None
            self._items.move_to_end(key)
            return found[0]

    def put(self, key: tuple[str, str], result: ScriptInfo | _Refusal, size: int) -> None:
        with self._lock:
            if (old := self._items.pop(key, None)) is not None:
                self._bytes -= old[1]
            self._items[key] = result, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._bytes -= self._items.popitem(last=False)[1][1]


class _Child:
    """One child process; asked by one caller at a time, and replaced when it has exceeded a limit."""

    def __init__(self, limits: InspectionLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        # Bound the waiting callers: they occupy threads that callers of the other child need.
        self._places = threading.BoundedSemaphore(limits.max_waiting)

    def start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            limits = str(self._limits.cpu_s), str(self._limits.memory_bytes)
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, _ROOT, *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                bufsize=0,
            )
            assert process.stdin is not None
            os.set_blocking(process.stdin.fileno(), False)
            self._process = process
        return self._process

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def ask(self, source: bytes, name: str) -> bytes | None:
        """Return the child's answer; None when it has died or exceeded its time.

        Raises:
            EngineNotReady: other callers keep it busy, or no process can be started.
        """
        if not (self._places.acquire(blocking=False) and self._acquired()):
            raise EngineNotReady("Too many new scripts are being read. Try again in a moment.")
        try:
            if self._process is not None and self._process.poll() is not None:
                self.stop()
            process = self.start()
            answer = _exchange(process, _request(source, name), time.monotonic() + self._limits.wall_s)
            # After a large script the process keeps its memory; replace it.
            if answer is None or len(source) > _SHORT_BYTES:
                self.stop()
            return answer
        except OSError as error:
            self.stop()
            raise EngineNotReady(f"No process can be started to read the script: {error.strerror or error}.") from error
        finally:
            self._lock.release()
            self._places.release()

    def _acquired(self) -> bool:
        """Wait for the lock as long as allowed, and return whether it was acquired."""
        if self._lock.acquire(timeout=self._limits.waiting_s):
            return True
        self._places.release()
        return False


def _request(source: bytes, name: str) -> bytes:
    encoded = name.encode("utf-8", "surrogateescape")
    return REQUEST.pack(len(encoded), len(source)) + encoded + source


def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes | None:
    """Send a request and return the answer; None when the child dies, or does not answer in time."""
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin.fileno(), process.stdout.fileno()
    received = bytearray()
    with selectors.DefaultSelector() as selector, suppress(BrokenPipeError):
        selector.register(answers, selectors.EVENT_READ)
        left = memoryview(request)
        with suppress(BlockingIOError):
            left = left[os.write(requests, left) :]
        if left:
            selector.register(requests, selectors.EVENT_WRITE)
        while (patience := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(patience):
                if key.fd == requests:
                    left = left[os.write(requests, left) :]
                    if not left:
                        selector.unregister(requests)
                    continue
                if not (piece := os.read(answers, 1 << 20)):
                    return None
                received += piece
                if (whole := _whole(received)) is not None:
                    return whole
                if len(received) > _MAX_ANSWER_BYTES:
                    return None
    return None


def _whole(received: bytearray) -> bytes | None:
    """Return the answer once it is complete, else None."""
    if len(received) < ANSWER.size:
        return None
    (size,) = ANSWER.unpack_from(received)
    return bytes(received[ANSWER.size :]) if len(received) >= ANSWER.size + size else None


@lru_cache(maxsize=1)
def inspector() -> Inspector:
    """Return this process's inspector."""
    one = Inspector()
    atexit.register(one.close)
    return one
