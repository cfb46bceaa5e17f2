"""GPU memory: NVML read by ctypes, and what a watchdog does with it. NVML itself is a small library built here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pixyz_ray.watchdog.nvml import holds_gpu
from tests.watched_workers import ROOT, Start, Tracker

MIB = 1 << 20
ASK = """
import json
from pixyz_ray.watchdog.nvml import Nvml
with Nvml.opened() as nvml:
    print(json.dumps(nvml and [nvml.cards(), nvml.usage()]))
"""
USE = """
def use(*rows):
    with open(GPUS + ".new", "w") as file:
        for card, pid, size in rows:
            print(card, pid, size, file=file)
    os.rename(GPUS + ".new", GPUS)
GPUS = os.environ["FAKE_GPUS"]
ME = os.getpid()
"""


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install NVML for processes that are started; return the file of what is on its cards."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler to build a stand-in for NVML with")
    source = Path(__file__).with_name("nvml.c")
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("FAKE_GPUS", str(tmp_path / "gpus"))
    return tmp_path / "gpus"


def ask() -> str:
    """Return what NVML says in a process without site packages."""
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(ROOT)!r})\n{ASK}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout.strip()


def test_nvml(gpus: Path) -> None:
    """Given cards with processes, when asked, then cards and the memory of processes are known, however many."""
    gpus.write_text("0 5 100\n0 6 200\n1 5 300\n")
    cards = [{"model": "Card 0", "memory": 16 << 30}, {"model": "Card 1", "memory": 8 << 30}]
    assert json.loads(ask()) == [cards, [{"5": 100, "6": 200}, {"5": 300}]]
    gpus.write_text("".join(f"1 {pid} 1\n" for pid in range(1, 301)))
    assert ask().count(": 1,") == 299


def test_nvml_without_processes(gpus: Path) -> None:
    """Given a driver that does not tell the memory of a process, when asked, then that is not known, rather than 0."""
    gpus.write_text("0 5 18446744073709551615\n")
    assert ask().endswith("null]")


def test_no_nvml(gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no driver below the library, or no library, when asked, then there is no NVML."""
    monkeypatch.delenv("FAKE_GPUS")
    assert ask() == "null"
    gpus.with_name("libnvidia-ml.so.1").write_text("no library")
    assert ask() == "null"


def test_peak(gpus: Path, start: Start, tracker: Tracker) -> None:
    """Given an attempt that takes memory on two cards, when it ends, then the peak is that of the fuller one.

    Its child counts, a stranger does not; the next attempt begins afresh.
    """
    worker = start(f"""{USE}
begin(gpu_limit=2**64 - 1)
child = kids("input()", stdin=subprocess.PIPE)
use((0, ME, 100 << 20), (0, child.pid, 50 << 20), (1, ME, 120 << 20), (0, 1, 1 << 40))
time.sleep(1.5)
child.communicate(b"\\n")
usage = end(); say(gpu=usage.peak_gpu_memory, unwatched=usage.gpu_unwatched)
use()
begin(2, gpu_limit=2**64 - 1); time.sleep(0.3); usage = end(); say(gpu=usage.peak_gpu_memory)
begin(3); time.sleep(0.3); usage = end(); say(gpu=usage.peak_gpu_memory, unwatched=usage.gpu_unwatched)
""")
    worker.process.wait(20)
    assert [each["gpu"] for each in worker.said() if "gpu" in each] == [150 * MIB, None, None]
    assert not any(each.get("unwatched") for each in worker.said())
    assert any(about.get("peak_gpu_memory") == 150 * MIB for _, about in tracker.find("usage"))


def test_limit(gpus: Path, start: Start, tracker: Tracker) -> None:
    """Given an attempt that takes more on a card than it declared, when seen, then it is killed; the death says why."""
    worker = start(f"""{USE}
begin(gpu_limit=100 << 20)
use((1, ME, 90 << 20)); time.sleep(1.3); use((1, ME, 130 << 20)); time.sleep(60)
""")
    worker.process.wait(20)
    death = tracker.death()
    assert (death["reason"], death["peak_gpu_memory"], death["signal"]) == ("gpu_memory", 130 * MIB, 9)
    worker.wait_until_gone()


def test_unwatched(start: Start, tracker: Tracker) -> None:
    """Given a machine without NVML, when an attempt with a GPU ends, then it is known that nothing watched it."""
    worker = start("begin(gpu_limit=1); time.sleep(0.4); usage = end(); say(unwatched=usage.gpu_unwatched)")
    assert worker.hear("unwatched") is True
    assert not any("peak_gpu_memory" in about for _, about in tracker.find("usage"))


def test_holds_gpu(tmp_path: Path) -> None:
    """Given the open files of a process, when looked at, then a card counts, and the driver's other files do not."""
    for number, target in enumerate(("/dev/null", "/dev/nvidiactl", "/dev/nvidia-uvm", "socket:[5]")):
        (tmp_path / str(number)).symlink_to(target)
    assert not holds_gpu(str(tmp_path))
    (tmp_path / "9").symlink_to("/dev/nvidia0")
    assert holds_gpu(str(tmp_path))
    assert not holds_gpu()
