"""A Ray cluster on some machines, and the platform on it."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from tests.cluster.machines import Machine, Network
from tests.platforms import OPERATOR_TOKEN
from tests.rest_client import RestClient
from tests.waiting import wait_until

RAY_PORT = 6379
API_PORT = 8001
_MEMORY = "--object-store-memory 300000000"


class Cluster:
    """Ray with a token on machines of one network; the platform is started on the head, as an operator does it.

    Args:
        network: the machines.
        head: the machine that runs Ray's head and the platform's supervisor.
        settings: settings of the platform, as environment variables of the head.
    """

    def __init__(self, network: Network, head: str = "a", settings: Mapping[str, str] | None = None) -> None:
        self.network = network
        self.head = network[head]
        self.settings = {
            "GOD_PASSWORD_SHA256": hashlib.sha256(OPERATOR_TOKEN.encode()).hexdigest(),
            "SHARE_PATH": str(network.share),
            **(settings or {}),
        }
        self.ray_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.url = f"http://{self.head.ip}:{API_PORT}"

    def start(self, *workers: str, cpus: int = 2) -> None:
        """Start Ray on the head and on the workers, and the platform."""
        self.start_head(cpus=cpus)
        for name in workers:
            self.join(name, cpus=cpus)
        self.up()

    def start_service_first(self, *workers: str, cpus: int = 2, options: str = "") -> None:
        """Start Ray and the platform on the head alone, so that the HTTP service is there, and then the workers."""
        self.start_head(cpus=cpus)
        self.up()
        for name in workers:
            self.join(name, cpus=cpus, options=options.format(name=name))

    def start_head(self, *, cpus: int = 2, options: str = "") -> None:
        """Start Ray's head; its dashboard stays off unless the options say otherwise."""
        dashboard = "" if "--include-dashboard" in options else "--include-dashboard=false"
        self._ray(self.head, f"--head --port={RAY_PORT} {dashboard} --num-cpus={cpus} {options}", self.settings)

    def join(self, name: str, *, cpus: int = 2, options: str = "") -> Machine:
        """Start Ray on a machine of the network, which need not exist yet."""
        machine = self.network.machines.get(name) or self.network.add(name)
        share = {"SHARE_PATH": self.settings["SHARE_PATH"]}
        self._ray(machine, f"--address={self.head.ip}:{RAY_PORT} --num-cpus={cpus} {options}", share)
        return machine

    def _ray(self, machine: Machine, options: str, settings: Mapping[str, str]) -> None:
        environment = 'eval "$(python -m pixyz_ray.cluster.environment)"'
        start = f"ray start {options} --node-ip-address={machine.ip} {_MEMORY} --disable-usage-stats"
        machine.run(f"{environment} && {start}", env={**self.ray_token, **settings})

    def up(self, options: str = "", *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Start the platform on the cluster."""
        command = f"pixyz up --detach --address auto --host 0.0.0.0 --port {API_PORT} {options}"
        return self.head.run(command, check=check, timeout_s=180, env={**self.ray_token, **self.settings})

    def down(self, options: str = "", *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Stop the platform; Ray goes on."""
        return self.pixyz(f"down {options}", check=check)

    def pixyz(
        self, arguments: str, *, check: bool = True, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line on the head, as its operator."""
        env = {**self.ray_token, **self.settings}
        return self.head.run(f"pixyz {arguments}", check=check, timeout_s=timeout_s, env=env)

    def client(self, *, timeout_s: float = 30.0, url: str | None = None) -> RestClient:
        """Return a client with the operator's token; close it after use."""
        return RestClient(url or self.url, OPERATOR_TOKEN, timeout_s=timeout_s)

    def wait_until_ready(self, *, deadline_s: float = 60.0) -> None:
        """Return when the HTTP service takes jobs."""

        def ready() -> bool:
            with suppress(Exception), self.client(timeout_s=2.0) as rest:
                return bool(rest.http.get("/health").json().get("ready"))
            return False

        wait_until(ready, f"{self.url} is ready", deadline_s=deadline_s, every_s=0.2)
