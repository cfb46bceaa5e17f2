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

from pixyz_ray.cluster.supervisor import AlreadyRunning, Options, supervise
from pixyz_ray.home import Platform, forget_platform, home, private_folder, read_platform
from pixyz_ray.port import port_problem
from pixyz_ray.reaper import end_marked, is_supervisor
from pixyz_ray.setting_sources import Note
from pixyz_ray.settings import Settings, load_settings, read_settings
from pixyz_ray.store_check import store_notes
from pixyz_worker.exception import InternalError, PixyzTimeout

_START_PATIENCE_S = 120.0
_STOP_PATIENCE_S = 20.0


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
    for note in notes:
        print(note, file=sys.stderr, flush=True)
    if detach:
        _start_detached(overrides, options, notes)
    else:
        supervise(settings, options)


def down() -> None:
    """Stop the platform of this machine. Jobs that run are run again after the next start."""
    platform = read_platform()
    if platform is None or not is_supervisor(platform.pid):
        left = end_marked(platform.session, patience_s=3.0) if platform else 0
        forget_platform()
        print(
            f"The platform was not up; {left} processes that it had left were ended."
            if left
            else "The platform is not up."
        )
        return
    _end_supervisor(platform)
    print(f"The platform at {platform.url} is stopped.")


def parse_arguments(text: str) -> tuple[Settings, Options]:
    """Return what `_start_detached` passed on the command line of the supervisor."""
    values = json.loads(text)
    return load_settings(**values["overrides"]), Options(**values["options"])


def _end_supervisor(platform: Platform) -> None:
    process = psutil.Process(platform.pid)
    process.terminate()
    try:
        process.wait(_STOP_PATIENCE_S)
    except psutil.TimeoutExpired:
        process.kill()
    end_marked(platform.session, patience_s=3.0)
    forget_platform()


def _start_detached(overrides: dict[str, Any], options: Options, notes: Sequence[Note]) -> None:
    log_path = private_folder(home()) / "supervisor.log"
    arguments = json.dumps({"overrides": overrides, "options": asdict(options)})
    command = [sys.executable, "-m", "pixyz_ray.cluster.supervisor", arguments]
    heading = "".join(f"{note}\n" for note in notes).encode()
    with log_path.open("wb", buffering=0) as log:
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
