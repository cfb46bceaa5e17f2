"""Files that are read in a process of their own: whatever that process does, the caller gets a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from pixyz_worker.exception import FormatError, PixyzException, PixyzSecurityViolation, UnsupportedFormat
from pixyz_worker.kernel import isolation
from pixyz_worker.kernel.options import ReadOptions, Tessellation
from pixyz_worker.kernel.scene import Scene

READERS = "tests.unit.kernel.hostile_readers"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What is read."""
    path = tmp_path / "part.stl"
    path.write_bytes(b"solid")
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where processes leave their temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def read(reader: str, path: Path, options: ReadOptions | None = None) -> Scene:
    """Read with one of the hostile readers."""
    return isolation.read(f"{READERS}:{reader}", path, options or ReadOptions())


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_scene_comes_back(file: Path, folder: Path) -> None:
    """Given a good file, when it is read, then the scene is here, the options were there, and nothing is left."""
    scene = read("good", file, ReadOptions(unit_m=0.5, tessellation=Tessellation(angle_deg=10, sag_m=0.25)))
    (part,) = scene.parts()
    assert part.mesh is not None
    assert part.mesh.positions[0].tolist() == [0.5, 10, 0.25]
    assert not part.mesh.positions.flags.owndata
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("reader", "sentence"),
    [
        ("segfault", r"part\.stl crashes the library that reads it \(signal 11, SIGSEGV\)"),
        ("abort", r"part\.stl crashes the library .*SIGABRT"),
        ("bad_alloc", r"part\.stl needs more memory to be read.*MAX_IMPORT_BYTES"),
        ("kill", r"part\.stl could not be read.*killed.*memory"),
        ("leave", r"part\.stl ended the process that read it, with exit code 3"),
        ("leave_quietly", r"part\.stl ended the process that read it before it was done"),
        ("system_exit", r"part\.stl ended the process that read it, with exit code 1"),
        ("refuse", r"part\.stl cannot be read as STL: line 7 makes no sense\."),
        ("fail", r"part\.stl cannot be read as STL: KeyError: 'vertices'\."),
        ("refuse_in_full", r"^part\.stl is a drawing\.$"),
        ("broken_result", r"refer to vertices that are not there"),
    ],
)
def test_what_goes_wrong_there_is_a_sentence_here(reader: str, sentence: str, file: Path, folder: Path) -> None:
    """Given a reader that ends its process, or gives up, when a file is read, then a sentence says what happened."""
    with pytest.raises((FormatError, ValueError), match=sentence):
        read(reader, file)
    assert list(folder.iterdir()) == []
    assert read("good", file).name == "part"


@pytest.mark.parametrize(("reader", "kind"), [("need_more", UnsupportedFormat), ("escape", PixyzSecurityViolation)])
def test_errors_of_ours_keep_their_kind(reader: str, kind: type[PixyzException], file: Path) -> None:
    """Given an error of ours in the child, when a file is read, then it is raised here as what it is."""
    with pytest.raises(kind) as caught:
        read(reader, file)
    assert type(caught.value) is kind


