"""Real worker processes with a watchdog beside them, and a stand-in for the tracker that the watchdog talks to."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
# Its own in each run of the tests: a watchdog ends whatever carries the mark of its attempt.
UUID = str(uuid4())
_PRELUDE = """
import json, os, signal, subprocess, sys, time
from pixyz_ray.watchdog.guard import guard, is_stopping

SAID = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
LOG = os.path.abspath("job.log")
ENDPOINT = json.loads(os.environ["ENDPOINT"])
UUID = os.environ["UUID"]

def say(**about):
    os.write(SAID, (json.dumps(about) + "\\n").encode())

def begin(number=1, **more):
    os.environ["PIXYZ_ATTEMPT"] = f"{UUID}/{number}"
    endpoint = ENDPOINT and tuple(ENDPOINT)
    guard().begin(UUID, number, log=LOG, endpoint=endpoint, **more)
    say(began=number)

def end():
    usage = guard().end()
    say(peak_rss=usage.peak_rss, peak_uss=usage.peak_uss, cpu_time=usage.cpu_time, left=usage.left_running,
        must_leave=guard().must_leave())
    return usage

def kids(code, **more):
    return subprocess.Popen([sys.executable, "-c", code], **more)
"""


class Tracker:
    """Takes a watchdog's connections as the tracker's channel would, and remembers what was told."""

    def __init__(self) -> None:
        self.secret = secrets.token_hex(16)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.told: list[tuple[int, str, list[Any]]] = []
        self.on_guard: Any = None
        """Function taking (tracker, number, attempt) when an attempt is announced."""
        self._lines: dict[int, socket.socket] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> tuple[str, int, str]:
        """Where it listens."""
        return "127.0.0.1", self._server.getsockname()[1], self.secret

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._connections.append(connection)
                threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as lines:
            assert json.loads(next(lines)) == self.secret
            for line in lines:
                number, method, arguments = json.loads(line)
                self._lines[arguments[1]] = connection
                self.told.append((number, method, arguments))
                if number:
                    self._send(connection, [number, "ok", None])
                if method == "guard" and self.on_guard:
                    self.on_guard(self, number, arguments[1])

    def _send(self, connection: socket.socket, message: Any) -> None:
        with suppress(OSError):
            connection.sendall(json.dumps(message).encode() + b"\n")

    def find(self, method: str, attempt: int = 1) -> list[tuple[int, Any]]:
        """Return what was told so of an attempt: number of the call, and what came after uuid and attempt."""
        return [
            (number, arguments[2] if len(arguments) > 2 else None)
            for number, name, arguments in list(self.told)
            if name == method and arguments[:2] == [UUID, attempt]
        ]

    def stop(self, grace: float, attempt: int = 1) -> None:
        """Tell an attempt to stop, as soon as its watchdog has announced it."""
        number, _ = wait_until(lambda: self.find("guard", attempt), "the attempt is announced", every_s=0.002)[0]
        self._send(self._lines[attempt], [number, "push", {"stop": "cancelled", "grace": grace}])

    def death(self, attempt: int = 1) -> dict[str, Any]:
        """Return what was told of a worker's death."""
        about: dict[str, Any] = wait_until(lambda: self.find("died", attempt), "the death is told")[0][1]
        return about

    def close(self) -> None:
        """Be gone."""
        for each in (self._server, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Worker:
    """A process that runs attempts, given as the text of a program."""

    def __init__(self, folder: Path, body: str, tracker: Tracker | None = None) -> None:
        self.folder = folder
        self.mark = f"WATCHED_WORKER={secrets.token_hex(8)}"
        folder.mkdir(parents=True, exist_ok=True)
        name, _, value = self.mark.partition("=")
        endpoint = json.dumps(tracker and tracker.endpoint)
        environment = {**os.environ, name: value, "PYTHONPATH": str(ROOT), "ENDPOINT": endpoint, "UUID": UUID}
        with (folder / "job.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PRELUDE + body], cwd=folder, env=environment, stdout=log, stderr=log
            )

    def said(self) -> list[dict[str, Any]]:
        """Return what it has said so far."""
        said = self.folder / "said"
        return [json.loads(line) for line in said.read_text().splitlines()] if said.exists() else []

    def hear(self, key: str) -> Any:
        """Wait until it says something by that name, and return the first of it."""
        return wait_until(lambda: [each for each in self.said() if key in each], f"it says {key}", every_s=0.005)[0][
            key
        ]

    def report(self) -> dict[str, Any]:
        """Return what it said at the end of its first attempt."""
        self.hear("must_leave")
        return next(each for each in self.said() if "must_leave" in each)

    def processes(self) -> list[int]:
        """Return the living processes that it has started, itself and its watchdog included."""
        self.process.poll()
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def watchdog(self) -> int | None:
        """Return its watchdog's process id."""
        for pid in self.processes():
            with suppress(OSError):
                if "watchdog.watchdog" in Path(f"/proc/{pid}/cmdline").read_text():
                    return pid
        return None

    def wait_until_gone(self, deadline_s: float = 10.0) -> None:
        """Wait until neither it nor anything that it started, its watchdog included, is there."""
        wait_until(lambda: not self.processes(), "nothing is left", deadline_s=deadline_s, every_s=0.01)

    def kill(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.wait_until_gone()


Start = Callable[..., Worker]
"""Starts a worker that runs a body of Python; `told=False` for one without a tracker."""
