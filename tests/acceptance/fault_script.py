"""A job's script: one entrypoint, which does to its process, machine and folder what the params name; and a probe.

Every process that it starts is told in the log, `started PID`, so that a test can look whether it is gone.
"""

from __future__ import annotations

import builtins
import ctypes
import json
import mmap
import os
import resource
import shutil
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


# --- The next job on the machine -------------------------------------------------------------------------------------

_SIGNALS = sorted(set(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33})
_LIMITS = sorted(number for name, number in vars(resource).items() if name.startswith("RLIMIT_"))


def probe(pc: ProgramContext, params: Any) -> dict[str, Any]:
    """Tell what a job finds in its process: the same, whatever ran there before."""
    mask = os.umask(0)
    os.umask(mask)
    Path(pc.get_output_dir("written.txt")).write_text("written")
    subprocess.run(["true"], check=True)
    for name in ("csv", "colorsys"):
        __import__(name)
    print("out")
    print("err", file=sys.stderr)
    found = {
        "environment": sorted(set(os.environ) - {"PIXYZ_ATTEMPT"}),
        "umask": mask,
        "limits": [resource.getrlimit(number) for number in _LIMITS],
        "handlers": [repr(signal.getsignal(number)).partition(" at 0x")[0] for number in _SIGNALS],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "folder": Path.cwd() == Path(pc.get_output_dir()).parent,
        "arguments": len(sys.argv),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "recursion": sys.getrecursionlimit(),
        "hooks": [sys.gettrace(), sys.getprofile()],
        "builtins": [name for name, value in vars(builtins).items() if "fault_script" in repr(value)],
    }
    return {"pid": os.getpid(), "found": found}


# --- Processes that die ----------------------------------------------------------------------------------------------


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


def become_true(pc: ProgramContext) -> None:
    """Become another program, which ends at once."""
    os.execvp("true", ["true"])


def become_sleep(pc: ProgramContext) -> None:
    """Become another program, which goes on."""
    started(os.getpid())
    os.execvp("sleep", ["sleep", str(LONG_S)])


# --- Ends that Python knows ------------------------------------------------------------------------------------------


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


# --- What is left running --------------------------------------------------------------------------------------------


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


def fork_bomb(pc: ProgramContext) -> str:
    """Double five times, and leave all of them: 31 processes that are nobody's but this one's."""
    first = os.getpid()
    for _ in range(5):
        if not os.fork() and os.getpid() != first:
            print(f"started {os.getpid()}", flush=True)
    if os.getpid() != first:
        sleep()
    return "well"


# --- Much of something -----------------------------------------------------------------------------------------------


