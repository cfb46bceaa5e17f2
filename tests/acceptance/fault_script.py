"""A job's script that ends badly, or leaves something running, in the way that the params name.

Every process that it starts is told in the log, `started PID`, so that a test can look whether it is gone.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from pixyz_worker.exception import InvalidFile, LicenseUnavailable
from pixyz_worker.script import ProgramContext, chain, pixyz_execute, pixyz_schedule

LONG_S = 60
MIB = 1 << 20
SLEEP = [sys.executable, "-S", "-c", f"import time; time.sleep({LONG_S})"]


def main(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Do what the params name; the second time do nothing, if they say so."""
    if params.get("well_again") and pc["retry"]:
        return "well"
    print("last words", flush=True)
    Path(f"ready-{pc['retry']}").touch()
    return globals()[params["fault"]](pc)


def started(pid: int) -> None:
    """Tell of a process."""
    print(f"started {pid}", flush=True)


def sleep(pc: ProgramContext | None = None) -> None:
    """Take long, and give the interpreter away."""
    time.sleep(LONG_S)


def at_gate(pc: ProgramContext) -> str:
    """Wait until a file is there."""
    deadline = time.monotonic() + LONG_S
    while not Path("gate").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return "well"


def nothing(pc: ProgramContext) -> str:
    """Do nothing."""
    return "well"


# --- Processes that die -----------------------------------------------------------------------------------------------


def segfault(pc: ProgramContext) -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


def abort(pc: ProgramContext) -> None:
    """Give up as native code does."""
    os.abort()


def illegal_instruction(pc: ProgramContext) -> None:
    """Die as of an instruction that there is not."""
    signal.raise_signal(signal.SIGILL)


def floating_point(pc: ProgramContext) -> None:
    """Die as of a division of integers by zero."""
    signal.raise_signal(signal.SIGFPE)


def bus_error(pc: ProgramContext) -> None:
    """Read a page of a file that was cut."""
    with Path("cut").open("wb+") as file:
        file.truncate(mmap.PAGESIZE)
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        print(page[0])


def exit_7(pc: ProgramContext) -> None:
    """Leave, without a word."""
    os._exit(7)


def exit_0(pc: ProgramContext) -> None:
    """Leave, without a word, as if all were well."""
    os._exit(0)


def native_exit(pc: ProgramContext) -> None:
    """Leave as a C library does that gives up."""
    ctypes.CDLL(None).exit(5)


