"""A platform that is started with the configuration file of the scheduler before it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.listening import is_loopback, listening_sockets
from tests.platforms import TestPlatform

CONFIGURATION = """\
; memory of a worker, in KB: 2 GB
MAX_MEMORY_USAGE=2097152
REDIS_HOST = redis.example.com
PIXYZ_TIME_LIMT=60
QUEUE_NAME="cpu,render"
MAX_ARCHIVE_BYTES=3GB
DEBUG=true
API_HOST=0.0.0.0
SHARE_UMASK=027
"""
TAKES_MEMORY = """\
import os, time

def main(pc, params):
    blocks = []
    for _ in range(params["mb"] // 64):
        blocks.append(bytearray(os.urandom(1 << 20)) * 64)
        time.sleep(0.02)
    return os.environ["MAX_ARCHIVE_BYTES"]
"""


@pytest.fixture(scope="module")
def platform() -> Iterator[TestPlatform]:
    """A home with the configuration file in it; another one, where the command is run, does not count."""
    platform = TestPlatform(CONCURRENT_TASKS="2")
    (platform.home / "pixyz-scheduler.conf").write_text(CONFIGURATION, encoding="utf-8")
    (platform.home / "here").mkdir()
    (platform.home / "here" / "pixyz-scheduler.conf").write_text("API_PORT=nonsense\n", encoding="utf-8")
    try:
        yield platform
    finally:
        platform.close()


def test_given_old_settings_when_started_then_they_work_and_each_mistake_is_told_once(platform: TestPlatform) -> None:
    """On the terminal and in the log; the limit is 2 GB, the new queue is there, workers have plain numbers."""
    file, here = platform.home / "pixyz-scheduler.conf", platform.home / "here"
    done = platform.cli("up", "--detach", "--port", str(platform.port), timeout_s=150, cwd=here)
    assert done.returncode == 0, done.stderr
    platform.sessions.append(platform.record.session)
    said = done.stderr.splitlines()
    assert [line.partition(")")[0] for line in said[:2]] == [
        f"REDIS_HOST (in {file}, line 3",
        f"PIXYZ_TIME_LIMT (in {file}, line 4",
    ]
    assert said[1].endswith("is not a setting. Did you mean PIXYZ_TIME_LIMIT?")
    assert said[2].startswith(f"{here / file.name} is not used")
    assert len(said) == 3
    log = (platform.home / "supervisor.log").read_text(encoding="utf-8")
    assert all(log.count(line) == 1 for line in said)
    assert not any(line in done.stdout for line in said)
    with platform.client() as rest:
        small = rest.run(TAKES_MEMORY, params={"mb": 512}, config={"queue": "render"}, deadline_s=60)
        assert (small["status"], small["result"]) == ("SUCCESS", str(3 << 30)), small
        large = rest.run(TAKES_MEMORY, params={"mb": 6144}, config={"queue": "render", "retries": 0}, deadline_s=120)
        assert large["status"] == "FAILURE"
        assert "memory limit of 2 GiB" in large["error"]


def test_exposure_to_all_machines(platform: TestPlatform) -> None:
    """Given API_HOST=0.0.0.0, when all sockets are listed, then only the service's port is open to other machines.

    Serve's proxy and gRPC, Ray's ports and the tracker's channel are on loopback.
    """
    listening = {(address, port) for _, address, port in listening_sockets(platform)}
    assert len(listening) > 5
    assert {one for one in listening if not is_loopback(one[0])} == {("0.0.0.0", platform.port)}


def test_share_umask(platform: TestPlatform) -> None:
    """Given SHARE_UMASK=027, when a job has run, then its group can read its files and others cannot."""
    with platform.client() as rest:
        uuid = rest.submit("def main(pc, params):\n    open('made', 'w').close()\n", file=("in.txt", b"x"))
        rest.end(uuid)
    folder = platform.home / "share" / uuid
    paths = [folder, *folder.rglob("*")]
    assert {"in.txt", "made", "job.log"} <= {path.name for path in paths}
    expected = {path: 0o750 if path.is_dir() else 0o640 for path in paths}
    assert {path: path.stat().st_mode & 0o777 for path in paths} == expected


def test_callback_with_debug(platform: TestPlatform) -> None:
    """Given DEBUG, when a webhook is sent to /dev/callback, then JSON with a token is taken, and nothing else."""
    with platform.client() as rest:
        for body in (b'{"uuid": "x", "status": "SUCCESS"}', b"[1, 2]", b"null"):
            assert rest.http.post("/dev/callback", content=body).status_code == 200
        assert rest.http.post("/dev/callback", content=b"{").status_code == 400
        assert rest.http.post("/dev/callback", content=b"[" + b"1," * 600_000 + b"1]").status_code == 413
    assert httpx.post(f"{platform.url}/dev/callback", content=b"{}").status_code == 401


def test_given_a_bad_setting_when_started_then_one_sentence_says_so(platform: TestPlatform) -> None:
    """Nothing is started, and no traceback is shown."""
    file = platform.home / "bad.conf"
    file.write_text("# KB\n\nMAX_MEMORY_USAGE=2 parsecs\nCLEANUP_DELAY=soon\n", encoding="utf-8")
    platform.env["PIXYZ_CONFIG"] = str(file)
    done = platform.cli("up", "--detach")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"Error: CLEANUP_DELAY=soon (in {file}, line 4) is not a duration: write a number of seconds, "
        "or a duration such as 90s, 1h30m or 7d.",
        f"MAX_MEMORY_USAGE=2 parsecs (in {file}, line 3) is not a size: write a number of KB, "
        "or a size such as 2GB or 512MB.",
    ]
    del platform.env["PIXYZ_CONFIG"]
