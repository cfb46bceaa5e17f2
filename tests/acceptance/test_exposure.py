"""What others on this machine, or beyond it, can reach of a platform."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

from pixyz_ray.cluster.ray_folder import ray_folder
from tests.listening import is_loopback, listening_sockets
from tests.platforms import ROOT, TestPlatform
from tests.postgres import store_of_tests
from tests.waiting import wait_until


def test_given_a_platform_when_its_sockets_are_listed_then_each_is_on_loopback(platform: TestPlatform) -> None:
    """Ray's, Serve's, the tracker's and the service's."""
    listening = list(listening_sockets(platform))
    assert any("ServeReplica" in name for name, _, _ in listening)
    assert [one for one in listening if not is_loopback(one[1])] == []


def test_given_another_user_without_a_token_when_each_port_is_asked_then_none_does_anything(
    platform: TestPlatform,
) -> None:
    """Loopback is open to all users of the machine: Ray asks for its token, the service for ours."""
    titles = {str(port): title for title, _, port in listening_sockets(platform)}
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, str(ROOT / "tests" / "stranger.py"), *titles]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    refusing = set()
    for port, answers in json.loads(done.stdout).items():
        codes = set(answers["grpc"].values())
        # UNAVAILABLE: no gRPC at all.
        assert codes <= {"UNAUTHENTICATED", "UNIMPLEMENTED", "UNAVAILABLE"}, (titles[port], answers)
        refusing |= {titles[port]} if "UNAUTHENTICATED" in codes else set()
        for status, text in answers["http"].values():
            harmless = text.startswith(("# HELP", "Welcome to Pixyz"))
            assert status in {0, 401, 404} or (status == 200 and harmless), (titles[port], answers)
    for name in ("gcs_server", "raylet/raylet", "ray::TrackerActor", "ray::ServeReplica", "pixyz_ray.cluster"):
        assert any(name in title for title in refusing), (name, refusing)


def test_given_the_table_of_ports_when_sockets_are_listed_then_each_process_has_its_row(platform: TestPlatform) -> None:
    """docs/security.md names the processes that listen, and no others."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("## Ports")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`", page, re.MULTILINE)
    titles = {title for title, _, _ in listening_sockets(platform)}
    assert len(rows) > 8
    assert {title for title in titles if not any(row in title for row in rows)} == set()
    # These two have fixed ports, and go without where another Ray of this machine has them.
    absent = {row for row in rows if not any(row in title for title in titles)}
    assert absent <= {"dashboard.py", "monitor.py"}


def _rights(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_given_a_running_platform_when_its_home_is_walked_then_its_owner_alone_can_read_it(
    platform: TestPlatform, finished: str
) -> None:
    """The folder itself, tokens, logs, and the job store with SQLite's own files; the share has rights of its own."""
    files = [path for path in platform.home.iterdir() if path.is_file()]
    expected = {"token", "ray-token", "platform.json", "supervisor.log", "supervisor.lock"}
    expected |= {"jobs.db", "jobs.db-wal"} if store_of_tests() == "sqlite" else set()
    assert expected <= {path.name for path in files}
    assert {path.name: oct(_rights(path)) for path in (platform.home, *files) if _rights(path) & 0o077} == {}


def test_given_a_running_platform_when_rays_files_are_walked_then_only_its_owner_gets_there(
    platform: TestPlatform, finished: str
) -> None:
    """Ray opens its own folders to everybody, which must be of no use to anybody; its sockets have short names."""
    folder = ray_folder(platform.home)
    assert folder.is_relative_to("/tmp")
    assert _rights(folder.parent) == 0o700
    assert folder.parent.stat().st_uid == os.geteuid()
    sockets = [path for path in folder.rglob("*") if path.is_socket()]
    assert sockets
    assert all(len(os.fsencode(path)) <= 107 for path in sockets)
    assert (folder / "spilled").is_dir()
    assert not list(Path("/tmp").glob(f"pixyz-*-{folder.name.removeprefix('ray-')}"))


def test_given_a_job_when_its_files_are_walked_then_colleagues_can_read_them_as_the_umask_says(
    platform: TestPlatform, finished: str
) -> None:
    """Those of the HTTP service and those of the worker: SHARE_UMASK is that of whoever started the platform."""
    mask = os.umask(0o022)
    os.umask(mask)
    share = platform.home / "share"
    with platform.client() as client:
        archive = f"/jobs/{finished}/outputs/archive"
        wait_until(lambda: client.http.get(archive).status_code == 200, "the archive is packed")
    paths = [share, share / finished, *(share / finished).rglob("*")]
    assert {"script", "outputs", "archives", "a.txt", "job.log", "outcome-1.json"} <= {path.name for path in paths}
    modes = {path.relative_to(share).as_posix(): (0o777 if path.is_dir() else 0o666, _rights(path)) for path in paths}
    assert {name: oct(mode) for name, (most, mode) in modes.items() if mode != most & ~mask} == {}


def test_given_an_address_of_all_machines_when_no_token_was_set_then_the_platform_does_not_start() -> None:
    """There is no default password to fall back to."""
    platform = TestPlatform(GOD_PASSWORD_SHA256="")
    try:
        done = platform.cli("up", "--detach", "--host", "0.0.0.0", "--port", str(platform.port))
        assert done.returncode != 0
        assert "GOD_PASSWORD_SHA256" in done.stderr
    finally:
        platform.close()
