"""The table of faults: how each is caused, and what it must come to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.rest_client import RestClient
from tests.waiting import wait_until

MIB = 1 << 20
DEADLINE_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A row's job while it runs, for those that act on it from outside."""

    rest: RestClient
    uuid: str
    folder: Path

    def worker(self) -> int:
        """Return the process that runs the script, once it is there."""

        def found() -> int | None:
            attempts = self.rest.details(self.uuid)["attempts"]
            return attempts[-1]["pid"] if attempts else None

        wait_until((self.folder / "ready-0").exists, "the script has begun", deadline_s=DEADLINE_S)
        return wait_until(found, "its worker is known") or 0


def cancel(run: Run) -> None:
    """Have it cancelled."""
    run.worker()
    assert run.rest.http.post(f"/jobs/{run.uuid}/cancel").status_code == 200


def send(number: int) -> Callable[[Run], None]:
    """Return an act that sends a signal to the worker."""
    return lambda run: os.kill(run.worker(), number)


def kill_watchdog(run: Run) -> None:
    """Kill the watchdog of the worker, then let the job go on."""
    worker = run.worker()
    (watchdog,) = [process for process in psutil.process_iter() if watches(process, worker)]
    watchdog.kill()
    wait_until(lambda: not watchdog.is_running(), "the watchdog is dead")
    (run.folder / "gate").touch()


def watches(process: psutil.Process, worker: int) -> bool:
    """Return whether a process is the watchdog of a worker."""
    with suppress(psutil.Error):
        words = process.cmdline()
        return "pixyz_ray.watchdog.watchdog" in " ".join(words) and str(worker) in words
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A row of the table."""

    fault: str = ""
    """Function of the script that causes it; the row's own name when empty."""
    entrypoint: str = "main"
    """Another entrypoint than the one that calls that function."""
    config: dict[str, Any] = field(default_factory=dict)
    """What is asked for beside that."""
    well_again: bool = False
    """Whether the second attempt does nothing."""
    before: str = ""
    """What is removed of the job's folder before it begins."""
    act: Callable[[Run], None] | None = None
    """What is done from outside while it runs."""
    state: str = "FAILURE"
    """The job's end."""
    classes: tuple[str | None, ...] = ()
    """Failure class of each attempt; so also how often it is tried."""
    queues: tuple[str, ...] = ("cpu", "gpuhigh")
    """Where it is tried first, and next."""
    error: str = ""
    """Pattern of the last attempt's error."""
    signal: int | None = None
    """Signal that kills the process of each attempt that failed."""
    exit_code: int | None = None
    """Code that the process of each attempt leaves with."""
    log: str = "last words"
    """Pattern in the last lines of the log, as an attempt that failed keeps them."""
    result: Any = "well"
    """What a job that succeeds returns."""
    files: int = 0
    """Number of its outputs."""
    dies: bool = False
    """Whether the worker of the last attempt must be gone after it."""


OK: dict[str, Any] = {"state": "SUCCESS", "classes": (None,)}
TIMES_OUT: dict[str, Any] = {
    "config": {"time_limit": 0.7, "retries": 0},
    "classes": ("timeout",),
    "error": r"time limit of 0\.7 s.*time_limit",
    "dies": True,
}
CANCELLED: dict[str, Any] = {
    "state": "REVOKED",
    "act": cancel,
    "classes": ("cancelled",),
    "log": "",
    "dies": True,
}
CRASHED: dict[str, Any] = {"classes": ("crash", "crash"), "dies": True}
HOG: dict[str, Any] = {"config": {"memory_limit": 256 * MIB}, "dies": True, "error": r"memory limit of \d+ MiB"}


def crash(number: signal.Signals, log: str) -> Fault:
    """Return the row of a signal that the process itself causes."""
    return Fault(**CRASHED, error=rf"signal {int(number)} \({number.name}\)", signal=int(number), log=log)


def mistake(error: str, **more: Any) -> Fault:
    """Return the row of what is the script's own mistake: tried once."""
    return Fault(**{"classes": ("user_error",), "error": error, **more})


