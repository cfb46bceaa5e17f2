"""Retention: when a job may be removed; and of the share nothing but its own folder ever is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pixyz_ray.jobs import Job, JobState
from pixyz_ray.policy import Policy
from pixyz_ray.retention import REMOVING, expiry, find_leftovers, finish_removal, has_jobs, remove_folder, remove_jobs
from pixyz_worker.exception import (
    PixyzSecurityViolation,
    SharePathNotFoundError,
)

DAY = 86400.0


def make_share(folder: Path) -> Path:
    """Return a share, with a canary tree beside it and one in it that is no job's."""
    share = folder / "share"
    for place in (folder / "canary", share / "canary"):
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "file").write_text("alive")
    return share


def assert_untouched(share: Path) -> None:
    """See that the canaries live."""
    for place in (share.parent / "canary", share / "canary"):
        assert (place / "deep" / "file").read_text() == "alive"
        assert place.stat().st_mode & 0o777 == (place / "deep").stat().st_mode & 0o777


def make_folder(share: Path, uuid: str) -> Path:
    """Return a job's folder with files in it."""
    folder = share / uuid
    for name in ("script", "inputs", "outputs/a/b"):
        (folder / name).mkdir(parents=True)
    (folder / "outputs" / "a" / "b" / "model.glb").write_bytes(b"glTF")
    (folder / "job.log").touch()
    return folder


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Path]:
    """A share that must not be touched outside of jobs' folders."""
    share = make_share(tmp_path)
    yield share
    assert_untouched(share)


# --- When ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "pinned", "expected"),
    [
        (None, False, 1100.0),
        (False, False, 1100.0),
        (True, False, None),
        (None, True, None),
        (5.0, True, None),
        (5.0, False, 1005.0),
        (0, False, 1000.0),
        (-7.0, False, 1000.0),
        (float("inf"), False, None),
        (float("nan"), False, None),
    ],
)
def test_given_what_a_job_asks_when_it_ended_then_that_decides_and_else_the_operator(
    keep: bool | float | None, pinned: bool, expected: float | None
) -> None:
    """Pinned is never; what is no time at all is never."""
    job = Job(uuid=str(uuid4()), name="a", process="custom", script="a.py", policy=Policy(keep=keep), pinned=pinned)
    assert expiry(job, 100.0) is None
    ended = job.become(JobState.SUCCESS, stopped=1000.0)
    assert expiry(ended, 100.0) == expected
    assert expiry(replace(ended, home=str(uuid4())), 100.0) is None


# --- Removing --------------------------------------------------------------------------------------------------------


odd = st.sampled_from(
    ["", ".", "..", "/", "../canary", "canary", "../../", "/etc", "\0", "~", REMOVING, str(uuid4()).upper(), "\ud800"]
)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.lists(odd, max_size=3).map("/".join) | st.uuids().map(lambda id: f"../{id}"))
def test_given_any_text_when_removed_then_it_is_refused(share: Path, text: str) -> None:
    """Only the canonical form of an id is a folder's name."""
    for remove in (remove_folder, finish_removal):
        with pytest.raises(PixyzSecurityViolation):
            remove(share, text)
    assert "is not the id of a job" in str(remove_jobs(str(share), [(text, [text])])[text])
    assert_untouched(share)


def test_given_a_folder_when_removed_then_nothing_of_it_is_left_and_others_stay(share: Path) -> None:
    """Again, there is nothing to do."""
    mine, other = str(uuid4()), str(uuid4())
    make_folder(share, mine)
    make_folder(share, other)
    assert remove_folder(share, mine)
    assert not remove_folder(share, mine)
    assert sorted(path.name for path in share.iterdir()) == sorted(["canary", other])
    assert (share / other / "outputs" / "a" / "b" / "model.glb").read_bytes() == b"glTF"


def test_given_links_when_removed_then_they_go_and_what_they_point_to_stays(share: Path) -> None:
    """In place of the folder, inside of it to a file and to a folder, in place of one that is being removed."""
    inside, instead, half = str(uuid4()), str(uuid4()), str(uuid4())
    folder = make_folder(share, inside)
    (folder / "outputs" / "out").symlink_to(share.parent / "canary", target_is_directory=True)
    (folder / "outputs" / "file").symlink_to(share / "canary" / "deep" / "file")
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere").symlink_to("/nowhere/at/all")
    (share / instead).symlink_to(share / "canary", target_is_directory=True)
    (share / f"{REMOVING}{half}").symlink_to(share.parent / "canary", target_is_directory=True)
    for uuid in (inside, instead, half):
        assert remove_folder(share, uuid)
    assert [path.name for path in share.iterdir()] == ["canary"]


