"""The platform that is measured: started and stopped by its own commands, with a home and a port of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from benchmarks.load import HOST, Connection
from pixyz_ray.cluster.ray_folder import ray_folder
from pixyz_ray.home import Platform, read_platform
from pixyz_ray.reaper import end_marked
from pixyz_ray.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
NOOP = b"""import time
print(time.time())


def main(pc, params):
    return None
"""
"""The script of all latency figures; its first line's time is in its log."""


class Ours:
    """One platform of our own.

    Args:
        folder: where its home is made.
        store_url: its JOB_STORE_URL; the default one when None.
    """

    def __init__(self, folder: Path, store_url: str | None = None) -> None:
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        self._store_url = store_url
        self.port = free_ports(2)

    @property
    def share(self) -> Path:
        """Folder of the jobs' files."""
        return self.home / "share"

    @property
    def store_url(self) -> str:
        """Where its jobs are stored."""
        return self._store_url or f"sqlite:///{self.home / 'jobs.db'}"

    @property
    def running(self) -> Platform:
        """Address, token and mark of the platform while it is up."""
        platform = read_platform(self.home)
        if platform is None:
            raise RuntimeError("the platform is not up")
        return platform

    def start(self) -> None:
        """Run `pixyz up --detach`."""
        self.command("up", "--detach", "--port", str(self.port))

    def stop(self) -> None:
        """Run `pixyz down`, and make sure."""
        platform = read_platform(self.home)
        if platform is not None:
            self.command("down")
            end_marked(platform.session, patience_s=3.0)
        shutil.rmtree(ray_folder(self.home), ignore_errors=True)

    def connect(self) -> Connection:
        """Return a connection of an authorized client."""
        return Connection(self.port, self.running.token)

    def command(self, *arguments: str) -> str:
        """Run a command of `pixyz` and return what it printed."""
        environment = clean_environment() | {"PIXYZ_HOME": str(self.home)}
        if self._store_url is not None:
            environment["JOB_STORE_URL"] = self._store_url
        done = subprocess.run(
            [*pixyz(), *arguments], cwd=self.home, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"pixyz {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout


def pixyz() -> list[str]:
    """Return the command line of `pixyz`: the installed script, else the same from the source."""
    script = Path(sys.executable).with_name("pixyz")
    return [str(script)] if script.is_file() else [sys.executable, "-c", "from pixyz_ray.cli import main; main()"]


def clean_environment() -> dict[str, str]:
    """Return the environment without anything that would change the platform's or Ray's defaults."""
    ours = {name.upper() for name in Settings.model_fields}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.startswith(("PIXYZ_", "RAY_"))
    }
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def free_ports(count: int = 1) -> int:
    """Return the first of so many neighbouring free ports, below those that the system hands out by itself."""
    while True:
        first = 20_000 + secrets.randbelow(10_000)
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
