"""Files that a script may replace by anything at any time: no read leads out of the job, blocks, or fills memory."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixyz_ray.confined_files import MAX_DEPTH, FileTooLarge, read_file
from pixyz_ray.node_outcomes import find_outcome, leave_outcome
from pixyz_ray.retention import remove_folder
from pixyz_ray.sandbox import captured_output, only_one
from pixyz_ray.storage import JobFolder
from pixyz_ray.watchdog.log_file import tail, trim
from pixyz_worker.exception import InvalidFile, PixyzFileNotFound, PixyzSecurityViolation

SECRET = "a secret of another job"
KINDS = ("link to a file", "link to a folder", "dangling link", "loop", "fifo", "socket", "device", "folder", "nothing")
PLACES = (
    "job.log",
    "outcome-1.json",
    "outcomes",
    "outcomes/a.jsonl",
    "outputs",
    "outputs/a.txt",
    "outputs/deep",
    "outputs/deep/b.txt",
    "archives",
    "archives/outputs.zip",
    "value.pickle",
    ".",
)


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder with a name short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="pxf-", dir="/tmp") as name:
        yield Path(name)


def _job(root: Path) -> JobFolder:
    (root / "elsewhere").mkdir(exist_ok=True)
    for name in ("secret", "a.txt", "b.txt", "outputs.zip", "outcome-1.json", "job.log", "a.jsonl"):
        (root / "elsewhere" / name).write_text(SECRET)
    folder = JobFolder(root / "share", str(uuid4()))
    for name in ("outputs/deep", "archives", "outcomes", "script", "inputs"):
        (folder.path / name).mkdir(parents=True)
    (folder.outputs / "a.txt").write_text("A")
    (folder.outputs / "deep" / "b.txt").write_text("B")
    folder.log.write_text("log")
    folder.lock.touch()
    return folder


def _replace(path: Path, kind: str, root: Path) -> None:
    """Put something else in the place of a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if kind == "link to a file":
        path.symlink_to(root / "elsewhere" / "secret")
    elif kind == "link to a folder":
        path.symlink_to(root / "elsewhere")
    elif kind == "dangling link":
        path.symlink_to(root / "nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener, suppress(OSError):
            listener.bind(str(path)[:100])


def _read_everything(folder: JobFolder) -> list[str]:
    """Read all that the platform reads of a job; return the texts."""
    texts = [folder.log_tail() or "", folder.read_log(0, 1000).decode(), str(folder.read_outcome(1))]
    texts.append(str(find_outcome(folder, folder.uuid, 1)))
    for name in {*folder.list_outputs(), "a.txt", "deep/b.txt", "secret", "deep"}:
        with suppress(PixyzFileNotFound, PixyzSecurityViolation):
            opened = folder.open_output(name)
            with os.fdopen(opened.descriptor) as file:
                texts.append(file.read())
    if (archive := folder.open_archive()) is not None:
        with os.fdopen(archive.descriptor, "rb") as file:
            texts.append(file.read().decode("utf-8", "replace"))
    with suppress(PixyzFileNotFound):
        texts.append(str(folder.kept_value()))
    return texts


@settings(max_examples=150)
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(KINDS)), min_size=1, max_size=3))
def test_given_any_file_replaced_when_the_job_is_read_then_nothing_of_another_is_shown(
    changes: list[tuple[str, str]],
) -> None:
    """Whatever stands there: a link, a FIFO that nobody writes to, a device without an end."""
    with tempfile.TemporaryDirectory(prefix="pxf-", dir="/tmp") as name:
        root = Path(name)
        folder = _job(root)
        for place, kind in changes:
            path = folder.path / place
            if path.parent.is_dir() and path.parent.resolve().is_relative_to(root / "share"):
                _replace(path, kind, root)
        assert SECRET not in "".join(_read_everything(folder))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["outputs", "outputs/a.txt", "outputs/deep", "archives", "archives/outputs.zip"])
