"""Files that are read in a process of their own: whatever that process does, the caller gets a sentence."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy
import psutil
import pytest

from pixyz_worker.exception import FormatError, PixyzSecurityViolation, UnsupportedFormat
from pixyz_worker.kernel import child_process, isolation, process_tree
from pixyz_worker.kernel.child_process import Ending
from pixyz_worker.kernel.limits import Limits
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


def try_all(*ways: tuple[str, Path]) -> list[Scene | Exception]:
    """Read side by side, each with a reader of its own; what is raised is given back."""

    def attempt(way: tuple[str, Path]) -> Scene | Exception:
        try:
            return read(*way)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(ways)) as pool:
        return list(pool.map(attempt, ways))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked how."""
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True


def noted(path: Path) -> int:
    """The process that reads a file, once it has said so."""
    note = path.with_suffix(".pid")
    wait_until(lambda: note.exists() and note.read_text() != "")
    return int(note.read_text())


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
    assert isinstance(part.mesh.positions, numpy.ndarray)
    assert not part.mesh.positions.flags.owndata, "it is a view of a file that is gone"
    assert not part.mesh.positions.flags.writeable
    assert list(folder.iterdir()) == []


FAULTS: dict[str, tuple[type[Exception], str]] = {
    "segfault": (FormatError, r"part\.stl crashes the library that reads it \(signal 11, SIGSEGV\)"),
    "abort": (FormatError, r"part\.stl crashes the library .*SIGABRT"),
    "bad_alloc": (FormatError, r"part\.stl needs more memory to be read.*MAX_IMPORT_BYTES"),
    "kill": (FormatError, r"part\.stl could not be read.*killed.*memory"),
    "leave": (FormatError, r"part\.stl ended the process that read it, with exit code 3"),
    "leave_quietly": (FormatError, r"part\.stl ended the process that read it before it was done"),
    "system_exit": (FormatError, r"part\.stl ended the process that read it, with exit code 1"),
    "refuse": (FormatError, r"part\.stl cannot be read as STL: line 7 makes no sense\.$"),
    "fail": (FormatError, r"part\.stl cannot be read as STL: KeyError: 'vertices'\.$"),
    "refuse_in_full": (FormatError, r"part\.stl is a drawing\.$"),
    "broken_result": (ValueError, r".*refer to vertices that are not there"),
    "need_more": (UnsupportedFormat, r"this needs the system library libGL\.so\.1$"),
    "escape": (PixyzSecurityViolation, r"\.\./x reaches outside its folder$"),
}


if sys.platform == "win32":
    FAULTS["segfault"] = (FormatError, r"part\.stl crashes the library that reads it \(0xc0000005, access violation\)")
    FAULTS["abort"] = (FormatError, r"part\.stl (crashes the library|ended the process that read it)")
    del FAULTS["kill"]  # nobody there is killed for memory

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def test_what_goes_wrong_there_is_a_sentence_here(file: Path, folder: Path) -> None:
    """Given readers that end their process, or give up, then sentences say what happened; errors keep their kind."""
    *bad, good = try_all(*((reader, file) for reader in FAULTS), ("good", file))
    for reader, found in zip(FAULTS, bad, strict=True):
        kind, sentence = FAULTS[reader]
        assert type(found) is kind, (reader, found)
        assert re.match(sentence, str(found)), (reader, found)
    assert isinstance(good, Scene)
    assert list(folder.iterdir()) == []


def test_time_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given readers that hang, when their time is over, then they are gone, and the sentence names the setting."""
    monkeypatch.setenv("MAX_IMPORT_SECONDS", "1.2")
    files = [file.with_name("one.stl"), file.with_name("two.stl")]
    began = time.monotonic()
    ends = try_all(("hang", files[0]), ("hang" if sys.platform == "win32" else "hold_the_lock", files[1]))
    assert time.monotonic() - began < 5
    for path, found in zip(files, ends, strict=True):
        assert isinstance(found, FormatError)
        assert re.match(rf"{path.name} takes longer.* 1\.2 s .*MAX_IMPORT_SECONDS", str(found))
        assert is_gone(noted(path))


def test_memory_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given readers that eat memory, when they have what they may have, then the sentence names the setting."""
    monkeypatch.setenv("MAX_IMPORT_BYTES", str(256 << 20))
    for found in try_all(("eat", file), ("gulp", file)):
        assert isinstance(found, FormatError)
        assert re.match(r"part\.stl needs more memory .* 268435456 bytes .*MAX_IMPORT_BYTES", str(found))


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


@pytest.mark.parametrize("reader", ["leave_child", pytest.param("fork", marks=posix)])
def test_children_of_the_reader_do_not_outlive_it(reader: str, file: Path) -> None:
    """Given a reader that leaves a process behind, when the file is read, then that is not waited for, and ended."""
    began = time.monotonic()
    assert read(reader, file).name == "part"
    assert time.monotonic() - began < 20
    left = int(file.with_suffix(".child").read_text())
    wait_until(lambda: is_gone(left))


