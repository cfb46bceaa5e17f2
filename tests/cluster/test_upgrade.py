"""Replace a platform that is up by another version with other settings, while jobs run and others are sent."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.clusters import RAY_PORT, Cluster
from tests.cluster.machines import Network
from tests.platforms import ROOT
from tests.waiting import wait_until

MACHINES = ("a", "b")
DRAIN_S = 6
NEW_VERSION = "0.2.0.dev1"
PACKAGES = ("pixyz_ray", "pixyz_worker", "serve_app", "processes")

# Writes when each attempt begins and ends, and the version that runs it.
SCRIPT = """
import time
from pathlib import Path
from pixyz_ray.version import VERSION

def main(pc, params):
    def note(what):
        with open(params["book"], "a") as book:
            book.write(f"{params['n']} {pc['retry'] + 1} {what}\\n")
    note("begin")
    deadline = time.monotonic() + params["seconds"] / (1 + 20 * pc["retry"])
    while time.monotonic() < deadline:
        time.sleep(0.02)
    note("end")
    return VERSION
"""


class Sender:
    """A client that goes on sending short jobs, each again until it is accepted.

    Args:
        cluster: where they go.
        book: where their attempts are written down.
    """

    def __init__(self, cluster: Cluster, book: Path) -> None:
        self._cluster = cluster
        self._book = book
        self._stop = threading.Event()
        self.uuids: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        with self._cluster.client(timeout_s=30.0) as rest:
            number = 1000
            while not self._stop.wait(0.1):
                number += 1
                params = {"book": str(self._book), "n": number, "seconds": 0.05}
                try:
                    self.uuids.append(rest.submit(SCRIPT, params=params))
                except (httpx.TransportError, AssertionError):
                    # It was not accepted, or the answer was lost: the next one has another number.
                    continue


@pytest.fixture(scope="module")
def code(network: Network) -> Path:
    """An installation of the platform that all machines see, to be upgraded in place."""
    folder = network.share / "installed"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for machine in network.machines.values():
        machine.environment["PYTHONPATH"] = str(folder)
    return folder


@pytest.fixture(scope="module")
def old(network: Network, code: Path) -> Iterator[Cluster]:
    """The platform of the old version on two machines."""
    cluster = Cluster(network)
    options = "--object-store-memory 300000000 --disable-usage-stats --num-cpus=2"
    head, other = network["a"], network["b"]
    start = f"ray start --head --port={RAY_PORT} --include-dashboard=false --node-ip-address={head.ip} {options}"
    head.run(start, env=cluster.ray_token)
    other.run(f"ray start --address={head.ip}:{RAY_PORT} --node-ip-address={other.ip} {options}", env=cluster.ray_token)
    cluster.up()
    yield cluster


def test_upgrade_with_jobs_running_loses_none_and_runs_none_twice(old: Cluster, code: Path) -> None:
    """Given short and long jobs and a client that sends others, when `up --replace` runs, then each ends once."""
    book = old.network.share / "book"
    with old.client() as rest, Sender(old, book) as sender:
        # Two end within the time that they are given, one does not.
        seconds = {1: 2.0, 2: 2.0, 3: 60.0}
        uuids = {n: rest.submit(SCRIPT, params={"book": str(book), "n": n, "seconds": s}) for n, s in seconds.items()}
        wait_until(lambda: book.exists() and {"1", "2", "3"} <= _begun(book), "the long ones run", deadline_s=60)
        wait_until(lambda: len(sender.uuids) > 5, "others are sent")

        version = code / "pixyz_ray" / "version.py"
        version.write_text(f'"""Version of the platform."""\n\nVERSION = "{NEW_VERSION}"\n', encoding="utf-8")
        old.settings["MAX_LOG_BYTES"] = "2MiB"
        sent_before = len(sender.uuids)
        said = old.up(f"--replace --drain {DRAIN_S}").stdout
        wait_until(lambda: len(sender.uuids) > sent_before + 10, "the new one takes jobs", deadline_s=30)

    with old.client() as rest:
        ended = {n: rest.end(uuid, deadline_s=60) for n, uuid in uuids.items()}
        short = [rest.end(uuid, deadline_s=60) for uuid in sender.uuids]
        attempts = {n: rest.details(uuid)["attempts"] for n, uuid in uuids.items()}
        assert rest.http.get("/health").json()["version"] == NEW_VERSION
    assert "Waiting for 1 running job, " in said
    assert f"Pixyz on Ray {NEW_VERSION} is up" in said
    assert [job["status"] for job in (*ended.values(), *short)] == ["SUCCESS"] * (len(ended) + len(short))
    assert [len(attempts[n]) for n in (1, 2, 3)] == [1, 1, 2]
    assert attempts[3][0]["failure"] == "node_lost"
    assert "was upgraded while the attempt ran" in attempts[3][0]["error"]
    assert ended[1]["result"] != NEW_VERSION == ended[3]["result"] == short[-1]["result"]
    ends = Counter(line.split()[0] for line in book.read_text().splitlines() if line.endswith(" end"))
    assert set(ends.values()) == {1}, ends.most_common(3)
    assert len(ends) >= len(uuids) + len(sender.uuids)


def test_same_platform_is_not_replaced_unless_it_is_asked_for(old: Cluster) -> None:
    """Given a platform that is up, when `up` is called again, then it is refused, and says how to take its place."""
    done = old.up(check=False)
    assert done.returncode == 1
    assert "pixyz up --replace" in done.stderr


def test_replacement_that_cannot_join_leaves_the_platform_as_it_is(old: Cluster) -> None:
    """Given a wrong token, when a replacement is tried, then it is refused, and the platform keeps its supervisor."""
    before = old.pixyz("doctor", check=False).stdout
    command = "pixyz up --detach --replace"
    done = old.head.run(command, check=False, env={**old.ray_token, **old.settings, "RAY_AUTH_TOKEN": "0" * 64})
    assert done.returncode == 1
    assert "does not take the token" in done.stderr
    assert "Taking the place" not in done.stdout
    assert old.pixyz("doctor", check=False).stdout == before


def test_drain_before_down_lets_jobs_end(old: Cluster) -> None:
    """Given a running job, when `down --drain` is called, then it ends first; the command says what it waits for."""
    book = old.network.share / "drained"
    with old.client() as rest:
        uuid = rest.submit(SCRIPT, params={"book": str(book), "n": 1, "seconds": 8.0})
        wait_until(lambda: book.exists() and "1" in _begun(book), "it runs", deadline_s=30)
    said = _lines(old.down("--drain 30"))
    assert any(line.startswith("Waiting for 1 running job, ") for line in said), said
    assert book.read_text().splitlines() == ["1 1 begin", "1 1 end"]
    old.up()
    with old.client() as rest:
        assert rest.end(uuid)["status"] == "SUCCESS"
        assert len(rest.details(uuid)["attempts"]) == 1


def _begun(book: Path) -> set[str]:
    return {line.split()[0] for line in book.read_text().splitlines()}


def _lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return done.stdout.splitlines()
