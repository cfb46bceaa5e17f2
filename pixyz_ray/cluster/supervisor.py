"""The supervisor: starts the driver, watches the platform from outside of Ray, and restarts it when it fails.

It does not import Ray, so that a failure of Ray cannot stop it. Processes that Ray replaces (tracker, HTTP replica,
Serve's controller) are left to Ray. When Ray's own processes or the driver die or hang, the supervisor ends everything
and starts it again; jobs are recovered from the journal. After three failed restarts in a row it exits with 1, so that
systemd or Kubernetes can act.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.diagnosis import Diagnosis, Limits, Part, RestartCount, Sign
from pixyz_ray.cluster.driver_order import DriverOrder, Options
from pixyz_ray.cluster.driver_process import DRIVER_COMMAND, DriverProcess
from pixyz_ray.cluster.probes import Addresses, Probes
from pixyz_ray.cluster.ray_folder import clear_ray_folder, ray_folder
from pixyz_ray.home import Platform, forget_platform, home, local_token, read_platform, write_platform
from pixyz_ray.logs import configure_logging
from pixyz_ray.port import local_url, service_url
from pixyz_ray.private_files import make_process_private, secure_home
from pixyz_ray.reaper import kill_marked
from pixyz_ray.run_record import RunRecord, Status, read_record, remove_record, write_record
from pixyz_ray.setting_sources import COMMAND_LINE
from pixyz_ray.settings import Settings
from pixyz_ray.stop_request import take_stop_request
from pixyz_ray.supervisor_lock import only_one
from pixyz_ray.version import VERSION
from pixyz_worker.exception import InternalError, PixyzException

_log = logging.getLogger("pixyz.supervisor")
_SESSIONS_KEPT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Times of the supervisor, in seconds."""

    check_every_s: float = 1.0
    """Pause between two looks at the platform."""
    start_within_s: float = 110.0
    """A driver that has not started everything within this time is killed."""
    pause_s: float = 1.0
    """Pause before a second restart in a row; twice that before a third."""
    limits: Limits = field(default_factory=Limits)
    """How long each bad sign is tolerated."""