FAULTS: dict[str, Fault] = {
    # Processes that die.
    "segfault": crash(signal.SIGSEGV, "Segmentation fault"),
    "abort": crash(signal.SIGABRT, "Aborted"),
    "illegal_instruction": crash(signal.SIGILL, "Illegal instruction"),
    "floating_point": crash(signal.SIGFPE, "Floating point exception"),
    "bus_error": crash(signal.SIGBUS, "Bus error"),
    "exit_7": Fault(classes=("exit",), error="exit code 7 in the middle of the script", exit_code=7, dies=True),
    "exit_0": Fault(classes=("exit",), error="exit code 0 in the middle of the script", exit_code=0, dies=True),
    "native_exit": Fault(classes=("exit",), error="exit code 5 in the middle of the script", exit_code=5, dies=True),
    "kill_itself": Fault(**CRASHED, error=r"signal 9 \(SIGKILL\)", signal=9),
    "kill_own_group": Fault(**CRASHED, error=r"signal 9 \(SIGKILL\)", signal=9),
    "become_sleep": Fault(**CRASHED, error="PixyzSignalFault|ended abruptly"),
    "killed from outside": Fault(
        fault="sleep", act=send(signal.SIGKILL), well_again=True, state="SUCCESS", classes=("crash", None), signal=9
    ),
    "terminated from outside": Fault(
        fault="sleep", act=send(signal.SIGTERM), well_again=True, state="SUCCESS", classes=("crash", None), log=""
    ),
    "frozen from outside": Fault(
        fault="sleep",
        act=send(signal.SIGSTOP),
        well_again=True,
        config={"time_limit": 1.5},
        state="SUCCESS",
        classes=("timeout", None),
    ),
    "watchdog killed": Fault(fault="at_gate", act=kill_watchdog, **OK),
    # Ends that Python knows.
    "sys_exit_3": Fault(classes=("exit",), error=r"exit code 3 \(sys\.exit\)", exit_code=3),
    "sys_exit": Fault(**OK, result=None),
    "raises": mistake("ValueError: what went wrong"),
    "unpicklable": mistake("Unpicklable: held by a lock"),
    "unspeakable": mistake("Unspeakable: .*cannot be shown", log="Unspeakable"),
    "long_message": mistake("ValueError: xxxx", log="xxxx"),
    "long_chain": mistake("RuntimeError: at the end of a long traceback", log="at the end of a long traceback"),
    "recursion": mistake("RecursionError: maximum recursion depth", log="RecursionError"),
    "interrupted": mistake("KeyboardInterrupt"),
    "generator_exit": mistake("GeneratorExit"),
    "own_base_exception": mistake("Own: mine"),
    "out_of_python_memory": mistake("MemoryError"),
    "bad_input": Fault(classes=("bad_input",), error="input cannot be used: part.step is cut off after 12 bytes"),
    "no_license": Fault(classes=("license",), error="no licence: all 3 seats", config={"retries": 0}),
    "no_room": Fault(classes=("internal",), error="no room for the job's files: .*No space left"),
    "too_large_a_file": mistake("File too large", files=1),
    # What is left running.
    "thread_left": Fault(**OK, dies=True),
    "child_left": Fault(**OK),
    "stubborn_child_left": Fault(**OK),
    "daemon_left": Fault(**OK),
    "fork_bomb": Fault(**OK),
    "child_returns": Fault(**OK),
    # Much of something.
    "stdout_flood": Fault(**OK),
    "child_flood": Fault(**OK),
    "many_files": Fault(**OK, files=10_000),
    "large_result": mistake("larger than the .* bytes .*Write it to a file"),
    "not_json": mistake(r"result\['parts'\]\[1\].*set"),
    "not_a_number": mistake("nan"),
    "memory_hog": Fault(**HOG, classes=("out_of_memory", "out_of_memory")),
    "modest_hog": Fault(**HOG | {"error": ""}, state="SUCCESS", classes=("out_of_memory", None)),
    "children_hog": Fault(**HOG | {"config": {"memory_limit": 256 * MIB, "retries": 0}}, classes=("out_of_memory",)),
    # What does not end.
    "python_loop": Fault(**TIMES_OUT),
    "c_loop": Fault(**TIMES_OUT),
    "sleeping_child": Fault(
        **TIMES_OUT | {"config": {"time_limit": 0.7, "queue": "control"}, "classes": ("timeout", "timeout")},
        queues=("control", "control"),
    ),
    "blocked_sigterm": Fault(**TIMES_OUT),
    "ignored_sigterm": Fault(**TIMES_OUT),
    "swallowed_sigterm": Fault(**TIMES_OUT),
    "frozen_child": Fault(**TIMES_OUT),
    "python_loop cancelled": Fault(fault="python_loop", **CANCELLED),
    "c_loop cancelled": Fault(fault="c_loop", **CANCELLED),
    "sleeping_child cancelled": Fault(fault="sleeping_child", **CANCELLED),
    "blocked_sigterm cancelled": Fault(fault="blocked_sigterm", **CANCELLED),
    "ignored_sigterm cancelled": Fault(fault="ignored_sigterm", **CANCELLED),
    "swallowed_sigterm cancelled": Fault(fault="swallowed_sigterm", **CANCELLED),
    "frozen_child cancelled": Fault(fault="frozen_child", **CANCELLED),
    "a graph's task that takes too long": Fault(
        entrypoint="graph",
        classes=("dependency_failed",),
        queues=("control",),
        error="Not run, because task .* failed: PixyzTimeout",
        log="",
    ),
    # Folders and files that go.
    "script removed before it runs": Fault(
        fault="nothing",
        before="script/job.py",
        classes=("internal",),
        queues=("control",),
        error="script is not on the share",
        log="",
    ),
    "no_script": Fault(**OK),
    "no_outputs": Fault(**OK),
    "no_job_folder": Fault(**OK),
    "no_current_folder": Fault(**OK),
    # What is done to the process.
    "close_standard": Fault(**OK),
    "close_everything": Fault(well_again=True, state="SUCCESS", classes=("crash", None), log="", error="", dies=False),
    "clear_environment": Fault(**OK),
    "wipe_modules": Fault(**OK),
    "break_builtins": mistake("replaced by a script", log=""),
    "break_libraries": Fault(**OK),
    "break_and_fail": mistake("ValueError: what went wrong"),
    "change_handlers": Fault(**OK),
    "change_umask": Fault(**OK),
    "lower_limits": Fault(**OK),
    "lower_limits_for_good": Fault(**OK),
    "change_interpreter": Fault(**OK),
}
