"""A real platform for tests: started and stopped through the command line, in a home of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

import psutil

from pixyz_ray.cluster.ray_folder import ray_folder
from pixyz_ray.home import Platform as Record
from pixyz_ray.home import read_platform
from pixyz_ray.reaper import marked
from tests.free_ports import free_port
from tests.postgres import shared_server, store_of_tests
from tests.rest_client import RestClient
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
OPERATOR_TOKEN = "the operator's own token"

_CLI = (sys.executable, "-c", "from pixyz_ray.cli import main; main()")
_OTHERS = ("PIXYZ_", "RAY_", "API_", "SHARE_PATH", "PROCESS_PATH", "GOD_", "MAX_", "JOB_STORE_URL", "CONCURRENT_TASKS")


class TestPlatform:
    """One platform on a free port, in a home that goes away with it.

    Args:
        settings: environment variables that change its settings. Its store is SQLite, unless they or PIXYZ_TESTS_STORE
            say otherwise.
    """

    __test__ = False

    def __init__(self, **settings: str) -> None:
        # The names of Unix sockets must stay short, so this is not pytest's own temporary folder.
        self.home = Path(tempfile.mkdtemp(prefix="pxt-", dir="/tmp"))
        self.port = free_port()
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)},
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "PIXYZ_HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "HOME": str(self.home),
            "GOD_PASSWORD_SHA256": hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest(),
            **settings,
        }
        if store_of_tests() == "postgres":
            self.env.setdefault("JOB_STORE_URL", shared_server().database(f"platform_{uuid4().hex}"))
        self.sessions: list[str] = []

    @property
    def url(self) -> str:
        """Where its HTTP service answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """This machine's own token."""
        return (self.home / "token").read_text(encoding="utf-8").strip()

    @property
    def record(self) -> Record:
        """What it wrote of itself."""
        record = read_platform(self.home)
        assert record is not None, "the platform is not up"
        return record

    def client(self, *, timeout_s: float = 30.0) -> RestClient:
        """Return a client of it; close it after use."""
        return RestClient(self.url, self.token, timeout_s=timeout_s)

    def cli(
        self, *arguments: str, timeout_s: float = 60.0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the `pixyz` command as the owner of this home would."""
        command = [*_CLI, *arguments]
        return subprocess.run(
            command, env=self.env, cwd=cwd or self.home, capture_output=True, text=True, timeout=timeout_s
        )

    def up(self) -> None:
        """Start it, and return when it answers."""
        done = self.cli("up", "--detach", "--port", str(self.port), timeout_s=150)
        assert done.returncode == 0, f"pixyz up failed:\n{done.stdout}\n{done.stderr}\n{self.supervisor_log()}"
        self.sessions.append(self.record.session)

    def down(self) -> None:
        """Stop it as its owner would."""
        done = self.cli("down", timeout_s=60)
        assert done.returncode == 0, f"pixyz down failed:\n{done.stdout}\n{done.stderr}"

    def processes(self, title: str = "") -> list[psutil.Process]:
        """Return its processes whose command line begins with a title; all of them without one."""
        return [one for one in marked(self.record.session) if _command_line(one).startswith(title)]

    def kill(self, title: str) -> None:
        """Kill the processes with that title; there must be one at least."""
        found = self.processes(title)
        assert found, f"no process {title!r} among {[_command_line(one)[:60] for one in self.processes()]}"
        _kill(found)

    def kill_everything(self) -> None:
        """Kill the supervisor and every process of the platform at once, as a power cut would."""
        supervisor = psutil.Process(self.record.pid)
        _kill([supervisor, *marked(self.record.session)])

    def close(self) -> None:
        """Stop it, remove its files, and make sure that none of its processes is left."""
        try:
            self.down()
            left = [one for session in self.sessions for one in marked(session)]
            assert not left, f"processes left behind: {left}"
        finally:
            _kill([one for session in self.sessions for one in marked(session)])
            shutil.rmtree(ray_folder(self.home), ignore_errors=True)
            shutil.rmtree(self.home, ignore_errors=True)

    def supervisor_log(self) -> str:
        """Return the end of what the supervisor printed."""
        path = self.home / "supervisor.log"
        return path.read_text(encoding="utf-8", errors="replace")[-4000:] if path.is_file() else ""


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: not any(_alive(process) for process in processes), "the killed processes are gone")


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