@pytest.mark.parametrize("reader", ["hang", "hold_the_lock"])
def test_time_is_bounded(reader: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a reader that hangs, when its time is over, then it is gone, and the sentence names the setting."""
    monkeypatch.setenv("MAX_IMPORT_SECONDS", "0.7")
    began = time.monotonic()
    with pytest.raises(FormatError, match=r"part\.stl takes longer.* 0\.7 s .*MAX_IMPORT_SECONDS"):
        read(reader, file)
    assert time.monotonic() - began < 5
    assert is_gone(int(file.with_suffix(".pid").read_text()))


@pytest.mark.parametrize("reader", ["eat", "gulp"])
def test_memory_is_bounded(reader: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a reader that eats memory, when it has what it may have, then the sentence names the setting."""
    monkeypatch.setenv("MAX_IMPORT_BYTES", str(256 << 20))
    with pytest.raises(FormatError, match=r"part\.stl needs more memory .* 268435456 bytes .*MAX_IMPORT_BYTES"):
        read(reader, file)


def test_no_limit_is_no_limit(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given limits of 0, when a file is read, then nothing is bounded."""
    monkeypatch.setenv("MAX_IMPORT_SECONDS", "0")
    monkeypatch.setenv("MAX_IMPORT_BYTES", "0")
    assert read("good", file).name == "part"


def test_what_libraries_print_goes_to_the_log(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Given a library that prints without end, when a file is read, then its end is in the log, not in the way."""
    assert read("chatter", file).name == "part"
    out, err = capfd.readouterr()
    assert out == ""
    assert "warning 2999" in err
    assert len(err) <= 1 << 17


@pytest.mark.parametrize("reader", ["leave_child", "fork"])
def test_children_of_the_reader_do_not_outlive_it(reader: str, file: Path) -> None:
    """Given a reader that leaves a process behind, when the file is read, then that is not waited for, and ended."""
    began = time.monotonic()
    assert read(reader, file).name == "part"
    assert time.monotonic() - began < 20
    left = int(file.with_suffix(".child").read_text())
    wait_until(lambda: is_gone(left))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_parent_leaves_no_child(end: signal.Signals, file: Path) -> None:
    """Given a job that is killed or cancelled while it reads, then the process that reads ends too."""
    code = (
        "import sys; from pathlib import Path; from pixyz_worker.kernel import isolation, options;"
        f"isolation.read('{READERS}:hang', Path(sys.argv[1]), options.ReadOptions())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    job = subprocess.Popen([sys.executable, "-c", code, str(file)], env=environment, stderr=subprocess.DEVNULL)
    noted = file.with_suffix(".pid")
    wait_until(lambda: noted.exists() and noted.read_text() != "")
    job.send_signal(end)
    assert job.wait(20) != 0
    wait_until(lambda: is_gone(int(noted.read_text())))


def test_an_exception_in_the_parent_leaves_no_child(file: Path) -> None:
    """Given a reader that hangs, with a child, when the main thread is interrupted, then both are gone."""
    noted = file.with_suffix(".pid")

    def interrupt() -> None:
        wait_until(lambda: noted.exists() and noted.read_text() != "")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        read("hang_with_child", file)
    thread.join()
    assert is_gone(int(noted.read_text()))
    wait_until(lambda: is_gone(int(file.with_suffix(".child").read_text())))


def test_many_are_read_at_a_time(file: Path) -> None:
    """Given threads that read, one file good and one bad, when they do so at once, then each gets its own."""
    found: dict[int, str] = {}

    def work(number: int) -> None:
        try:
            found[number] = read("good" if number % 2 else "segfault", file).name
        except FormatError as error:
            found[number] = str(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[1], found[3]] == ["part", "part"]
    assert "SIGSEGV" in found[0] and "SIGSEGV" in found[2]


def test_a_strangers_file_is_not_imported(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a file in the current folder that has the name of a module, when the child starts, then it is let be."""
    for name in ("colorsys.py", "json.py", "pixyz_worker.py"):
        (file.parent / name).write_text("raise SystemExit('stranger')")
    monkeypatch.chdir(file.parent)
    assert str(file.parent) not in read("imported_by", file).name


def test_names_of_files_may_be_anything(tmp_path: Path) -> None:
    """Given names with spaces, dashes and bytes that are no text, when the files are read, then they are found."""
    for name in (b"-c.stl", b"a b'\".stl", b"\xff\xfe.stl", "größe.stl".encode()):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(b"x")
        assert read("good", path).name == path.stem


def test_a_large_scene_is_not_copied(file: Path) -> None:
    """Given a scene, when it came from the child, then its arrays are views of a file that is gone."""
    part = read("good", file).parts()[0]
    assert part.mesh is not None
    assert isinstance(part.mesh.positions, numpy.ndarray)
    assert not part.mesh.positions.flags.writeable


def test_without_pidfd_it_works_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a system that has no pidfd_open, or forbids it, when files are read, then nothing else changes."""

    def forbidden(pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr("os.pidfd_open", forbidden)
    monkeypatch.setenv("MAX_IMPORT_SECONDS", "2")
    assert read("good", file).name == "part"
    with pytest.raises(FormatError, match="SIGSEGV"):
        read("segfault", file)
    monkeypatch.setenv("MAX_IMPORT_SECONDS", "0.5")
    with pytest.raises(FormatError, match="MAX_IMPORT_SECONDS"):
        read("hang", file)
