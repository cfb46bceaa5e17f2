"""Backup and restore of the job store: what was accepted before is in it, and a damaged file changes nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_ray.backup import BackupUnusable, compare_share, platform_down, read_backup, restore_backup, take_backup
from pixyz_ray.cli.app import cli
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.store import JobStore, StoreUnusable
from pixyz_ray.store_schema import SCHEMA_VERSION
from pixyz_ray.supervisor_lock import only_one
from pixyz_worker.wire import VERSION
from tests.waiting import wait_until


def make_job(**changes: Any) -> Job:
    """Return a job that has ended."""
    job = Job(uuid=str(uuid4()), name="job", process="custom", script="job.py", state=JobState.SUCCESS, stopped=2.0)
    return replace(job, **changes)


def make_graph(parent: str) -> Graph:
    """Return a graph of one node."""
    node = str(uuid4())
    plain = {"version": VERSION, "calls": [], "nodes": [{"id": node}], "end": node, "parents": {}}
    return Graph(node, parent, parent, plain)


def url_of(file: Path) -> str:
    """Return the URL of a SQLite store."""
    return f"sqlite:///{file}"


def jobs_in(url: str) -> list[Job]:
    """Return all jobs of a store, newest first."""
    with closing(JobStore(url)) as store:
        uuids = [item["uuid"] for item in store.page(state=None, limit=10_000, after=None)]
        found = store.get_many(uuids)
        return [found[uuid] for uuid in uuids]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with three jobs and a graph."""
    url = url_of(tmp_path / "jobs.db")
    jobs = [make_job(result={"x": "é\ud800"}), make_job(state=JobState.PENDING), make_job(state=JobState.RUNNING)]
    with closing(JobStore(url)) as store:
        store.write(jobs, [make_graph(jobs[2].uuid)])
    return url


@pytest.fixture
def taken(url: str, tmp_path: Path) -> Path:
    """A backup of it."""
    take_backup(url, tmp_path / "backup.gz")
    return tmp_path / "backup.gz"


def test_given_a_backup_when_it_is_restored_then_the_store_is_what_it_was(
    url: str, taken: Path, tmp_path: Path
) -> None:
    """Given jobs and a graph, when they are restored into an empty store, then all of them are there as they were."""
    other = url_of(tmp_path / "new" / "jobs.db")
    backup, replaced = restore_backup(other, taken)
    assert (backup.jobs, replaced) == (3, 0)
    assert jobs_in(other) == jobs_in(url)
    with closing(JobStore(other)) as store, closing(JobStore(url)) as old:
        assert [graph.plain for graph in store.live_graphs()] == [graph.plain for graph in old.live_graphs()]
        assert [*store.waiting()] == [*old.waiting()]
        late = make_job()
        store.write([late])
        assert store.page(state=None, limit=1, after=None)[0]["uuid"] == late.uuid
    assert taken.stat().st_mode & 0o777 == 0o600


def test_given_a_writer_when_a_backup_is_taken_then_all_before_it_is_in_it_and_nothing_in_part(
    url: str, tmp_path: Path
) -> None:
    """Given a job and its graph in each commit, when backups are taken meanwhile, then each is of one moment."""
    written: list[str] = []
    stop = threading.Event()

    def write() -> None:
        with closing(JobStore(url)) as store:
            while not stop.is_set():
                job = make_job()
                store.write([job], [make_graph(job.uuid)])
                written.append(job.uuid)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            wait_until(lambda number=number: len(written) > 50 * (number + 1), "some jobs are written")
            before = set(written)
            take_backup(url, tmp_path / f"{number}.gz")
            other = url_of(tmp_path / f"{number}.db")
            backup, _ = restore_backup(other, tmp_path / f"{number}.gz")
            found = {job.uuid for job in jobs_in(other)}
            assert before <= found
            assert backup.rows["graphs"] == backup.jobs - 2
    finally:
        stop.set()
        writer.join()