def kill_itself(pc: ProgramContext) -> None:
    """Die of the signal that nobody can catch."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_own_group(pc: ProgramContext) -> None:
    """Kill its own process group, with a child in it."""
    started(subprocess.Popen(SLEEP).pid)
    os.killpg(0, signal.SIGKILL)


def become_sleep(pc: ProgramContext) -> None:
    """Become another program, which goes on."""
    started(os.getpid())
    os.execvp("sleep", ["sleep", str(LONG_S)])


# --- Ends that Python knows -------------------------------------------------------------------------------------------


def sys_exit_3(pc: ProgramContext) -> None:
    """Leave with a code."""
    sys.exit(3)


def sys_exit(pc: ProgramContext) -> None:
    """Leave, done."""
    sys.exit()


def raises(pc: ProgramContext) -> None:
    """Make a mistake."""
    raise ValueError("what went wrong")


class Unpicklable(Exception):
    """Holds what no other process can have, and is made of more than it says."""

    def __init__(self, words: str, lock: Any) -> None:
        super().__init__(words)
        self.lock = lock

    def __reduce__(self) -> NoReturn:
        raise TypeError("not to be pickled")


def unpicklable(pc: ProgramContext) -> None:
    """Raise what cannot be pickled."""
    raise Unpicklable("held by a lock", threading.Lock())


class Unspeakable(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("in __str__")

    __repr__ = __str__


def unspeakable(pc: ProgramContext) -> None:
    """Raise what cannot be shown."""
    raise Unspeakable


def long_message(pc: ProgramContext) -> None:
    """Raise with a message of 50 MB."""
    raise ValueError("x" * 50_000_000)


def long_chain(pc: ProgramContext) -> None:
    """Raise with a traceback of a hundred errors, each some frames deep, no two alike."""

    def deeper(left: int) -> None:
        if left:
            (deeper if left % 2 else lambda less: deeper(less))(left - 1)
        raise KeyError("y" * 1000)

    error: Exception | None = None
    for number in range(100):
        try:
            deeper(number)
        except KeyError as found:
            found.__cause__ = error
            error = found
    raise RuntimeError("at the end of a long traceback") from error


def recursion(pc: ProgramContext) -> Any:
    """Call itself for ever."""
    return recursion(pc)


def interrupted(pc: ProgramContext) -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def generator_exit(pc: ProgramContext) -> None:
    """Raise what is no Exception."""
    raise GeneratorExit


class Own(BaseException):
    """No Exception either."""


def own_base_exception(pc: ProgramContext) -> None:
    """Raise what is no Exception, of its own."""
    raise Own("mine")


def out_of_python_memory(pc: ProgramContext) -> None:
    """Ask for more memory than any machine has."""
    bytearray(1 << 60)


def bad_input(pc: ProgramContext) -> None:
    """Refuse the input."""
    raise InvalidFile("part.step is cut off after 12 bytes")


def no_license(pc: ProgramContext) -> None:
    """Get no licence."""
    raise LicenseUnavailable("all 3 seats of catia are taken.")


def no_room(pc: ProgramContext) -> None:
    """Write to a disk that is full."""
    with Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x" * 4096)


def too_large_a_file(pc: ProgramContext) -> None:
    """Write more into a file than the process may."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    Path(pc.get_output_dir("large")).write_bytes(bytes(2 * MIB))


# --- What is left running ---------------------------------------------------------------------------------------------


def thread_left(pc: ProgramContext) -> str:
    """Leave a thread that goes on."""
    threading.Thread(target=sleep, daemon=True).start()
    return "well"


def child_left(pc: ProgramContext) -> str:
    """Leave a child."""
    started(subprocess.Popen(SLEEP).pid)
    return "well"


def stubborn_child_left(pc: ProgramContext) -> str:
    """Leave a child that does not hear when it is asked to end."""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    child = subprocess.Popen([sys.executable, "-S", "-c", deaf], stdout=subprocess.PIPE)
    started(child.pid)
    assert child.stdout is not None
    child.stdout.readline()
    return "well"


def daemon_left(pc: ProgramContext) -> str:
    """Leave a daemon: nobody's child, in a session of its own."""
    read, write = os.pipe()
    if not os.fork():
        os.setsid()
        if pid := os.fork():
            os.write(write, str(pid).encode())
            os._exit(0)
        os.execv(SLEEP[0], SLEEP)
    started(int(os.read(read, 20)))
    os.wait()
    return "well"


def child_returns(pc: ProgramContext) -> str:
    """Forget that a child comes back from the same call."""
    if child := os.fork():
        started(child)
        os.waitpid(child, 0)
    return "well" if child else "the child's"


def fork_bomb(pc: ProgramContext) -> str:
    """Double five times, and leave all of them: 31 processes that are nobody's but this one's."""
    first = os.getpid()
    for _ in range(5):
        if not os.fork() and os.getpid() != first:
            print(f"started {os.getpid()}", flush=True)
    if os.getpid() != first:
        sleep()
    return "well"


# --- A graph ----------------------------------------------------------------------------------------------------------


@pixyz_schedule(wait=True)
def graph(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Wait for a chain whose first task takes too long."""
    part = pc.clone(entrypoint="main", raw=True, compute_only=True, input_file=None)
    slow = pixyz_execute.s({"fault": "sleep"}, part).set(queue="gpuhigh", time_limit=0.7)
    return chain(slow, pixyz_execute.s(pc=part))()
