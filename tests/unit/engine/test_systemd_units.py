"""The units of systemd and cluster.yaml agree with each other, with Ray and with the documents."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.scripts.scripts import start as ray_start

from pixyz_ray.settings import SETTINGS
from tests.platforms import ROOT
from tests.systemd_units import UNITS, Unit, example, parse_environment, read_unit

SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
FILES = {
    "/etc/pixyz/ray.env": example("ray.env.example", RAY_OPTIONS="--num-cpus=3 --labels=gpu=high"),
    "/etc/pixyz/pixyz.env": example("pixyz.env.example"),
}
HEAD, WORKER = "pixyz-ray-head.service", "pixyz-ray-worker.service"


def ray_options(command: str) -> dict[str, Any]:
    """Return how Ray parses the words after `ray start` in a shell command; it refuses unknown options."""
    words = shlex.split(re.split(r"bin/\"? ?ray\"? start|bin/ray start", command)[1])
    return ray_start.make_context("start", words).params


def cluster_yaml() -> dict[str, Any]:
    """Return cluster.yaml."""
    return yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def unit_options(name: str) -> dict[str, Any]:
    """Return the options of `ray start` in a unit."""
    unit = read_unit(name)
    return ray_options(unit.command(unit.environment(FILES))[-1])


def ports(options: dict[str, Any]) -> dict[str, Any]:
    """Return the ports among the options of `ray start`."""
    return {name: value for name, value in options.items() if name.endswith("port") and value is not None}


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_accepts_the_unit(name: str) -> None:
    """Given a unit, when systemd checks it, then it has nothing to say."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (package systemd)")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(UNITS / name)], capture_output=True, text=True, cwd=UNITS, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_each_unit_starts_again_and_stops_in_order(name: str) -> None:
    """Given a unit, then it is always restarted, stopped through its main process, and not by the OOM killer."""
    unit = read_unit(name)
    expected = {
        "User": "pixyz",
        "Restart": "always",
        "StartLimitIntervalSec": "0",
        "KillMode": "mixed",
        "LimitNOFILE": "65536",
        "OOMPolicy": "continue",
    }
    assert {key: unit.one(key) for key in expected} == expected


@pytest.mark.parametrize("name", [HEAD, WORKER])
def test_ray_stays_in_the_foreground_with_the_operators_options(name: str) -> None:
    """Given ray.env, when a unit starts Ray, then Ray stays in the foreground and has the machine's options."""
    options = unit_options(name)
    assert (options["block"], options["num_cpus"], options["labels"]) == (True, 3, "gpu=high")
    assert options["node_ip_address"] == "10.0.0.11"
    assert options["head"] is (name == HEAD)


def test_all_ways_to_start_ray_use_the_same_ports() -> None:
    """Given units and cluster.yaml, when their ports are compared, then they are equal, and documented."""
    start, join = cluster_yaml()["head_start_ray_commands"][1], cluster_yaml()["worker_start_ray_commands"][1]
    head, worker = ports(unit_options(HEAD)), ports(unit_options(WORKER))
    assert ports(ray_options(start)) == head
    assert ports(ray_options(join)) == worker
    assert worker.items() <= head.items()
    table = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    for port in {*head.values(), 8001, 8010} - {20000, 20999}:
        assert re.search(rf"(?m)^\|.*\b{port}\b", table), f"port {port} is not in the table of docs/cluster.md"
    assert "20000-20999" in table


def test_ports_do_not_overlap() -> None:
    """Given the ports of Ray and of the platform, then none is used twice."""
    used = ports(unit_options(HEAD))
    workers = range(used.pop("min_worker_port"), used.pop("max_worker_port") + 1)
    platform = parse_environment(FILES["/etc/pixyz/pixyz.env"])
    # The service's port has a neighbour that belongs to it.
    single = [*used.values(), int(platform["API_PORT"]), int(platform["API_PORT"]) + 1, int(platform["TRACKER_PORT"])]
    assert len(set(single)) == len(single)
    assert not set(single) & set(workers)


def test_examples_name_settings_that_exist() -> None:
    """Given the settings in the example and in cluster.yaml, when they are read, then each is a setting."""
    text = cluster_yaml()["setup_commands"][0].partition("<<'END'\n")[2].partition("\nEND")[0]
    assert parse_environment(FILES["/etc/pixyz/pixyz.env"]).keys() <= SETTINGS.keys()
    assert parse_environment(text).keys() - {"VENV"} <= SETTINGS.keys()


def test_failing_preparation_keeps_ray_from_starting(tmp_path: Path) -> None:
    """Given an installation whose environment cannot be printed, when the unit starts, then Ray is not started."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("python", "exit 1"), ("ray", f"touch {tmp_path}/started")):
        program = folder / name
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
    unit: Unit = read_unit(HEAD)
    files = {"/etc/pixyz/ray.env": example("ray.env.example", PIXYZ_VENV=str(tmp_path))}
    done = subprocess.run(unit.command(unit.environment(files)), capture_output=True, timeout=30)
    assert done.returncode != 0
    assert not (tmp_path / "started").exists()
