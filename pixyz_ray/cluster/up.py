"""`pixyz up` and `pixyz down`: start the platform from this machine, in the foreground or detached, and stop it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

import psutil

from pixyz_ray.cluster.driver_order import DRAIN_S, Options
from pixyz_ray.cluster.environment import joining_notes
from pixyz_ray.cluster.ray_access import access_mode, cluster_address, other_ray_notes
from pixyz_ray.cluster.supervisor import supervise
from pixyz_ray.cluster.teardown import NOTHING_THERE
from pixyz_ray.home import Platform, forget_platform, home, read_platform
from pixyz_ray.port import port_problem
from pixyz_ray.private_files import open_private, secure_home
from pixyz_ray.reaper import end_marked, has_ended, is_supervisor
from pixyz_ray.run_record import Progress, read_record, remove_record
from pixyz_ray.setting_reading import Reading
from pixyz_ray.setting_sources import Note
from pixyz_ray.settings import Settings, load_settings, read_settings
from pixyz_ray.stop_request import StopRequest, write_stop_request
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
    insecure: bool = False,
    replace: bool = False,
    drain_s: float = DRAIN_S,
    before_replacing: Callable[[Reading], None] | None = None,
) -> None:
    """Start the platform; without `detach` stay until it is stopped.

    With `replace`, options that are not given are those of the platform that is up.

    Args:
        detach: return when it is up.
        host: address of the HTTP service, over API_HOST.
        port: port of the HTTP service, over API_PORT.
        dashboard: run Ray's dashboard too, which `ray job submit` needs.
        address: Ray cluster to join instead of starting one.
        num_cpus: CPUs offered to tasks, over CONCURRENT_TASKS.
        insecure: join a cluster that asks nobody for a token.
        replace: take the place of a platform that is up.
        drain_s: seconds that running attempts are given before they are replaced.
        before_replacing: told the settings that were read, before the platform that is up is replaced.

    Raises:
        AlreadyRunning: it is up already, and is not to be replaced.
        InvalidBackendParameter: a setting cannot be used.
        PixyzSecurityViolation: the cluster asks nobody for a token, or does not take the operator's.
        InternalError: it did not start.
    """
    running = _running_platform()
    replaced = running if replace else None
    before = (replaced.options or {}) if replaced is not None else {}
    if replaced is not None and address is None:
        address = replaced.cluster
    host, port = before.get("host") if host is None else host, before.get("port") if port is None else port
    overrides = {key: value for key, value in (("api_host", host), ("api_port", port)) if value is not None}
    reading = read_settings(**overrides)
    settings = reading.checked()
    options = Options(
        address=address,
        num_cpus=num_cpus or before.get("num_cpus"),
        dashboard=dashboard or bool(before.get("dashboard")),
        insecure=insecure or bool(before.get("insecure")),
        replace=replace,
        drain_s=drain_s,
    )
    if address is not None:
        # Before the platform that is up leaves: one that cannot join must not have cost it its supervisor.
        access_mode(cluster_address(address), insecure=options.insecure)
    if replaced is not None and before_replacing is not None:
        before_replacing(reading)
    if running is not None:
        _take_place(running, options)
    if address is None:
        _check_port(settings)
    notes = [*reading.sources.notes, *store_notes(settings)]
    notes += other_ray_notes() if address is None else joining_notes(settings, num_cpus)
    for note in (*secure_home(home()), *notes):
        print(note, file=sys.stderr, flush=True)
    if detach:
        _start_detached(overrides, options, notes)
    else:
        supervise(settings, options)


def _running_platform() -> Platform | None:
    """Return the platform of this home, if it is up."""
    running = read_platform()
    return running if running is not None and is_supervisor(running.pid) else None


def _take_place(running: Platform, options: Options) -> None:
    """End the supervisor of this home, if it is to be replaced.

    Raises:
        AlreadyRunning: it is not to be replaced.
    """
    if not options.replace:
        raise AlreadyRunning(
            f"The platform is up already at {running.url}. Stop it with  pixyz down  or take its place, with its "
            "jobs, with  pixyz up --replace"
        )
    _make_way(running, options)


def down(*, address: str | None = None, drain_s: float = 0.0) -> None:
    """Stop the platform of this machine, and what it has started on a cluster. Jobs go on after the next start.

    Args:
        address: Ray cluster whose platform is stopped, where this machine's home knows of none.
        drain_s: seconds that running attempts are given to end; what still runs then is run again.

    Raises:
        PixyzTimeout: its supervisor could not be ended.
        InternalError: what it has started on a cluster could not be stopped.
    """
    folder = home()
    platform = read_platform(folder)
    was_up = _end_owner(folder, StopRequest(drain_s=drain_s))
    with if_free(folder) as owner:
        # With the lock held: neither `pixyz up` nor the replacement of a killed supervisor starts meanwhile.
        left = _clear_up(folder) if owner is None else 0
        # A supervisor that has ended in order has removed its file.
        was_up = _stop_left_behind(address, drain_s, read_platform(folder)) or was_up
        forget_platform(folder)
    if was_up:
        print(f"The platform at {platform.url} is stopped." if platform else "The platform is stopped.")
    elif left:
        print(f"The platform was not up; {left} processes that it had left were ended.")
    else:
        print(f"The platform of {folder} is not up.")


def _stop_left_behind(address: str | None, drain_s: float, left_by: Platform | None) -> bool:
    """Stop what a platform has left on a cluster; return whether there was something.

    Args:
        address: cluster that the operator names.
        drain_s: seconds for running attempts.
        left_by: what the home says of the platform that has not ended in order.
    """
    known = left_by.cluster if left_by is not None else None
    cluster = known or address
    if cluster is None:
        return False
    return _stop_on_cluster(cluster, owns_serve=left_by is not None and left_by.owns_serve, drain_s=drain_s)


def _end_owner(folder: Path, request: StopRequest) -> bool:
    """End whoever has the lock of a home; return whether it was a supervisor.

    Raises:
        PixyzTimeout: it could not be ended.
    """
    was_up = False
    deadline = time.monotonic() + _DOWN_PATIENCE_S + request.drain_s
    while time.monotonic() < deadline:
        with if_free(folder) as owner:
            if owner is None:
                return was_up
        was_up = _end_supervisor(owner, folder, request) or was_up
    raise PixyzTimeout(f"The supervisor (process {owner}) could not be ended in time.")


def _make_way(running: Platform, options: Options) -> None:
    """End the supervisor of this home for another one; what it has started on a cluster stays, and is taken over."""
    leave = running.cluster is not None and options.address is not None
    print(f"Taking the place of the platform at {running.url}", flush=True)
    _end_owner(home(), StopRequest(leave=leave, drain_s=0.0 if leave else options.drain_s, upgrade=True))


def _stop_on_cluster(cluster: str, *, owns_serve: bool, drain_s: float) -> bool:
    """Stop what a platform without a driver has left on a cluster; return whether there was something.

    Raises:
        InternalError: it could not be stopped.
    """
    given = json.dumps({"address": cluster, "owns_serve": owns_serve, "drain_s": drain_s})
    command = [sys.executable, "-m", "pixyz_ray.cluster.teardown", given]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=_DOWN_PATIENCE_S + drain_s
        )
    except subprocess.TimeoutExpired as error:
        raise InternalError(f"The platform on Ray at {cluster} could not be stopped: Ray does not answer.") from error
    if done.returncode not in (0, NOTHING_THERE):
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise InternalError(f"The platform on Ray at {cluster} could not be stopped: {reason[0]}")
    return done.returncode == 0


def parse_arguments(text: str) -> tuple[Settings, Options]:
    """Return what `_start_detached` passed on the command line of the supervisor."""
    values = json.loads(text)
    return load_settings(**values["overrides"]), Options(**values["options"])


def _end_supervisor(pid: int, folder: Path, request: StopRequest) -> bool:
    """Stop the supervisor, by force when it does not stop in time; return whether there was one."""
    if not is_supervisor(pid):
        # It is just starting or just ending.
        time.sleep(_LOOK_EVERY_S)
        return False
    patience_s = _STOP_PATIENCE_S
    running = read_platform(folder)
    if request.drain_s > 0 or (running is not None and running.cluster is not None):
        patience_s = _DOWN_PATIENCE_S + request.drain_s
    write_stop_request(replace_fields(request, pid=pid), folder)
    progress = Progress(folder)
    try:
        process = psutil.Process(pid)
        process.terminate()
        # A stopped process takes the signal only when it goes on.
        process.resume()
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if has_ended(process, within_s=_LOOK_EVERY_S):
                return True
            progress.show()
        process.kill()
    except psutil.NoSuchProcess:
        return True
    return True


def _clear_up(folder: Path) -> int:
    """End what is left of any run on this machine; return the number of processes."""
    sessions = {record.session for record in (read_platform(folder), read_record(folder)) if record is not None}
    left = sum(end_marked(session, patience_s=3.0) for session in sessions)
    remove_record(folder)
    return left


def _start_detached(overrides: dict[str, Any], options: Options, notes: Sequence[Note]) -> None:
    log_path = home() / "supervisor.log"
    arguments = json.dumps({"overrides": overrides, "options": asdict(options)})
    command = [sys.executable, "-m", "pixyz_ray.cluster.supervisor", arguments]
    patience_s = _START_PATIENCE_S + (options.drain_s if options.address is not None else 0.0)
    progress = Progress(home())
    heading = "".join(f"{note}\n" for note in notes).encode()
    with open_private(log_path) as log:
        log.write(heading)
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=dict(os.environ)
        )
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        record = read_record(home())
        if record is not None and (record.pid, record.status) == (child.pid, "up"):
            said = log_path.read_bytes()[len(heading) :].decode(errors="replace")
            print("".join(line for line in said.splitlines(keepends=True) if not progress.has_shown(line)), end="")
            return
        if child.poll() is not None:
            raise InternalError(f"The platform did not start:\n{_tail(log_path)}")
        progress.show()
        time.sleep(0.02)
    child.terminate()
    raise PixyzTimeout(f"The platform was not up after {patience_s:g} s; see {log_path}:\n{_tail(log_path)}")


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
