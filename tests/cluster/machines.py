"""Machines for cluster tests: namespaces of this machine for network, processes, mounts, host name and IPC.

The machines are connected to a bridge without a route out of it. The test process has an address on that bridge too, so
that it can be their client. Everything else of the file system but `/tmp`, `/etc/hosts` and `/dev/shm` is shared.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pytest

from tests.platforms import ROOT
from tests.waiting import wait_until

REQUIRED = "PIXYZ_TESTS_NEED_MACHINES"
"""Set in the environment, it turns the skips of these tests into failures."""
_TMP = Path("/tmp")
_PROGRAMS = ("ip", "unshare", "nsenter", "mount")
_PATH = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def need_machines() -> None:
    """Skip a test where machines cannot be made; in CI that is a failure."""
    problems = [] if os.geteuid() == 0 else ["root is needed to make namespaces"]
    os.environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    need(problems + [f"{name} is not installed" for name in _PROGRAMS if shutil.which(name) is None])


def need(problems: Sequence[str]) -> None:
    """Skip a test that cannot run, for these reasons; in CI that is a failure."""
    if problems and os.environ.get(REQUIRED):
        pytest.fail(f"no machines for cluster tests: {'; '.join(problems)}")
    if problems:
        pytest.skip(f"no machines for cluster tests: {'; '.join(problems)}")


class Machine:
    """One machine: its first process sleeps, all others are started with `run` and `start`.

    Args:
        name: host name, at most 5 characters.
        ip: its address.
        network: the network that it is connected to.
    """

    def __init__(self, name: str, ip: str, network: Network) -> None:
        self.name = name
        self.ip = ip
        self.folder = network.folder / name
        self.environment: dict[str, str] = {
            "PATH": _PATH,
            "HOME": "/tmp/home",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
        }
        self._network = network
        self._namespace = f"{network.prefix}-{name}"
        self._link = f"{network.prefix}v{name}"
        self._init: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def tmp(self) -> Path:
        """Where the machine's `/tmp` is for the test process."""
        return self.folder / "tmp"

    @property
    def home(self) -> Path:
        """The home directory, as the test process sees it."""
        return self.tmp / "home"

    def make(self) -> None:
        """Create the namespaces and connect the machine."""
        _sh("ip", "netns", "add", self._namespace)
        switch = self._network.switch
        _sh(*f"ip link add {self._link} netns {switch} type veth peer name eth0 netns {self._namespace}".split())
        _sh(*f"ip -n {switch} link set {self._link} master br0 up".split())
        _sh(*f"ip -n {self._namespace} addr add {self.ip}/24 dev eth0".split())
        for device in ("lo", "eth0"):
            _sh(*f"ip -n {self._namespace} link set {device} up".split())
        # Ray finds a machine's address with a socket towards the internet, so that a default route must exist.
        _sh(*f"ip -n {self._namespace} route add default via {self._network.address(254)}".split())
        self._boot()

    def _boot(self) -> None:
        (self.tmp / "home").mkdir(parents=True, exist_ok=True)
        self.tmp.chmod(0o1777)
        steps = [f"hostname {self.name}"]
        for kept in self._network.kept:
            inside = self.tmp / kept.relative_to(_TMP)
            inside.mkdir(parents=True, exist_ok=True)
            steps.append(f"mount --bind {kept} {inside}")
        hosts = f"{{ echo {self.ip} {self.name}; cat /etc/hosts; }} > /tmp/hosts && mount --bind /tmp/hosts /etc/hosts"
        steps += [
            f"mount --rbind {self.tmp} /tmp",
            "mount -t tmpfs -o size=4g tmpfs /dev/shm",
            hosts,
            "exec sleep infinity",
        ]
        unshare = "unshare --mount --uts --ipc --pid --fork --mount-proc --kill-child"
        with (self.folder / "boot.log").open("w") as log:
            self._init = subprocess.Popen(
                [*f"ip netns exec {self._namespace} {unshare} bash -c".split(), " && ".join(steps)],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._pid = wait_until(self._first_process, f"machine {self.name} boots ({self.folder}/boot.log)")

    def _first_process(self) -> int:
        assert self._init is not None
        with suppress(OSError):
            for pid in Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split():
                if Path(f"/proc/{pid}/comm").read_text().strip() == "sleep":
                    return int(pid)
        return 0

    # --- Commands ----------------------------------------------------------------------------------------------------

    def command(self, script: str, env: Mapping[str, str] | None = None) -> list[str]:
        """Return the command line, for the test process, of a shell script on this machine."""
        variables = {**self.environment, **(env or {})}
        return [
            *("nsenter", "-t", str(self._pid), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i"),
            *(f"{name}={value}" for name, value in variables.items()),
            *("bash", "-c", f"cd /tmp/home; {script}"),
        ]

    def run(
        self, script: str, *, check: bool = True, timeout_s: float = 120.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script to its end; with `check` it must succeed."""
        done = subprocess.run(
            self.command(script, env),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        if check:
            assert done.returncode == 0, f"{self.name}: {script}\n-> {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, script: str, log: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a shell script; its output goes into `folder/log`."""
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                self.command(script, env), stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def python(self, script: str, **options: float) -> subprocess.CompletedProcess[str]:
        """Run a Python program on this machine."""
        path = self.home / f"program-{time.monotonic_ns()}.py"
        path.write_text(script, encoding="utf-8")
        return self.run(f"python {path.name}", **options)  # type: ignore[arg-type]

    # --- Faults ------------------------------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Return the ids (of the test's own namespace) of all processes but the first one."""
        mine = Path(f"/proc/{self._pid}/ns/pid").stat().st_ino
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self._pid:
                with suppress(OSError):
                    if (entry / "ns" / "pid").stat().st_ino == mine:
                        found.append(int(entry.name))
        return found

    def find(self, pattern: str) -> list[int]:
        """Return the ids of the processes whose command line matches a regular expression."""
        found = []
        for pid in self.processes():
            with suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if re.search(pattern, line):
                    found.append(pid)
        return found

    def signal_all(self, number: signal.Signals) -> int:
        """Send a signal to all processes but the first one; return to how many."""
        pids = self.processes()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(pids)

    def kill_all(self) -> int:
        """Kill all processes, again until none is left; the kernel closes their connections. Return how many."""
        killed = 0
        while alive := [pid for pid in self.processes() if not _is_zombie(pid)]:
            killed += len(alive)
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        return killed

    def power_off(self) -> None:
        """Cut the network, then kill all processes: as when the plug is pulled, nobody is told."""
        self.cut()
        self.kill_all()

    def freeze(self) -> None:
        """Stop all processes; connections stay open and nothing answers."""
        self.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all processes go on."""
        self.signal_all(signal.SIGCONT)

    def cut(self) -> None:
        """Disconnect the machine."""
        _sh(*f"ip -n {self._network.switch} link set {self._link} down".split())

    def heal(self) -> None:
        """Connect it again."""
        _sh(*f"ip -n {self._network.switch} link set {self._link} up".split())

    def destroy(self) -> None:
        """End all of it."""
        if self._pid:
            with suppress(OSError):
                self.kill_all()
                os.kill(self._pid, signal.SIGKILL)
        if self._init is not None:
            with suppress(subprocess.TimeoutExpired):
                self._init.wait(10)
        _sh("ip", "netns", "del", self._namespace, check=False)


class Network:
    """A bridge, and the machines that are connected to it; use it as a context manager.

    Args:
        names: names of the machines to start with.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pxm-", dir=_TMP))
        self.folder.chmod(0o755)
        self.share = self.folder / "share"
        self.share.mkdir(mode=0o777)
        # What lies below /tmp here, and is to be seen on the machines too, which have a /tmp of their own.
        self.kept = [path for path in (self.share, ROOT, Path(sys.prefix)) if path.is_relative_to(_TMP)]
        self.prefix = ""
        self.machines: dict[str, Machine] = {}
        self._names = tuple(names)
        self._number = 0

    @property
    def switch(self) -> str:
        """The network namespace of the bridge."""
        return f"{self.prefix}-sw"

    def address(self, last: int) -> str:
        """Return an address on this network, by its last number."""
        return f"10.77.{self._number}.{last}"

    def __enter__(self) -> Network:
        try:
            self._make_switch()
            for name in self._names:
                self.add(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def add(self, name: str) -> Machine:
        """Make one more machine and return it."""
        machine = Machine(name, self.address(11 + len(self.machines)), self)
        self.machines[name] = machine
        machine.make()
        return machine

    def close(self) -> None:
        """End all machines and remove their files."""
        for machine in self.machines.values():
            machine.destroy()
        if self.prefix:
            _sh("ip", "link", "del", f"{self.prefix}host", check=False)
            _sh("ip", "netns", "del", self.switch, check=False)
        if str(self.folder) not in Path("/proc/mounts").read_text():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _make_switch(self) -> None:
        """Take the first free number; `ip netns add` fails on one that is taken."""
        for number in range(10, 250):
            prefix = f"pxm{number}"
            if _sh("ip", "netns", "add", f"{prefix}-sw", check=False).returncode == 0:
                self._number, self.prefix = number, prefix
                break
        else:
            pytest.fail("no free network for machines: remove old ones (ip netns list)")
        inside = ("ip", "-n", self.switch)
        _sh(*inside, "link", "add", "br0", "type", "bridge")
        _sh(*inside, "link", "set", "br0", "up")
        host = f"{self.prefix}host"
        _sh("ip", *f"link add {host} type veth peer name host netns {self.switch}".split())
        _sh(*inside, "link", "set", "host", "master", "br0", "up")
        _sh("ip", *f"addr add {self.address(1)}/24 dev {host}".split())
        _sh("ip", *f"link set {host} up".split())


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _sh(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    if check:
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done


def wait_for_all(processes: Sequence[subprocess.Popen[bytes]], timeout_s: float = 60.0) -> None:
    """Wait for processes that were started on machines; each must succeed."""
    deadline = time.monotonic() + timeout_s
    for process in processes:
        assert process.wait(max(0.1, deadline - time.monotonic())) == 0, process.args
