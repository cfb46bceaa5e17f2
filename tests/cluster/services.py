"""Machines of a cluster that are started by the units of systemd, as docs/cluster.md says, behind its firewall."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest

from tests.cluster.machines import Machine, Network, need
from tests.platforms import OPERATOR_TOKEN, ROOT
from tests.rest_client import RestClient
from tests.systemd_units import example, read_unit
from tests.waiting import wait_until

HEAD, WORKER, PLATFORM = "pixyz-ray-head.service", "pixyz-ray-worker.service", "pixyz.service"
_TOKEN = "/tmp/home/ray-token"


class Services:
    """The units on the machines of a network; the first machine is the head.

    Args:
        network: the machines.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.head, *self.workers = network.machines.values()
        self._started: list[subprocess.Popen[bytes]] = []
        self._token = secrets.token_hex(32)
        self._firewall = _documented_firewall().replace("10.0.0.0/24", f"{network.address(0)}/24")

    def prepare(self, machine: Machine) -> None:
        """Do what an operator does before the first start: firewall, token, a disk for the units' state."""
        (machine.home / "firewall").write_text(self._firewall, encoding="utf-8")
        (machine.home / "ray-token").write_text(self._token, encoding="utf-8")
        machine.run(f"chmod 600 {_TOKEN} && nft -f firewall && mount -t tmpfs tmpfs /var/lib")

    def start_head(self) -> None:
        """Let the units of the head run."""
        self._start(self.head, HEAD)
        self._start(self.head, PLATFORM)

    def start_worker(self, machine: Machine) -> None:
        """Let the unit of a worker run."""
        self._start(machine, WORKER)

    def _start(self, machine: Machine, name: str) -> None:
        script = read_unit(name).script(self._files(machine), machine.environment)
        self._started.append(machine.start(script, f"{name}.log"))

    def close(self) -> None:
        """Stop watching the services; the machines end with their network."""
        for process in self._started:
            process.kill()
            process.wait()

    def _files(self, machine: Machine) -> dict[str, str]:
        return {
            "/etc/pixyz/ray.env": example(
                "ray.env.example",
                PIXYZ_VENV=sys.prefix,
                HEAD_ADDRESS=self.head.ip,
                NODE_ADDRESS=machine.ip,
                RAY_AUTH_TOKEN_PATH=_TOKEN,
                RAY_OPTIONS="--num-cpus=2 --object-store-memory=200000000",
            ),
            "/etc/pixyz/pixyz.env": example(
                "pixyz.env.example",
                SHARE_PATH=str(self.network.share),
                GOD_PASSWORD_SHA256=hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest(),
            ),
        }

    def client(self, *, timeout_s: float = 10.0) -> RestClient:
        """Return a client with the operator's token; close it after use."""
        return RestClient(f"http://{self.head.ip}:8001", OPERATOR_TOKEN, timeout_s=timeout_s)

    def health(self) -> dict[str, Any]:
        """Return what the HTTP service says of itself; nothing where it does not answer."""
        with suppress(Exception), self.client(timeout_s=2.0) as rest:
            return dict(rest.http.get("/health").json())
        return {}

    def wait_until_ready(self, *, deadline_s: float) -> None:
        """Return when the HTTP service takes jobs."""
        log = self.head.folder / f"{PLATFORM}.log"
        wait_until(
            lambda: self.health().get("ready"), f"the platform is ready ({log})", deadline_s=deadline_s, every_s=0.2
        )


def need_firewall() -> None:
    """Skip a test where nftables is not installed; in CI that is a failure."""
    need([] if shutil.which("nft") else ["nft is not installed (package nftables)"])


def _documented_firewall() -> str:
    """Return the firewall of docs/cluster.md."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    found = re.search(r"```\n(table inet pixyz \{.*?\n)```", text, re.DOTALL)
    if found is None:
        pytest.fail("docs/cluster.md has no firewall")
    return found[1]
