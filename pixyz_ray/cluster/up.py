"""`pixyz up` and `pixyz down`: start the platform on this machine, in the foreground or detached, and stop it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from pixyz_ray.cluster.driver import Options
from pixyz_ray.cluster.environment import joining_notes
from pixyz_ray.cluster.supervisor import supervise
from pixyz_ray.home import forget_platform, home, read_platform
from pixyz_ray.port import port_problem
from pixyz_ray.private_files import open_private, secure_home
from pixyz_ray.reaper import end_marked, is_supervisor
from pixyz_ray.run_record import read_record, remove_record
from pixyz_ray.setting_sources import Note
from pixyz_ray.settings import Settings, load_settings, read_settings
from pixyz_ray.store_check import store_notes
from pixyz_ray.supervisor_lock import AlreadyRunning, if_free
from pixyz_worker.exception import InternalError, PixyzTimeout

_START_PATIENCE_S = 120.0
_STOP_PATIENCE_S = 20.0
_DOWN_PATIENCE_S = 60.0
_LOOK_EVERY_S = 0.05


def up(
    *,
    detach: bool = False,
    host: str | None = None,
    port: int | None = None,
    dashboard: bool = False,
    address: str | None = None,
    num_cpus: int | None = None,
) -> None:
    """Start the platform on this machine; without `detach` stay until it is stopped.

    Args:
        detach: return when it is up.
        host: address of the HTTP service, over API_HOST.
        port: port of the HTTP service, over API_PORT.
        dashboard: run Ray's dashboard too, which `ray job submit` needs.
        address: Ray cluster to join instead of starting one.
        num_cpus: CPUs offered to tasks, over CONCURRENT_TASKS.

    Raises:
        AlreadyRunning: it is up already.
        InvalidBackendParameter: a setting cannot be used.
        InternalError: it did not start.
    """
    overrides = {key: value for key, value in (("api_host", host), ("api_port", port)) if value is not None}
    reading = read_settings(**overrides)
    settings = reading.checked()
    options = Options(address=address, num_cpus=num_cpus, dashboard=dashboard)
    running = read_platform()
    if running is not None and is_supervisor(running.pid):
        raise AlreadyRunning(f"The platform is up already at {running.url}. Stop it with  pixyz down")
    _check_port(settings)
    notes = [*reading.sources.notes, *store_notes(settings)]
    if address is not None:
        notes += joining_notes(settings, num_cpus)
    for note in (*secure_home(home()), *notes):
        print(note, file=sys.stderr, flush=True)
    if detach:
        _start_detached(overrides, options, notes)
    else:
        supervise(settings, options)


def down() -> None:
    """Stop the platform of this machine. Jobs that run are run again after the next start.

    Raises:
        PixyzTimeout: its supervisor could not be ended.
    """
    folder = home()
    platform = read_platform(folder)
    deadline = time.monotonic() + _DOWN_PATIENCE_S
    was_up = False
    while time.monotonic() < deadline:
        with if_free(folder) as owner:
            if owner is None:
                # With the lock held: neither `pixyz up` nor the replacement of a killed supervisor starts meanwhile.
                left = _clear_up(folder)
                break
        was_up = _end_supervisor(owner) or was_up
    else:
        raise PixyzTimeout(f"The supervisor (process {owner}) could not be ended within {_DOWN_PATIENCE_S:g} s.")
    if was_up:
        print(f"The platform at {platform.url} is stopped." if platform else "The platform is stopped.")
    elif left:
        print(f"The platform was not up; {left} processes that it had left were ended.")
    else:
        print(f"The platform of {folder} is not up.")


def parse_arguments(text: str) -> tuple[Settings, Options]:
    """Return what `_start_detached` passed on the command line of the supervisor."""
    values = json.loads(text)
    return load_settings(**values["overrides"]), Options(**values["options"])


def _end_supervisor(pid: int) -> bool:
    """Stop the supervisor, by force when it does not stop in time; return whether there was one."""
    if not is_supervisor(pid):
        # It is just starting or just ending.
        time.sleep(_LOOK_EVERY_S)
        return False
    process = psutil.Process(pid)
    try:
        process.terminate()
        # A stopped process takes the signal only when it goes on.
        process.resume()
        process.wait(_STOP_PATIENCE_S)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.NoSuchProcess:
        return True
    return True


def _clear_up(folder: Path) -> int:
    """End what is left of any run, and forget it; return the number of processes."""
    sessions = {record.session for record in (read_platform(folder), read_record(folder)) if record is not None}
    forget_platform(folder)
    left = sum(end_marked(session, patience_s=3.0) for session in sessions)
    remove_record(folder)
    return left


def _start_detached(overrides: dict[str, Any], options: Options, notes: Sequence[Note]) -> None:
    log_path = home() / "supervisor.log"
    arguments = json.dumps({"overrides": overrides, "options": asdict(options)})
    command = [sys.executable, "-m", "pixyz_ray.cluster.supervisor", arguments]
    heading = "".join(f"{note}\n" for note in notes).encode()
    with open_private(log_path) as log:
        log.write(heading)
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=dict(os.environ)
        )
    deadline = time.monotonic() + _START_PATIENCE_S
    while time.monotonic() < deadline:
        platform = read_platform()
        if platform is not None and platform.pid == child.pid:
            print(log_path.read_bytes()[len(heading) :].decode(errors="replace"), end="")
            return
        if child.poll() is not None:
            raise InternalError(f"The platform did not start:\n{_tail(log_path)}")
        time.sleep(0.02)
    child.terminate()
    raise PixyzTimeout(f"The platform was not up after {_START_PATIENCE_S:g} s; see {log_path}:\n{_tail(log_path)}")


def _check_port(settings: Settings) -> None:
    """Refuse at once a port that is taken: Serve would try for a minute and then blame something else."""
    problem = port_problem(settings.api_host, settings.api_port)
    if problem is not None:
        raise InternalError(
            f"Port {settings.api_port} on {settings.api_host} cannot be used: {problem}. "
            "Stop what uses it, or choose another with  pixyz up --port PORT  or API_PORT."
        )


def _tail(path: Path, lines: int = 30) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