def test_given_a_file_or_a_socket_in_place_of_a_folder_when_removed_then_it_goes(share: Path) -> None:
    """Whatever stands there under a job's name."""
    file, pipe = str(uuid4()), str(uuid4())
    (share / file).write_text("x")
    os.mkfifo(share / pipe)
    assert remove_folder(share, file)
    assert remove_folder(share, pipe)
    assert [path.name for path in share.iterdir()] == ["canary"]


def test_given_a_tree_deeper_than_a_path_may_be_long_when_removed_then_it_goes(share: Path) -> None:
    """A script that makes folders in folders for ever leaves nothing behind either."""
    uuid = str(uuid4())
    here = os.open(make_folder(share, uuid), os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert remove_folder(share, uuid)
    assert not (share / uuid).exists()


_AS_NOBODY = """
import os, sys
from pathlib import Path
from pixyz_ray.retention import remove_jobs
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
share, uuid = Path(sys.argv[1]), sys.argv[2]
for name in ("outputs/locked/in", "outputs/other"):
    (share / uuid / name).mkdir(parents=True)
    (share / uuid / name / "file").touch()
for name, mode in (("outputs/locked/in", 0o000), ("outputs/locked", 0o500), ("outputs/other", 0o000), ("", 0o500)):
    (share / uuid / name).chmod(mode)
print(remove_jobs(str(share), [(uuid, [uuid])])[uuid], (share / uuid).exists(), sorted(os.listdir(share)))
"""


def test_given_folders_that_nobody_may_write_or_read_when_removed_then_their_owner_still_may() -> None:
    """A script may leave such folders; as another user than the administrator, for whom there are no such limits."""
    with TemporaryDirectory() as share:
        Path(share).chmod(0o777)
        command = [sys.executable, "-c", _AS_NOBODY, share, str(uuid4())]
        child = subprocess.run(command, capture_output=True, text=True, check=True)
        assert child.stdout.split() == ["None", "False", "[]"]


def test_given_a_removal_that_was_cut_short_when_removed_again_then_it_is_finished(share: Path) -> None:
    """Half of it is gone, and the folder has been made again meanwhile."""
    uuid = str(uuid4())
    make_folder(share, uuid).rename(share / f"{REMOVING}{uuid}")
    (share / f"{REMOVING}{uuid}" / "job.log").unlink()
    make_folder(share, uuid)
    assert finish_removal(share, uuid)
    assert not finish_removal(share, uuid)
    assert (share / uuid / "job.log").exists()
    (share / f"{REMOVING}{uuid}" / "script").mkdir(parents=True)
    assert remove_jobs(str(share), [(uuid, [uuid])]) == {uuid: None}
    assert [path.name for path in share.iterdir()] == ["canary"]


def test_given_no_share_when_removed_then_that_is_said_and_is_not_taken_for_done(tmp_path: Path) -> None:
    """A share that is away for a minute must not cost the records of what is on it."""
    uuid = str(uuid4())
    with pytest.raises(SharePathNotFoundError):
        remove_folder(tmp_path / "away", uuid)
    assert "is not there" in str(remove_jobs(str(tmp_path / "away"), [(uuid, [uuid])])[uuid])


def test_given_a_share_when_looked_at_then_only_what_never_was_a_job_is_found(share: Path) -> None:
    """Not what has just been written, nothing that a job has put there, and nothing whose name is no job's."""
    upload, job, half = str(uuid4()), str(uuid4()), str(uuid4())
    make_folder(share, job)
    (share / upload / "inputs").mkdir(parents=True)
    for name in ("inputs/model.step", ".lock"):
        (share / upload / name).touch()
    for folder in (upload, job):
        os.utime(share / folder, (0, 0))
    (share / f"{REMOVING}{half}").mkdir()
    (share / f"{REMOVING}x").mkdir()
    # The job of another scheduler on the same share, and a link in place of a folder.
    (share / str(uuid4()) / "outputs").mkdir(parents=True)
    (share / str(uuid4())).symlink_to(share / upload)
    now = find_leftovers(share, time.time() - DAY)
    assert (now.cut_short, now.uploads) == ([half], [])
    later = find_leftovers(share, time.time() + DAY)
    assert (later.cut_short, later.uploads, job in later.jobs) == ([half], [upload], True)
    assert has_jobs(share)
    remove_folder(share, job)
    assert not has_jobs(share)
    (share / f"{REMOVING}x").rmdir()
