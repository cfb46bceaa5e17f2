"""What commands learn of a platform that is just being restarted."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from pixyz_ray.client.errors import unreachable
from pixyz_ray.home import Platform, write_platform
from pixyz_ray.run_record import RunRecord, outage, read_record, remove_record, write_record

URL = "http://127.0.0.1:8001"
MESSAGE = "restarting: the raylet has died (1 of 3)"
NO_PROCESS = 999_999_999


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose platform has a URL."""
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path))
    write_platform(
        Platform(url=URL, token="t", pid=1, started=0.0, version="1", ray_address="127.0.0.1:1", session="s"), tmp_path
    )
    return tmp_path


def test_given_a_record_when_written_then_it_is_read_until_it_is_removed(folder: Path) -> None:
    """Given a record, when written and removed, then the readers follow; another content counts as none."""
    assert read_record() is None
    record = RunRecord(pid=os.getpid(), session="s", status="up", message="up")
    write_record(record)
    assert read_record() == record
    (folder / "supervisor.json").write_text('{"pid": 1}')
    assert read_record() is None
    remove_record()
    remove_record()
    assert not (folder / "supervisor.json").exists()


@pytest.mark.parametrize(
    ("url", "status", "pid", "expected"),
    [
        (URL, "restarting", os.getpid(), MESSAGE),
        (f"{URL}/", "restarting", os.getpid(), MESSAGE),
        (URL, "restarting", NO_PROCESS, None),
        (URL, "up", os.getpid(), "its HTTP service is being restarted"),
        (URL, "up", NO_PROCESS, None),
        (URL, "starting", os.getpid(), "it is starting"),
        (URL, "failed", os.getpid(), None),
        ("http://elsewhere:8001", "restarting", os.getpid(), None),
    ],
)
def test_given_a_supervisor_when_nothing_answers_then_its_message_is_passed_on(
    folder: Path, url: str, status: str, pid: int, expected: str | None
) -> None:
    """Given what the supervisor does, when asked about a URL, then the answer says why that platform will come back."""
    write_record(RunRecord(pid=pid, session="s", status=status, message=MESSAGE))  # type: ignore[arg-type]
    assert outage(url) == expected
    error = unreachable(url, httpx.ConnectError("refused"))
    assert (expected or "Start one on this machine") in error.message
