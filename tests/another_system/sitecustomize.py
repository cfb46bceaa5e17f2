"""Makes this Python look like that of Windows or of macOS to the SDK, and to nothing else; see test_portability.py.

In a process that has this folder on PYTHONPATH, and "win32" or "darwin" in PIXYZ_TEST_SYSTEM, modules of the SDK and
the processes find no function, constant or module that only other systems have; sys.platform is the system's. On
"win32" a file that is open or mapped cannot be replaced, moved or removed, nor anything moved onto something that is
there, by anybody. Nobody reads /proc. What cannot be had this way (job objects, drive letters, the real file system)
is left to the workflow `workstations`, which runs the tests on those systems.
"""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import warnings
from types import ModuleType
from typing import Any

SYSTEM = os.environ.get("PIXYZ_TEST_SYSTEM", "")
OURS = ("pixyz_worker", "processes")

LINUX_ONLY = {
    "os": "memfd_create sched_getaffinity sched_setaffinity sched_setscheduler pidfd_open waitid P_PID P_PIDFD WEXITED "
    "WNOWAIT pipe2 splice eventfd posix_fadvise posix_fallocate copy_file_range setxattr getxattr getrandom O_TMPFILE "
    "O_PATH O_DIRECT unshare setns",
    "signal": "sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT",
}
POSIX_ONLY = {
    "os": "fork forkpty getuid geteuid getgid getegid getgroups setuid setgid setsid getsid getpgid getpgrp setpgid "
    "killpg wait wait3 wait4 WNOHANG mkfifo mknod chown lchown fchown fchmod chroot uname getloadavg sysconf statvfs "
    "fstatvfs set_blocking get_blocking posix_spawn register_at_fork sendfile pread pwrite readv writev sync nice "
    "fdatasync O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK openpty ttyname ctermid confstr WIFEXITED WTERMSIG",
    "signal": "SIGKILL SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGQUIT SIGSTOP SIGCONT SIGTERM_ SIGPIPE pthread_kill "
    "pthread_sigmask alarm setitimer sigwait sigpending siginterrupt",
}
POSIX_MODULES = ("fcntl", "resource", "termios", "tty", "pty", "pwd", "grp", "syslog", "select", "selectors", "posix")
POSIX_ARGUMENTS = ("start_new_session", "process_group", "pass_fds", "preexec_fn", "umask", "user", "group")


class Seen(ModuleType):
    """A module as another system has it: some names are missing, some others are different."""

    def __init__(self, module: Any, missing: str = "", **different: Any) -> None:
        super().__init__(module.__name__)
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_missing", frozenset(missing.split()))
        for name, value in different.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "_missing"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on {SYSTEM}", name=name)
        return getattr(object.__getattribute__(self, "_module"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_module"), name, value)


class WindowsPopen(subprocess.Popen):  # type: ignore[type-arg]
    """Starts processes as Windows lets one."""

    def __init__(self, *args: Any, creationflags: int = 0, **options: Any) -> None:
        if foreign := [name for name in POSIX_ARGUMENTS if name in options]:
            raise ValueError(f"{', '.join(foreign)} is not supported on Windows platforms")
        super().__init__(*args, **options)


def see(system: str) -> None:
    """From now on the SDK is on such a system."""
    windows = system == "win32"
    lost = {name: LINUX_ONLY[name] + (" " + POSIX_ONLY[name] if windows else "") for name in LINUX_ONLY}
    seen: dict[str, ModuleType] = {
        "sys": Seen(sys, platform=system),
        "os": Seen(os, lost["os"], name="nt" if windows else "posix"),
        "signal": Seen(signal, lost["signal"]),
    }
    if windows:
        seen["subprocess"] = Seen(subprocess, Popen=WindowsPopen)
    hidden = POSIX_MODULES if windows else ()
    found = builtins.__import__

    def imported(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        top = name.partition(".")[0]
        if level == 0 and is_ours(globals):
            if top in hidden:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if top in seen and (name == top or not fromlist):
                found(name, globals, locals, fromlist, level)
                return seen[top]
        return found(name, globals, locals, fromlist, level)

    builtins.__import__ = imported
    sys.addaudithook(refuse_proc)
    if windows:
        hold_open_files()


def is_ours(importer: Any) -> bool:
    """Whether what imports something is the SDK's."""
    spec = (importer or {}).get("__spec__")
    name = spec.name if spec is not None else (importer or {}).get("__name__", "")
    return str(name).partition(".")[0] in OURS


looking = False


def refuse_proc(event: str, args: tuple[Any, ...]) -> None:
    """Nothing is read below /proc."""
    if event == "open" and isinstance(args[0], str) and args[0].startswith("/proc/") and not looking:
        raise FileNotFoundError(2, "there is no /proc here", args[0])


def hold_open_files() -> None:
    """Files that this process has open or mapped stay where they are; nothing is renamed onto something."""
    rename = os.rename

    def renamed(source: Any, target: Any, **options: Any) -> None:
        if os.path.lexists(target):
            raise FileExistsError(17, "[WinError 183] Cannot create a file when that file already exists", str(target))
        rename(source, target, **options)

    os.rename = renamed  # type: ignore[assignment]

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.remove"):
            for path in args[: 2 if event == "os.rename" else 1]:
                if isinstance(path, str | os.PathLike) and os.path.realpath(path) in held(os.path.realpath(path)):
                    raise PermissionError(13, "[WinError 32] it is being used by another process", str(path))

    sys.addaudithook(refuse)


def held(path: str) -> set[str]:
    """The files that are open or mapped at, or below, a path; of a folder, the folder too."""
    global looking
    looking = True
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:  # noqa: PTH123
            files = {line.split(maxsplit=5)[5].rstrip("\n") for line in maps if len(line.split(maxsplit=5)) == 6}
        for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
            try:
                files.add(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
            except OSError:
                continue
    finally:
        looking = False
    inside = {file for file in files if file == path or file.startswith(path + os.sep)}
    return inside | {path} if inside else inside


if SYSTEM:
    see(SYSTEM)
    warnings.filterwarnings("error", category=EncodingWarning, module="pixyz_worker|processes")