def test_given_a_store_with_jobs_when_restored_then_it_is_refused_without_force(taken: Path, tmp_path: Path) -> None:
    """Given a store that is not empty, when a backup is restored, then only with force, and it says how many go."""
    other = url_of(tmp_path / "other.db")
    with closing(JobStore(other)) as store:
        store.write([make_job() for _ in range(5)])
    before = jobs_in(other)
    with pytest.raises(BackupUnusable, match=r"5 jobs.*--force"):
        restore_backup(other, taken)
    assert jobs_in(other) == before
    assert restore_backup(other, taken, force=True)[1] == 5
    assert len(jobs_in(other)) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_given_a_damaged_backup_when_restored_then_nothing_changes(
    url: str, taken: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Given a backup with a byte changed or its end cut off, when it is restored, then that is said."""
    content = bytearray(taken.read_bytes())
    # The time and the system in the header of gzip mean nothing.
    place = data.draw(st.integers(10, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(content)
    with pytest.raises(BackupUnusable, match="damaged"):
        restore_backup(url, damaged, force=True)
    assert len(jobs_in(url)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "tar"}, "not a backup"),
        ({"format_version": 2, "version": "9.9"}, r"version 9\.9.*Upgrade"),
        ({"schema": SCHEMA_VERSION + 1}, "Upgrade"),
        ({"columns": {"jobs": ["seq"]}}, "damaged"),
        ({"columns": {"jobs": ["colour"], "graphs": []}}, "colour.*Upgrade"),
    ],
)
def test_given_a_backup_of_another_version_when_read_then_it_says_so(
    taken: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """Given a header that this version does not know, when it is read, then nothing of it is used."""
    first, _, rest = gzip.decompress(taken.read_bytes()).partition(b"\n")
    other = tmp_path / "other.gz"
    other.write_bytes(gzip.compress(json.dumps({**json.loads(first), **change}).encode() + b"\n" + rest))
    with pytest.raises(BackupUnusable, match=message):
        read_backup(other)


def rewritten(taken: Path, change: Callable[[list[Any]], None], name: str = "other.gz") -> Path:
    """Return a backup whose lines were changed by somebody who knows the format, with a right digest if it has one."""
    lines = [json.loads(line) for line in gzip.decompress(taken.read_bytes()).splitlines()]
    change(lines)
    *before, end = lines
    text = b"".join(json.dumps(line).encode() + b"\n" for line in before)
    if "sha256" in end:
        end["sha256"] = hashlib.sha256(text).hexdigest()
    file = taken.with_name(name)
    file.write_bytes(gzip.compress(text + json.dumps(end).encode() + b"\n"))
    return file


EDITED: dict[str, Callable[[list[Any]], Any]] = {
    "no time": lambda lines: lines[0].pop("taken"),
    "a time that is none": lambda lines: lines[0].update(taken="noon"),
    "a time far off": lambda lines: lines[0].update(taken=1e300),
    "no version": lambda lines: lines[0].pop("version"),
    "no list of columns": lambda lines: lines[0]["columns"].update(jobs=5),
    "columns as a text": lambda lines: lines[0]["columns"].update(graphs=""),
    "columns that are no texts": lambda lines: lines[0]["columns"].update(jobs=[["seq"]]),
    "a column twice": lambda lines: lines[0]["columns"].update(jobs=["seq", "seq"]),
    "no digest": lambda lines: lines[-1].pop("sha256"),
    "no numbers of rows": lambda lines: lines[-1].pop("rows"),
    "a table that is no text": lambda lines: lines[1].__setitem__(0, ["jobs"]),
    "a table of the database's": lambda lines: lines[1].__setitem__(0, "sqlite_master"),
    "a number beyond 64 bits": lambda lines: lines[1].__setitem__(1, 2**63),
    "an object as a value": lambda lines: lines[1].__setitem__(-1, {"a": 1}),
    "two headers": lambda lines: lines.insert(1, lines[0]),
    "rows left out": lambda lines: lines.pop(1),
}


@pytest.mark.parametrize("how", EDITED)
def test_given_an_edited_backup_when_restored_then_it_is_called_damaged_and_nothing_changes(
    url: str, taken: Path, how: str
) -> None:
    """Given a backup that somebody edited, when it is restored, then it is refused in words before anything changes."""
    edited = rewritten(taken, EDITED[how])
    with pytest.raises(BackupUnusable, match="damaged"):
        read_backup(edited)
    with pytest.raises(BackupUnusable, match="damaged"):
        restore_backup(url, edited, force=True)
    assert len(jobs_in(url)) == 3


def test_given_half_a_character_and_a_null_in_a_backup_when_restored_then_they_are_replaced(
    taken: Path, tmp_path: Path
) -> None:
    """Given texts that a database does not take, as of an older store, when restored, then the job is there."""
    header = json.loads(gzip.decompress(taken.read_bytes()).splitlines()[0])
    place = 1 + header["columns"]["jobs"].index("name")
    other = rewritten(taken, lambda lines: lines[1].__setitem__(place, "a\0b\ud800"))
    restore_backup(url_of(tmp_path / "other.db"), other)
    with closing(JobStore(url_of(tmp_path / "other.db"))) as store:
        assert "a\ufffdb\ufffd" in {item["label"] for item in store.page(state=None, limit=9, after=None)}


def test_given_no_file_in_place_of_a_backup_when_used_then_it_is_left_alone_and_said(url: str, tmp_path: Path) -> None:
    """Given a FIFO, a folder, a device or nothing, when a backup goes there or comes from it, then that is refused."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for place in (fifo, tmp_path, Path("/dev/full")):
        kind = place.stat().st_mode
        with pytest.raises(BackupUnusable, match="is not a file"):
            take_backup(url, place, force=True)
        with pytest.raises(BackupUnusable, match="is not a file"):
            read_backup(place)
        assert place.stat().st_mode == kind
    with pytest.raises(BackupUnusable, match="is not a file"):
        read_backup(tmp_path / "nothing")


def test_given_a_backup_of_an_older_schema_when_restored_then_it_is_migrated(taken: Path, tmp_path: Path) -> None:
    """Given a backup of schema 3, which had no names in columns, when it is restored, then lists have them."""
    header, *lines, end = map(json.loads, gzip.decompress(taken.read_bytes()).splitlines())
    columns = header["columns"]["jobs"]
    left_out = {columns.index(name) for name in ("alias", "process", "script")}
    header["schema"] = 3
    header["columns"]["jobs"] = [name for place, name in enumerate(columns) if place not in left_out]
    older = [
        [line[0], *(value for place, value in enumerate(line[1:]) if line[0] != "jobs" or place not in left_out)]
        for line in lines
    ]
    text = b"".join(json.dumps(line).encode() + b"\n" for line in (header, *older))
    end["sha256"] = hashlib.sha256(text).hexdigest()
    file = tmp_path / "older.gz"
    file.write_bytes(gzip.compress(text + json.dumps(end).encode() + b"\n"))
    other = url_of(tmp_path / "other.db")
    assert restore_backup(other, file)[0].schema == 3
    with closing(JobStore(other)) as store:
        assert {item["script"] for item in store.page(state=None, limit=9, after=None)} == {"job.py"}


def test_given_no_store_or_a_file_in_the_way_when_backed_up_then_that_is_said(
    url: str, taken: Path, tmp_path: Path
) -> None:
    """Given no store, an older backup, a folder that is not there, when a backup is taken, then nothing is lost."""
    before = taken.read_bytes()
    with pytest.raises(BackupUnusable, match="--force"):
        take_backup(url, taken)
    with pytest.raises(BackupUnusable, match="no job store"):
        take_backup(url_of(tmp_path / "none.db"), tmp_path / "new.gz")
    with pytest.raises(BackupUnusable, match=r"nowhere/new\.gz cannot be written: No such file"):
        take_backup(url, tmp_path / "nowhere" / "new.gz")
    assert taken.read_bytes() == before
    assert not (tmp_path / "none.db").exists()
    assert take_backup(url, taken, force=True).jobs == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_given_more_rows_than_a_portion_when_backed_up_and_restored_then_the_progress_is_told(tmp_path: Path) -> None:
    """Given 1,200 jobs, when they go to a file and back, then what is done grows up to all there is."""
    url, other = url_of(tmp_path / "many.db"), url_of(tmp_path / "other.db")
    with closing(JobStore(url)) as store:
        store.write([make_job() for _ in range(1200)])
    told: list[tuple[int, int]] = []
    take_backup(url, tmp_path / "many.gz", report=lambda *how_far: told.append(how_far))
    assert told == [(500, 1200), (1000, 1200), (1200, 1200)]
    restore_backup(other, tmp_path / "many.gz", report=lambda *how_far: told.append(how_far))
    assert told[3:] == told[:3]


def test_given_sqlite_and_postgresql_when_a_backup_goes_to_and_fro_then_it_stays_the_same(
    database: str, url: str, taken: Path, tmp_path: Path
) -> None:
    """Given a backup of SQLite, when it is restored into PostgreSQL and that backed up, then SQLite has it again."""
    restore_backup(database, taken)
    with closing(JobStore(database)) as store:
        with pytest.raises(BackupUnusable, match="connections use the database"):
            restore_backup(database, taken, force=True)
        late = make_job()
        store.write([late])
        assert store.page(state=None, limit=1, after=None)[0]["uuid"] == late.uuid
        take_backup(database, tmp_path / "second.gz")
    other = url_of(tmp_path / "other.db")
    restore_backup(other, tmp_path / "second.gz")
    assert jobs_in(other) == [late, *jobs_in(url)]


def test_given_the_command_line_when_a_store_is_restored_then_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path
) -> None:
    """Given a share with a job of the backup and a newer one, when it is restored, then both are counted."""
    home, share = tmp_path / "home", tmp_path / "share"
    monkeypatch.setenv("PIXYZ_HOME", str(home))
    monkeypatch.setenv("SHARE_PATH", str(share))
    monkeypatch.setenv("JOB_STORE_URL", url)
    for uuid in (jobs_in(url)[0].uuid, str(uuid4())):
        (share / uuid).mkdir(parents=True)
    assert compare_share(url, share) == (2, 1)
    file = str(tmp_path / "cli.gz")
    done = CliRunner().invoke(cli, ["backup", file])
    assert (done.exit_code, done.stdout.split()[:2]) == (0, ["3", "jobs"])
    assert CliRunner().invoke(cli, ["backup", file]).exit_code == 1
    refused = CliRunner().invoke(cli, ["restore", file])
    assert (refused.exit_code, "--force" in refused.output) == (1, True)
    done = CliRunner().invoke(cli, ["restore", file, "--force"])
    assert done.exit_code == 0, done.output
    assert "3 jobs are restored" in done.stdout
    assert "2 of them have no folder on the share" in done.stdout
    assert "1 folders on the share belong to none of them" in done.stdout
    with platform_down(home):
        refused = CliRunner().invoke(cli, ["restore", file, "--force"])
    assert (refused.exit_code, "pixyz down" in refused.output) == (1, True)


def test_given_a_store_of_a_newer_version_when_restored_over_then_it_is_refused(taken: Path, tmp_path: Path) -> None:
    """Given a store that a newer version wrote, when a backup is restored over it, then nothing of it changes."""
    other = tmp_path / "other.db"
    with closing(JobStore(url_of(other))) as store:
        store.write([make_job()])
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(StoreUnusable, match="newer version"):
        restore_backup(url_of(other), taken, force=True)
    with closing(sqlite3.connect(other)) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (1,)


def test_given_a_platform_that_is_up_when_a_restore_is_refused_then_down_still_finds_it(tmp_path: Path) -> None:
    """Given a supervisor with its lock, when a restore is refused, then the lock file still names the supervisor."""
    with only_one(tmp_path):
        with pytest.raises(BackupUnusable, match="pixyz down"), platform_down(tmp_path):
            pass
        assert (tmp_path / "supervisor.lock").read_text(encoding="ascii") == str(os.getpid())