def test_given_a_replaced_folder_when_outputs_are_packed_then_the_archive_has_the_jobs_own_files_alone(
    root: Path, place: str, kind: str
) -> None:
    """And it is written into the job's own folder, wherever `archives` leads."""
    folder = _job(root)
    _replace(folder.path / place, kind, root)
    if place == "outputs" and kind != "folder":
        with pytest.raises(InvalidFile, match="cannot be packed"):
            folder.pack()
        return
    if place == "archives/outputs.zip" and kind == "folder":
        with pytest.raises(InvalidFile, match="cannot be packed"):
            folder.pack()
        return
    with zipfile.ZipFile(folder.pack()) as archive:
        assert set(archive.namelist()) <= {"a.txt", "deep/b.txt"}
        assert SECRET.encode() not in b"".join(archive.read(name) for name in archive.namelist())
    assert (root / "elsewhere" / "outputs.zip").read_text() == SECRET


@pytest.mark.parametrize("kind", KINDS)
def test_given_a_replaced_log_when_the_next_attempt_runs_then_it_has_a_log_of_its_own(root: Path, kind: str) -> None:
    """Opening a FIFO for writing would wait for a reader that never comes."""
    folder = _job(root)
    for path in (folder.log, folder.lock, folder.marker(1)):
        _replace(path, kind, root)
    with only_one(folder.lock, folder.uuid), captured_output(str(folder.log), 2):
        os.write(1, b"printed\n")
    assert "printed" in (folder.log_tail() or "")
    folder.write_outcome(1, json.dumps({"ok": True}))
    assert folder.read_outcome(1) == {"ok": True}
    assert (root / "elsewhere" / "secret").read_text() == SECRET


@pytest.mark.parametrize("kind", KINDS)
def test_given_a_replaced_folder_of_outcomes_when_a_node_ends_then_its_outcome_is_kept(root: Path, kind: str) -> None:
    """The worker renames what is in its way, and follows no link."""
    folder, node = _job(root), str(uuid4())
    _replace(folder.path / "outcomes", kind, root)
    leave_outcome(folder, node, 1, '{"ok": true}')
    assert find_outcome(folder, node, 1) == {"ok": True}


@pytest.mark.parametrize("kind", ["link to a file", "fifo", "device", "socket"])
def test_given_a_replaced_log_when_the_watchdog_looks_then_it_is_not_held_up(root: Path, kind: str) -> None:
    """It looks after all attempts of its machine's worker."""
    folder = _job(root)
    (root / "elsewhere" / "secret").write_text("x" * 10_000)
    _replace(folder.log, kind, root)
    assert tail(str(folder.log)) == b""
    assert not trim(str(folder.log), 100)
    assert (root / "elsewhere" / "secret").stat().st_size == 10_000


def test_given_a_file_of_ten_gibibytes_when_read_then_it_is_refused(root: Path) -> None:
    """It takes no room on disk, and would take all memory."""
    folder = _job(root)
    with folder.marker(1).open("wb") as file:
        file.truncate(10 << 30)
    assert folder.read_outcome(1) is None
    with pytest.raises(FileTooLarge):
        read_file(folder.name, folder.marker(1).name, max_bytes=1000)
    with (folder.path / "outcomes" / "a.jsonl").open("wb") as file:
        file.truncate(16 << 20)
    assert find_outcome(folder, folder.uuid, 1, max_bytes=1000) is None


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_given_a_link_between_outputs_when_fetched_then_it_is_followed(root: Path, absolute: bool) -> None:
    """A script may call its last result `latest`."""
    folder = _job(root)
    (folder.outputs / "latest.txt").symlink_to(folder.outputs / "deep" / "b.txt" if absolute else "deep/b.txt")
    (folder.outputs / "deep" / "up.txt").symlink_to("../a.txt")
    assert folder.list_outputs() == ["a.txt", "deep/b.txt", "deep/up.txt", "latest.txt"]
    for name, content in (("latest.txt", "B"), ("deep/up.txt", "A"), ("deep/../a.txt", "A")):
        opened = folder.open_output(name)
        with Path(opened.path).open() as again:
            assert again.read() == content
        opened.close()