class Supervisor:
    """Keeps one platform up.

    Args:
        settings: the platform's settings.
        options: options of `pixyz up`.
        folder: the platform's home.
        replacement: command that starts another supervisor if this one is killed; empty in the foreground.
        pace: its times.
        driver_command: the driver's program.
        earlier: what an earlier run on this home has left in `platform.json`.
        takes_place: whether clients go on with the address of that run, whose supervisor was killed.
    """

    def __init__(
        self,
        settings: Settings,
        options: Options,
        folder: Path,
        *,
        replacement: Sequence[str] = (),
        pace: Pace | None = None,
        driver_command: Sequence[str] = DRIVER_COMMAND,
        earlier: Platform | None = None,
        takes_place: bool = False,
    ) -> None:
        self._settings = settings
        self._options = options
        self._folder = folder
        self._replacement = tuple(replacement)
        self._pace = pace or Pace()
        self._driver_command = tuple(driver_command)
        self._earlier = earlier
        self._takes_place = takes_place
        self._count = RestartCount()
        self._wake = threading.Event()
        self._stopping = False
        self._started = time.time()
        self._was_up = False
        self.has_left = False
        """Whether it has ended and left what it had started on a cluster."""
        self._status: tuple[str, Status] = ("", "starting")

    def stop(self) -> None:
        """Make `run` end; callable from a signal handler."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """Keep the platform up until `stop`.

        Raises:
            InternalError: it did not start, or restarts have failed; nothing is left running.
        """
        problem: str | None = None
        while not self._stopping:
            driver = self._start_driver(problem)
            try:
                up_for_s, found = self._keep(driver)
            except BaseException:
                driver.kill()
                raise
            if found is None:
                self._stop(driver)
                return
            if up_for_s or self._count.tried:
                _log.error("%s: everything is ended", found)
            driver.kill()
            self._check_whether_to_restart(found, up_for_s)
            problem = found
            self._pause()

    def _stop(self, driver: DriverProcess) -> None:
        request = take_stop_request(os.getpid(), self._folder)
        self._record(driver.session, "stopping", "leaving the cluster" if request.leave else "stopping")
        self.has_left = request.leave
        driver.stop(request)

    def _note(self, text: str) -> None:
        """Say what the driver is doing, and record it for `pixyz up --detach`, `pixyz down` and `pixyz doctor`."""
        print(text[:1].upper() + text[1:], flush=True)
        session, status = self._status
        if status != "up":
            self._record(session, status, text)

    def _start_driver(self, problem: str | None) -> DriverProcess:
        session = secrets.token_hex(8)
        known = read_platform(self._folder) if problem is not None or self._takes_place else None
        if problem is None:
            self._record(session, "starting", "starting")
        else:
            self._record(session, "restarting", f"restarting: {problem} ({self._count.tried} of {self._count.limit})")
        if known is not None:
            # Clients go on with the same address and token; `pixyz down` finds the processes by the new mark.
            self._write_platform(session, known.ray_address, owns_serve=known.owns_serve)
        clear_ray_folder(self._folder, sessions_kept=_SESSIONS_KEPT)
        order = DriverOrder(
            settings=self._settings,
            options=self._options,
            folder=self._folder,
            session=session,
            replacement=self._replacement,
            owns_serve_at=self._earlier.cluster if self._earlier is not None and self._earlier.owns_serve else None,
        )
        return DriverProcess(order, self._wake.set, self._driver_command, on_note=self._note)

    def _keep(self, driver: DriverProcess) -> tuple[float, str | None]:
        """Watch one run; return the seconds for which it was up, and why it failed (None when told to stop)."""
        problem = self._wait_until_up(driver)
        if problem is not None or self._stopping:
            return 0.0, problem
        assert driver.addresses is not None
        began = time.monotonic()
        self._write_platform(
            driver.session, driver.addresses["ray_address"], owns_serve=bool(driver.addresses.get("owns_serve"))
        )
        if self._count.tried == 0:
            self._announce(driver.addresses)
        else:
            _log.warning("the platform is up again")
        # Last: `pixyz up --detach` waits for it, and then prints what was announced.
        self._record(driver.session, "up", "up")
        problem = self._watch(driver)
        return time.monotonic() - began, problem

    def _wait_until_up(self, driver: DriverProcess) -> str | None:
        within_s = self._pace.start_within_s
        if self._options.address is not None:
            # A tracker that is there may have to be drained first.
            within_s += self._options.drain_s
        deadline = time.monotonic() + within_s
        while not self._stopping and driver.addresses is None:
            self._wake.wait(self._pace.check_every_s)
            self._wake.clear()
            if driver.addresses is None and driver.has_ended():
                return driver.error or f"{Part.DRIVER} {Sign.GONE} while it was starting"
            if driver.addresses is None and time.monotonic() > deadline:
                return f"the platform was not up after {within_s:g} s"
        return None

    def _watch(self, driver: DriverProcess) -> str | None:
        diagnosis = Diagnosis(self._pace.limits)
        probes = self._probes(driver)
        try:
            while True:
                self._wake.wait(self._pace.check_every_s)
                self._wake.clear()
                if self._stopping:
                    return None
                if driver.has_ended() and driver.error:
                    return driver.error
                signs = {Part.TRACKER: driver.tracker_sign(), **(probes.look() if probes else {})}
                verdict = diagnosis.judge(time.monotonic(), {**signs, Part.DRIVER: driver.sign()})
                for part in verdict.kill if probes else ():
                    _log.warning("%s %s: it is killed, and Ray starts it again", part, signs[part])
                    probes.kill(part)  # type: ignore[union-attr]
                if verdict.restart is not None:
                    return verdict.restart
        finally:
            if probes:
                probes.close()

    def _probes(self, driver: DriverProcess) -> Probes | None:
        """Return the probes of a platform with a Ray of its own; a cluster that was joined is watched by its owner."""
        if self._options.address is not None:
            return None
        assert driver.addresses is not None
        addresses = Addresses(
            gcs=driver.addresses["ray_address"],
            raylet=driver.addresses["raylet_address"],
            service_host=self._settings.api_host,
            service_port=self._settings.api_port,
        )
        return Probes(driver.pid, addresses)

    def _check_whether_to_restart(self, problem: str, up_for_s: float) -> None:
        """Count a restart.

        Raises:
            InternalError: the platform must not be restarted.
        """
        never_up = up_for_s == 0 and self._count.tried == 0
        may_restart = self._count.may_restart(up_for_s)
        if self._stopping:
            return
        if never_up:
            raise InternalError(problem)
        if not may_restart:
            hint = (
                f"Logs of Ray: {ray_folder(self._folder)}/session_*/logs."
                if self._options.address is None
                else f"The Ray cluster at {self._options.address} is not restarted from here."
            )
            message = (
                f"{_sentence(problem)} {self._count.limit} restarts in a row have failed; the supervisor gives up. "
                f"{hint} Start again with  pixyz up"
            )
            record = read_record(self._folder)
            self._record(record.session if record else "", "failed", message)
            raise InternalError(message)

    def _pause(self) -> None:
        pause_s = self._pace.pause_s * (self._count.tried - 1)
        deadline = time.monotonic() + pause_s
        while not self._stopping and (left_s := deadline - time.monotonic()) > 0:
            self._wake.wait(left_s)
            self._wake.clear()

    def _record(self, session: str, status: Status, message: str) -> None:
        if status == "restarting":
            _log.warning("%s", message)
        self._status = session, status
        record = RunRecord(pid=os.getpid(), session=session, status=status, message=message)
        with _noted("supervisor.json"):
            write_record(record, self._folder)

    def _write_platform(self, session: str, ray_address: str, *, owns_serve: bool) -> None:
        platform = Platform(
            url=local_url(self._settings.api_host, self._settings.api_port),
            token=local_token(self._folder),
            pid=os.getpid(),
            started=self._started,
            version=VERSION,
            ray_address=ray_address,
            session=session,
            cluster=ray_address if self._options.address is not None else None,
            owns_serve=owns_serve,
            options=_given_options(self._settings, self._options),
        )
        if not self._was_up:
            write_platform(platform, self._folder)
            self._was_up = True
            return
        with _noted("platform.json"):
            write_platform(platform, self._folder)

    def _announce(self, addresses: Mapping[str, Any]) -> None:
        settings = self._settings
        url = service_url(settings.api_host, settings.api_port, str(addresses.get("node_address", "")))
        print(f"Pixyz on Ray {VERSION} is up at {url} (Ray at {addresses['ray_address']}).")
        print("On this machine no token is needed: try  pixyz list")
        if settings.god_password_sha256 is None:
            token = self._folder / "token"
            print(f"Elsewhere, send the token in {token} as header x-api-key, or with  pixyz -k TOKEN")
        print(f"Files of jobs: {settings.share_path}. Stop with  pixyz down", flush=True)


def supervise(settings: Settings, options: Options, *, replacement: Sequence[str] = (), replaces: int = 0) -> None:
    """Keep the platform up until SIGTERM or SIGINT.

    Args:
        settings: the platform's settings.
        options: options of `pixyz up`.
        replacement: command that starts another supervisor if this one is killed; empty in the foreground.
        replaces: process id of the killed supervisor that this one replaces; 0 for none.

    Raises:
        AlreadyRunning: another supervisor has this home.
        InternalError: it did not start, or restarts have failed; nothing is left running.
    """
    configure_logging(settings.log_level, settings.log_format)
    make_process_private(settings.share_umask)
    secure_home(folder := home())
    if replaces:
        # The supervisor before has done that.
        options = replace(options, replace=False)
    with only_one(folder):
        known = read_platform(folder)
        supervisor = Supervisor(
            settings, options, folder, replacement=replacement, earlier=known, takes_place=bool(replaces)
        )
        if replaces and (known is None or known.pid != replaces):
            # `pixyz down` was called meanwhile: do not start the platform again.
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        if replaces:
            _log.warning("the supervisor (process %d) was killed: this one takes its place", replaces)
        _end_earlier_run(folder, is_wanted=bool(replaces))
        try:
            supervisor.run()
        except BaseException:
            if options.address is None:
                forget_platform(folder)
            # Else tracker and service may still be on the cluster: `pixyz down` finds them by the file.
            raise
        else:
            # One that has left the cluster to its successor leaves the file too, with which `pixyz down` finds all of
            # it even if no successor comes up.
            if not supervisor.has_left:
                forget_platform(folder)
        finally:
            record = read_record(folder)
            if record is not None and record.status != "failed":
                remove_record(folder)


def _given_options(settings: Settings, options: Options) -> dict[str, Any]:
    """Return the options of `pixyz up` that were given, by the names that `up` has for them."""
    given = {
        name: getattr(settings, setting)
        for name, setting in (("host", "api_host"), ("port", "api_port"))
        if settings.places.get(setting.upper()) == COMMAND_LINE
    }
    others = {name: getattr(options, name) for name in ("num_cpus", "dashboard", "insecure")}
    return given | {name: value for name, value in others.items() if value}


@contextmanager
def _noted(name: str) -> Iterator[None]:
    """Go on when a file of the home cannot be written: a full disk must not end a platform that is being restarted."""
    try:
        yield
    except OSError as error:
        _log.warning("%s cannot be written: %s", name, error.strerror or error)


def _sentence(problem: str) -> str:
    return problem if problem.endswith(".") else f"{problem}."


def _end_earlier_run(folder: Path, *, is_wanted: bool) -> None:
    """End the processes that an earlier, killed supervisor may have left.

    Args:
        folder: the platform's home.
        is_wanted: whether clients keep using the address of that run.
    """
    platform = read_platform(folder)
    for left in (platform, read_record(folder)):
        if left is not None:
            kill_marked(left.session)
    # What a run has left on a cluster is found by that file, until this one is up and writes its own.
    if not is_wanted and (platform is None or platform.cluster is None):
        forget_platform(folder)


def main() -> None:
    """Run the supervisor as a program (`pixyz up --detach` starts it this way)."""
    from pixyz_ray.cluster.up import parse_arguments

    settings, options = parse_arguments(sys.argv[1])
    command = [sys.executable, "-m", "pixyz_ray.cluster.supervisor", sys.argv[1], str(os.getpid())]
    replaces = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    try:
        supervise(settings, options, replacement=command, replaces=replaces)
    except PixyzException as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