def stdout_flood(pc: ProgramContext) -> str:
    """Print 1 GiB."""
    piece = b"a line of sixteen" * (MIB // 17)
    for _ in range((1 << 30) // len(piece) + 1):
        sys.stdout.buffer.write(piece)
    return "well"


def child_flood(pc: ProgramContext) -> str:
    """Have a child print 256 MiB."""
    flood = f"import sys\nfor _ in range(256): sys.stderr.buffer.write(b'x' * {MIB})"
    subprocess.run([sys.executable, "-S", "-c", flood], check=True)
    return "well"


def many_files(pc: ProgramContext) -> str:
    """Leave 10,000 files."""
    for number in range(10_000):
        Path(pc.get_output_dir(f"{number:05}.txt")).touch()
    return "well"


def large_result(pc: ProgramContext) -> str:
    """Return 100 MB."""
    return "x" * 100_000_000


def not_json(pc: ProgramContext) -> Any:
    """Return what JSON does not know."""
    return {"parts": [1, {2}]}


def not_a_number(pc: ProgramContext) -> float:
    """Return what JSON does not know, though Python writes it."""
    return float("nan")


def _grow(most: int) -> None:
    held = []
    for _ in range(most // (8 * MIB)):
        held.append(bytearray(8 * MIB))
        time.sleep(0.005)
    sleep()


def memory_hog(pc: ProgramContext) -> None:
    """Take more and more memory."""
    _grow(1024 * MIB)


def modest_hog(pc: ProgramContext) -> str:
    """Take more memory than a small limit allows, and less than a large one."""
    held = bytearray(400 * MIB)
    time.sleep(0.5)
    return "well" if held else ""


def children_hog(pc: ProgramContext) -> None:
    """Have child processes take the memory, none of them too much."""
    for _ in range(4):
        child = os.fork()
        if not child:
            _grow(120 * MIB)
        started(child)
    sleep()


# --- What does not end -----------------------------------------------------------------------------------------------


def python_loop(pc: ProgramContext) -> None:
    """Compute for ever."""
    while True:
        pass


def c_loop(pc: ProgramContext) -> None:
    """Compute for ever in C, and never give the interpreter away."""
    sum(range(10**15))


def sleeping_child(pc: ProgramContext) -> None:
    """Wait for a child that sleeps."""
    child = subprocess.Popen(SLEEP)
    started(child.pid)
    child.wait()


def blocked_sigterm(pc: ProgramContext) -> None:
    """Let no signal through."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    sleeping_child(pc)


def ignored_sigterm(pc: ProgramContext) -> None:
    """Ignore whoever asks it to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeping_child(pc)


def swallowed_sigterm(pc: ProgramContext) -> None:
    """Catch all that is raised, and go on."""
    while True:
        try:
            sleep()
        except BaseException as error:
            print("went on after", type(error).__name__, flush=True)


def frozen_child(pc: ProgramContext) -> None:
    """Wait for a child that is stopped."""
    child = subprocess.Popen(SLEEP)
    started(child.pid)
    child.send_signal(signal.SIGSTOP)
    child.wait()


# --- Folders and files that go ---------------------------------------------------------------------------------------


def no_outputs(pc: ProgramContext) -> str:
    """Remove the folder of the outputs."""
    shutil.rmtree(pc.get_output_dir())
    return "well"


def no_script(pc: ProgramContext) -> str:
    """Remove its own script."""
    Path(pc["script"]).unlink()
    return "well"


def no_job_folder(pc: ProgramContext) -> str:
    """Remove the whole folder of the job."""
    shutil.rmtree(Path(pc.get_output_dir()).parent)
    return "well"


def no_current_folder(pc: ProgramContext) -> str:
    """Go to a folder, and remove it."""
    folder = Path(pc.get_output_dir("gone"))
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    return "well"


# --- What is done to the process -------------------------------------------------------------------------------------


def close_standard(pc: ProgramContext) -> str:
    """Close standard input, output and error."""
    os.closerange(0, 3)
    return "well"


def close_everything(pc: ProgramContext) -> str:
    """Close every file and every connection of the process."""
    os.closerange(0, 65536)
    return "well"


def clear_environment(pc: ProgramContext) -> str:
    """Forget all variables."""
    os.environ.clear()
    return "well"


def wipe_modules(pc: ProgramContext) -> str:
    """Forget all modules."""
    sys.modules.clear()
    return "well"


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("replaced by a script")


def break_builtins(pc: ProgramContext) -> str:
    """Replace what everybody uses."""
    for name in ("open", "print", "isinstance", "len", "str", "__import__"):
        setattr(builtins, name, _refuse)
    return "well"


def break_libraries(pc: ProgramContext) -> str:
    """Replace functions of the standard library."""
    json.dumps = json.loads = _refuse
    os.write = os.getcwd = os.chdir = os.stat = time.time = time.monotonic = _refuse  # type: ignore[assignment]
    sys.exit = threading.Lock = _refuse  # type: ignore[assignment, misc]
    return "well"


def break_and_fail(pc: ProgramContext) -> None:
    """Replace what everybody uses, then make a mistake."""
    break_builtins(pc)
    break_libraries(pc)
    raise ValueError("what went wrong")


def change_handlers(pc: ProgramContext) -> str:
    """Change what signals do, block some, and set an alarm."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, sleep)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    return "well"


def change_umask(pc: ProgramContext) -> str:
    """Let nobody read what is written from now on."""
    os.umask(0o777)
    return "well"


def lower_limits(pc: ProgramContext) -> str:
    """Leave the process hardly a file that it may open."""
    for number, most in ((resource.RLIMIT_NOFILE, 10), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(number, (most, resource.getrlimit(number)[1]))
    return "well"


def lower_limits_for_good(pc: ProgramContext) -> str:
    """The same, so that the process itself cannot take it back."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))
    return "well"


def change_interpreter(pc: ProgramContext) -> str:
    """Change how Python runs: its depth, its hooks, its warnings, its priority."""
    sys.setrecursionlimit(150)
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)
    os.nice(5)
    return "well"


# --- A graph ---------------------------------------------------------------------------------------------------------


@pixyz_schedule(wait=True)
def graph(pc: ProgramContext, params: dict[str, Any]) -> Any:
    """Wait for a chain whose first task takes too long."""
    part = pc.clone(entrypoint="main", raw=True, compute_only=True, input_file=None)
    slow = pixyz_execute.s({"fault": "sleeping_child"}, part).set(queue="gpuhigh", time_limit=0.7)
    return chain(slow, pixyz_execute.s(pc=part.clone(entrypoint="probe")))()
