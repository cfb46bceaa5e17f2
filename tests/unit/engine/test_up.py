"""`pixyz up --replace`, up to the moment at which the platform that is up leaves."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixyz_ray.cluster.up import up
from pixyz_ray.home import Platform, write_platform
from pixyz_ray.setting_reading import Reading


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that the home names as its supervisor."""
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "pixyz_ray.cluster.supervisor"])
    write_platform(
        Platform(
            url="http://127.0.0.1:9",
            token="t",
            pid=process.pid,
            started=time.time(),
            version="1",
            ray_address="127.0.0.1:6379",
            session="s",
            options={"port": 9123},
        )
    )
    yield process
    process.kill()
    process.wait()


def test_the_settings_are_told_before_anything_is_ended(
    supervisor: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a platform that is up, when replaced, then the settings, its port among them, are told first."""
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    told: list[Reading] = []

    def tell(reading: Reading) -> None:
        told.append(reading)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        up(replace=True, before_replacing=tell)
    settings = told[0].checked()
    assert (settings.api_port, settings.log_level) == (9123, "ERROR")
    assert supervisor.poll() is None
