"""The bare things: a Serve app that submits bare tasks, Ray as `ray start --head` starts it, and a plain uvicorn app.

Each runs in processes of its own (see apps.py), marked like the platform's, so that they can be found and ended.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.load import HOST, Connection
from benchmarks.platform import clean_environment, free_ports
from pixyz_ray.cluster.environment import ray_environment
from pixyz_ray.reaper import SESSION_MARK, end_marked
from pixyz_ray.settings import load_settings

_PATIENCE_S = 120.0
_APPS = [sys.executable, "-c", "from benchmarks.apps import main; main()"]


class Bare:
    """One bare thing in a process that lives as long as it is wanted.

    Args:
        kind: `app` or `plain`.
        folder: where it may write, and finds the large file.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._log = folder / f"{kind}.log"
        self.port = free_ports(2)
        self.session = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [*_APPS, self._kind, str(self.port), short_folder(self.session) if self._kind == "app" else self._folder],
            env=clean_environment() | self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log.open("wb"),
        )
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with self.connect() as connection:
                    connection.get("/")
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(self._log.read_text()[-3000:]) from None
                time.sleep(0.1)

    def stop(self) -> None:
        """End it with all its processes."""
        if self._process is not None:
            end_marked(self.session, patience_s=3.0)
            self._process.wait()
            shutil.rmtree(short_folder(self.session), ignore_errors=True)

    def connect(self) -> Connection:
        """Return a connection."""
        return Connection(self.port)

    def _environment(self) -> dict[str, str]:
        # The form's temporary file lies on the same disk as the platform's.
        mark = {SESSION_MARK: self.session, "TMPDIR": str(self._folder)}
        if self._kind != "app":
            return mark
        settings = load_settings(api_port=self.port)
        ours = ray_environment(settings, self.session, self._folder, os.cpu_count() or 1)
        ours.pop("RAY_AUTH_TOKEN_PATH", None)
        return ours | {"RAY_AUTH_MODE": "disabled"} | _direct_ingress(self.port)


def _direct_ingress(port: int) -> dict[str, str]:
    """Return the variables with which Serve's own replica listens on a port, without a proxy."""
    return {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(port + 1),
        "RAY_SERVE_PORT_QUARANTINE_S": "0",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
    }


def short_folder(session: str) -> str:
    """Return Ray's folder: not below the run's, since the name of a Unix socket must be short."""
    return f"/tmp/bare-{session[:8]}"


class BareRay:
    """Ray as `ray start --head` starts it with its defaults, and Serve with an empty app."""

    def __init__(self) -> None:
        self.session = secrets.token_hex(8)
        self._folder = short_folder(self.session)

    def start(self) -> None:
        """Start Ray, deploy the app, run one task."""
        port = free_ports(4)
        environment = clean_environment() | {
            SESSION_MARK: self.session,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
        }
        options = {
            "node-ip-address": HOST,
            "temp-dir": self._folder,
            "port": port,
            "dashboard-port": port + 1,
            "ray-client-server-port": port + 2,
        }
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head"]
        _run([*ray, *(f"--{name}={value}" for name, value in options.items())], environment)
        _run([*_APPS, "empty", f"{HOST}:{port}", str(port + 3)], environment)

    def stop(self) -> None:
        """End its processes; `ray stop` would end those of others too."""
        end_marked(self.session, patience_s=3.0)
        shutil.rmtree(self._folder, ignore_errors=True)


def _run(command: list[str], environment: dict[str, str]) -> None:
    # Not into pipes: the processes that are left behind would hold them open.
    with Path("/dev/null").open("r+b") as null:
        subprocess.run(command, env=environment, stdin=null, stdout=null, stderr=null, check=True)
