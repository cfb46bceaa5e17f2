"""Machines that are reached by ssh, as those of an operator are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.cluster.machines import Machine, need
from tests.platforms import ROOT
from tests.waiting import wait_until

_HOME = "/tmp/home"
_SSHD = """
Port 22
HostKey {home}/ssh_host_key
PidFile {home}/sshd.pid
AuthorizedKeysFile {home}/.ssh/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
SetEnv PYTHONPATH={root}
"""


def need_ssh() -> None:
    """Skip a test where ssh or rsync is not installed; in CI that is a failure."""
    programs = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "rsync": "rsync"}
    need(
        [f"{name} is not installed (package {package})" for name, package in programs.items() if not shutil.which(name)]
    )


def give_own_home(machine: Machine) -> None:
    """Make the machine's own home directory that of whoever logs in: the file of users is shared otherwise."""
    users = Path("/etc/passwd").read_text(encoding="utf-8").splitlines()
    root = "root:x:0:0:root:/tmp/home:/bin/bash"
    lines = [root if line.startswith("root:") else line for line in users]
    (machine.tmp / "passwd").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (machine.home / ".bashrc").touch()
    machine.run("mount --bind /tmp/passwd /etc/passwd")


def make_key(machine: Machine) -> str:
    """Make a pair of keys in the machine's home and return the public one."""
    machine.run("mkdir -p -m 700 .ssh && ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519")
    return (machine.home / ".ssh" / "id_ed25519.pub").read_text(encoding="utf-8")


def serve_ssh(machine: Machine, public_key: str) -> subprocess.Popen[bytes]:
    """Run sshd on the machine, for the owner of a key."""
    machine.run("mkdir -p -m 700 .ssh && ssh-keygen -q -t ed25519 -N '' -f ssh_host_key; mkdir -p /run/sshd")
    (machine.home / ".ssh" / "authorized_keys").write_text(public_key, encoding="utf-8")
    (machine.home / "sshd_config").write_text(_SSHD.format(home=_HOME, root=ROOT), encoding="utf-8")
    process = machine.start("exec $(command -v sshd) -D -e -f /tmp/home/sshd_config", "sshd.log")
    wait_until(lambda: ":22 " in machine.run("ss -ltn").stdout, f"sshd of {machine.name} listens")
    return process