def test_given_a_file_that_is_swapped_all_the_time_when_it_is_fetched_then_never_the_other_content(root: Path) -> None:
    """Between a check and the open there is no moment in which a link could be followed."""
    folder, over = _job(root), threading.Event()
    path, link = folder.outputs / "deep", folder.outputs / "spare"
    link.symlink_to(root / "elsewhere")

    def swap() -> None:
        while not over.is_set():
            for one, other in ((path, root / "real"), (link, path), (path, link), (root / "real", path)):
                one.rename(other)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(3000):
            with suppress(PixyzFileNotFound, PixyzSecurityViolation):
                opened = folder.open_output("deep/b.txt")
                with os.fdopen(opened.descriptor) as file:
                    assert file.read() == "B"
    finally:
        over.set()
        thread.join()


def test_given_folders_too_deep_in_each_other_when_listed_then_it_is_said_at_once(root: Path) -> None:
    """Given thousands of folders in each other, when asked for, then neither time nor descriptors are spent on them."""
    folder = _job(root)
    here, depth = Path.cwd(), 3000
    try:
        os.chdir(folder.outputs)
        for _ in range(depth):
            Path("d").mkdir()
            os.chdir("d")
        Path("x").write_text("x")
    finally:
        os.chdir(here)
    began = time.process_time()
    for ask in (folder.list_outputs, folder.pack):
        with pytest.raises(InvalidFile, match=f"more than {MAX_DEPTH} deep"):
            ask()
    for name in ("d/" * depth + "x", "d/" * (MAX_DEPTH + 1) + "x"):
        with pytest.raises(PixyzFileNotFound):
            folder.open_output(name)
    assert time.process_time() - began < 2
    assert remove_folder(folder.share, folder.uuid)


def test_given_folders_as_deep_as_they_may_be_when_listed_then_the_file_is_there(root: Path) -> None:
    """Given a file at the greatest depth, when it is asked for, then it is listed and opened."""
    folder = _job(root)
    deepest = Path("/".join("d" * MAX_DEPTH))
    (folder.outputs / deepest).mkdir(parents=True)
    (folder.outputs / deepest / "x").write_text("x")
    assert f"{deepest}/x" in folder.list_outputs()
    folder.open_output(f"{deepest}/x").close()


def test_given_a_name_with_a_backslash_when_asked_for_then_it_is_a_name(root: Path) -> None:
    """Given an output that a script named like a path of Windows, when listed and opened, then it is there."""
    folder = _job(root)
    (folder.outputs / "parts\\bolt.stl").write_text("x")
    assert "parts\\bolt.stl" in folder.list_outputs()
    folder.open_output("parts\\bolt.stl").close()
    for name in ("..\\secret", "parts\\..\\..\\secret"):
        with pytest.raises(PixyzSecurityViolation):
            folder.open_output(name)


def test_given_outputs_without_permissions_when_asked_for_then_that_is_said() -> None:
    """Given a file and a folder of mode 0, when they are asked for, then the error says why, and they are removable."""
    share = Path(tempfile.mkdtemp(dir="/tmp"))
    user = os.geteuid()
    if user == 0:
        # Permissions mean nothing to root.
        os.chown(share, 65534, 65534)
        os.seteuid(65534)
    try:
        folder = JobFolder(share, str(uuid4()))
        (folder.path / "outputs" / "closed").mkdir(parents=True)
        (folder.path / "outputs" / "a").touch(mode=0)
        with pytest.raises(InvalidFile, match="'a' cannot be read: permission denied"):
            folder.open_output("a")
        with pytest.raises(InvalidFile, match="permission denied"):
            folder.pack()
        (folder.path / "outputs" / "closed").chmod(0)
        with pytest.raises(InvalidFile, match="permission denied"):
            folder.list_outputs()
        assert remove_folder(share, folder.uuid)
    finally:
        os.seteuid(user)
        shutil.rmtree(share)


@pytest.mark.parametrize("place", ["outputs", "."])
@pytest.mark.parametrize("kind", ["link to a folder", "fifo", "nothing"])
def test_given_a_script_that_took_its_outputs_away_when_packed_then_that_is_said(
    root: Path, place: str, kind: str
) -> None:
    """Given something else in place of the outputs or of all of the job, when packed, then it is an InvalidFile."""
    folder = _job(root)
    _replace(folder.path / place, kind, root)
    with pytest.raises(InvalidFile, match="cannot be packed"):
        folder.pack()