@posix
def test_a_killed_parent_leaves_no_child(file: Path) -> None:
    """Given jobs that are killed or cancelled while they read, then the processes that read end too."""
    code = (
        # Who starts a job in the background may have told it to ignore SIGINT.
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from pathlib import Path; from pixyz_worker.kernel import isolation, options;"
        f"isolation.read('{READERS}:hang', Path(sys.argv[1]), options.ReadOptions())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    paths = {end: file.with_name(f"{end.name}.stl") for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)}
    jobs = {
        end: subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment, stderr=subprocess.DEVNULL)
        for end, path in paths.items()
    }
    readers = {end: noted(path) for end, path in paths.items()}
    for end, job in jobs.items():
        job.send_signal(end)
        assert job.wait(20) != 0
    wait_until(lambda: all(map(is_gone, readers.values())))


@posix
def test_an_exception_in_the_parent_leaves_no_child(file: Path) -> None:
    """Given a reader that hangs, with a child, when the main thread is interrupted, then both are gone."""

    def interrupt() -> None:
        noted(file)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            read("hang_with_child", file)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert is_gone(noted(file))
    wait_until(lambda: is_gone(int(file.with_suffix(".child").read_text())))


def test_a_strangers_file_is_not_imported(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a file in the current folder that has the name of a module, when the child starts, then it is let be."""
    for name in ("colorsys.py", "json.py", "pixyz_worker.py"):
        (file.parent / name).write_text("raise SystemExit('stranger')")
    monkeypatch.chdir(file.parent)
    assert str(file.parent) not in read("imported_by", file).name


def test_names_of_files_may_be_anything(tmp_path: Path) -> None:
    """Given names with spaces, dashes and bytes that are no text, when the files are read, then they are found."""
    names = ["-c.stl", "a b'.stl", "größe.stl"]
    if sys.platform == "linux":
        names += ['"quoted".stl', os.fsdecode(b"\xff\xfe.stl")]
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(b"x")
    found = try_all(*(("good", path) for path in paths))
    assert [scene.name for scene in found if isinstance(scene, Scene)] == [path.stem for path in paths]


@posix
def test_without_waitid_it_works_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a system that cannot wait without taking the exit code, when files are read, then nothing else changes."""
    monkeypatch.delattr("os.waitid")
    good, bad = try_all(("good", file), ("segfault", file))
    assert isinstance(good, Scene)
    assert "SIGSEGV" in str(bad)
    monkeypatch.setenv("MAX_IMPORT_SECONDS", "0.2")
    with pytest.raises(FormatError, match="MAX_IMPORT_SECONDS"):
        read("hang", file)


@pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed")
def test_memory_is_bounded_from_outside(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a system that holds no process to its limit, when a reader exceeds it, then it is ended all the same."""
    monkeypatch.setattr(process_tree, "sys", SimpleNamespace(platform="darwin"))
    child = [sys.executable, "-c", "import time; kept = bytearray(b'x' * (200 << 20)); time.sleep(60)"]
    ending = child_process.run(child, os.environ, allowed_s=30, most_bytes=100 << 20)
    assert (ending.too_large, ending.too_late, ending.code) == (True, False, None)
    with pytest.raises(FormatError, match=r"part\.stl needs more memory .*MAX_IMPORT_BYTES"):
        isolation._raise_problem(ending, file, Limits())


@posix
def test_a_process_looks_after_its_parent_where_the_system_does_not(tmp_path: Path) -> None:
    """Given a system without PR_SET_PDEATHSIG, when a parent is killed, then its helper ends too."""
    note = tmp_path / "helper.pid"
    helper = (
        "import sys, os, time; from types import SimpleNamespace; from pixyz_worker.kernel import death;"
        "death.sys = SimpleNamespace(platform='darwin'); death.die_with_parent(int(sys.argv[1]));"
        "open(sys.argv[2], 'w').write(str(os.getpid())); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, os, time;"
        f"subprocess.Popen([sys.executable, '-c', {helper!r}, str(os.getpid()), sys.argv[1]]); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    job = subprocess.Popen([sys.executable, "-c", parent, str(note)], env=environment)
    wait_until(lambda: note.exists() and note.read_text() != "")
    job.kill()
    job.wait()
    wait_until(lambda: is_gone(int(note.read_text())))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0xC0000005, "crashes the library that reads it (0xc0000005, access violation)"),
        (0xC000001D, "crashes the library that reads it (0xc000001d, an exception of Windows)"),
        (1, "with exit code 1"),
    ],
)
def test_exit_codes_of_windows(code: int, words: str, file: Path) -> None:
    """Given the exit codes with which Windows ends a process that crashes, then the sentence says so."""
    with pytest.raises(FormatError, match=re.escape(words)):
        isolation._raise_problem(Ending(code=code, answer=b""), file, Limits())
