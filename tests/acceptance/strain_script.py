"""A job's script that strains or spoils its process, machine or folder in the way that the params name; and a probe.

Every process that it starts is told in the log, `started PID`, so that a test can look whether it is gone.
"""

from __future__ import annotations

import builtins
import json
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

from pixyz_worker.script import ProgramContext

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


# --- The next job on the machine --------------------------------------------------------------------------------------

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
        "builtins": [name for name, value in vars(builtins).items() if "_refuse" in repr(value)],
    }
    return {"pid": os.getpid(), "found": found}


# --- Much of something ------------------------------------------------------------------------------------------------


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


# --- What does not end ------------------------------------------------------------------------------------------------


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


# --- Folders and files that go ----------------------------------------------------------------------------------------


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


# --- What is done to the process --------------------------------------------------------------------------------------


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
