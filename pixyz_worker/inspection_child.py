"""Child process that inspects scripts (see loader.py) within limits of time and memory.

A script of a few megabytes can take gigabytes and many seconds to parse, and may crash the parser, which must not
happen in the service or the tracker. Plain literals cross the pipes (marshal): nothing is executed at either end.

    parent -> struct(name bytes, source bytes), name, source
    child  -> struct(answer bytes), marshal of ("ok", ...) or ("invalid", message, line, column) or ("memory",)

It imports only the standard library, and exits with its parent.
"""

from __future__ import annotations

import gc
import marshal
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from pixyz_worker.exception import InvalidScript
from pixyz_worker.loader import Schedule, ScriptInfo, inspect_source

REQUEST = struct.Struct(">II")
ANSWER = struct.Struct(">I")
Answer = tuple[Any, ...]


def main(max_seconds: int, max_bytes: int) -> None:
    """Answer requests until the parent closes the pipe.

    Args:
        max_seconds: CPU time for one script.
        max_bytes: memory that this process may take beyond what it has at its start.
    """
    # Syntax trees have no cycles: the collector would scan millions of objects in vain.
    gc.disable()
    _limit_memory(max_bytes)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        name, source = (requests.read(size) for size in REQUEST.unpack(head))
        _limit_time(max_seconds)
        answer = marshal.dumps(_inspect(source, name.decode("utf-8", "surrogateescape"), max_bytes))
        _send(answers, answer)


def _send(answers: BinaryIO, answer: bytes) -> None:
    answers.write(ANSWER.pack(len(answer)) + answer)
    answers.flush()


def _inspect(source: bytes, name: str, max_bytes: int) -> Answer:
    try:
        return encode(inspect_source(source, name))
    except InvalidScript as error:
        # The parser raises MemoryError for a stack overflow too, without using much memory.
        if isinstance(error.__context__, MemoryError) and _peak_bytes() > max_bytes // 2:
            return ("memory",)
        return "invalid", str(error), error.line, error.column
    except MemoryError:
        return ("memory",)
    except Exception as error:
        return "invalid", f"{name}: it cannot be read: {type(error).__name__}: {error}", None, None


def encode(info: ScriptInfo) -> Answer:
    """Return what a script declares as plain literals."""
    schedules = [
        (name, one.queue, one.wait, one.timeout, one.time_limit, dict(one.options))
        for name, one in info.schedules.items()
    ]
    return "ok", info.entrypoints, schedules, info.doc


def decode(entrypoints: Sequence[str], schedules: Sequence[Any], doc: str | None) -> ScriptInfo:
    """Return what a script declares from the literals after "ok"."""
    made = {
        name: Schedule(queue=queue, wait=wait, timeout=timeout, time_limit=time_limit, options=options)
        for name, queue, wait, timeout, time_limit, options in schedules
    }
    return ScriptInfo(entrypoints=tuple(entrypoints), schedules=made, doc=doc)


def _limit_memory(max_bytes: int) -> None:
    # Windows has no such limits, and macOS does not enforce them; the parent's time limit works everywhere.
    with suppress(ImportError, ValueError, OSError):
        import resource

        with Path("/proc/self/statm").open(encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + max_bytes, hard))


def _limit_time(max_seconds: int) -> None:
    """Limit the CPU time from now on, since the parent may have died and cannot kill this process."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + max_seconds + 1, hard))


def _peak_bytes() -> int:
    with suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0
