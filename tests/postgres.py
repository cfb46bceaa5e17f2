"""A real PostgreSQL server for tests, which can be killed, frozen and thawed."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from tests.free_ports import free_port
from tests.waiting import wait_until

REQUIRED = "PIXYZ_TESTS_NEED_POSTGRES"
"""Set in the environment, it turns the skips of these tests into failures."""
STORE = "PIXYZ_TESTS_STORE"
"""Set to `postgres` in the environment, it gives every platform of the tests a database on one PostgreSQL server."""
_HOMES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


def program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs, or None."""
    found = [str(path) for home in _HOMES for path in sorted(Path("/").glob(f"{home[1:]}/{name}"))]
    return found[-1] if found else shutil.which(name)


def need_postgres() -> None:
    """Skip a test that needs a server where there is none; in CI there has to be one."""
    missing = [
        name for name, found in (("psycopg", find_spec("psycopg")), ("PostgreSQL", program("initdb"))) if not found
    ]
    if missing and os.environ.get(REQUIRED):
        pytest.fail(f"not installed: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def store_of_tests() -> str:
    """Return the kind of store that the platforms of the tests have: `sqlite` or `postgres`."""
    kind = os.environ.get(STORE, "sqlite")
    if kind not in ("sqlite", "postgres"):
        pytest.fail(f"{STORE}={kind} is not known: use sqlite or postgres")
    return kind


def need_sqlite() -> None:
    """Skip a test that changes the file of a SQLite store, where platforms have PostgreSQL."""
    if store_of_tests() != "sqlite":
        pytest.skip("this test needs the file of a SQLite store")


@cache
def shared_server() -> Postgres:
    """Return the server for the platforms of this test session; it ends with the session."""
    need_postgres()
    server = Postgres()
    atexit.register(server.close)
    server.start(free_port())
    return server


class Host(Protocol):
    """A machine that a server can run on, other than this one."""

    ip: str
    """Its address."""

    @property
    def tmp(self) -> Path:
        """Its folder `/tmp`, as this machine sees it."""

    def command(self, script: str) -> list[str]:
        """Return the command that runs a shell script there."""


class Postgres:
    """A server of its own, in a folder that goes away with it. PostgreSQL refuses root, who starts it as `postgres`.

    Args:
        host: the machine that it runs on; this one, on loopback, when None.
        data: an empty folder for its data, on another disk; one in its own folder when None.
        standby_of: a running server of which this one is a hot standby.
        fsync: whether its commits wait for the disk, as those of any server for use.
    """

    def __init__(
        self,
        host: Host | None = None,
        *,
        data: Path | None = None,
        standby_of: Postgres | None = None,
        fsync: bool = False,
    ) -> None:
        self._host = host
        self._fsync = "on" if fsync else "off"
        self._folder = Path(tempfile.mkdtemp(prefix="pxpg-", dir="/tmp" if host is None else host.tmp))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._data = data or self._folder / "data"
        if data is not None and self._user is not None:
            shutil.chown(data, self._user)
        if standby_of is not None:
            where = ("-h", standby_of.address, "-p", str(standby_of.port), "-U", "tester", "-D", str(self._data))
            self._run("pg_basebackup", *where, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        else:
            self._run("initdb", "-D", str(self._data), "-U", "tester", "--auth=trust", "--no-sync", "-E", "UTF8")
            if host is not None:
                with (self._data / "pg_hba.conf").open("a") as rules:
                    rules.write("host all,replication all 0.0.0.0/0 trust\n")
        self.port = 0
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of its database, over TCP as from another machine."""
        return f"postgresql+psycopg://tester@{self.address}:{self.port}/postgres"

    @property
    def address(self) -> str:
        """Address that it listens on."""
        return "127.0.0.1" if self._host is None else self._host.ip

    def start(self, port: int) -> None:
        """Start it, and return when it answers."""
        self.port = port
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        arguments = f"-p {port} -k /tmp -c fsync={self._fsync} -c listen_addresses={self.address}".split()
        log = (self._folder / "log").open("ab")
        if self._host is None:
            command = [str(program("postgres")), "-D", str(self._data), *arguments]
            options: dict[str, Any] = {"user": self._user}
        else:
            data = "/" / self._data.relative_to(self._host.tmp.parent)
            become = f"exec runuser -u {self._user} --" if self._user else "exec"
            command = self._host.command(f"{become} {program('postgres')} -D {data} {' '.join(arguments)}")
            options = {}
        self._server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **options)
        log.close()
        ready = [str(program("pg_isready")), "-q", "-h", self.address, "-p", str(port)]
        wait_until(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL answers", deadline_s=30)

    def promote(self) -> None:
        """Make the primary of a standby."""
        self.sql("SELECT pg_promote()")

    def sql(self, *statements: str, database: str = "postgres") -> None:
        """Execute statements as the owner of the server, each in a transaction of its own."""
        commands = [part for statement in statements for part in ("-c", statement)]
        where = ("-h", self.address, "-p", str(self.port), "-U", "tester", "-d", database)
        self._run("psql", "-q", "-v", "ON_ERROR_STOP=1", *where, *commands)

    def database(self, name: str, *, user: str = "tester", options: str = "") -> str:
        """Create a database and return its URL for a user."""
        self.sql(f"CREATE DATABASE {name} {options}")
        return f"postgresql+psycopg://{user}@{self.address}:{self.port}/{name}"

    def kill(self) -> None:
        """Kill all of its processes at once."""
        self._signal(signal.SIGKILL)
        if self._server is not None:
            self._server.wait()

    def freeze(self) -> None:
        """Let none of its processes do anything; connections stay, and more can be made, without an answer."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and remove its files."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._server is None or self._server.poll() is not None:
            return
        top = psutil.Process(self._server.pid)
        # The one that would start others first.
        for process in (top, *top.children(recursive=True)):
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run([str(program(name)), *arguments], user=self._user, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
