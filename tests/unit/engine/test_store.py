"""The store: what is written comes back the same, newest first, and survives its process."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_ray.failure import FailureClass
from pixyz_ray.graphs import Graph
from pixyz_ray.jobs import TERMINAL, Attempt, Job, JobState, StepRecord
from pixyz_ray.records import decode_job, encode_job
from pixyz_ray.store import EndedJobs, JobStore, StoreRefused, StoreUnusable
from pixyz_ray.store_errors import storable

floats = st.floats(allow_nan=False, allow_infinity=False)
# Any text that JSON can carry, half characters included; the columns of their own hold what the platform has cleaned.
wild = st.text(st.characters(), max_size=20)
clean = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | wild,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(wild, inner, max_size=3),
    max_leaves=8,
)
attempts = st.builds(
    Attempt, number=st.integers(1, 9), queue=clean, started=st.none() | floats, stopped=st.none() | floats,
    node=st.none() | clean, pid=st.none() | st.integers(1, 1 << 22), failure=st.none() | st.sampled_from(FailureClass),
)  # fmt: skip
steps = st.builds(StepRecord, info=wild, duration=floats)
jobs = st.builds(
    Job, uuid=st.uuids().map(str), name=wild, process=wild, script=wild, script_digest=clean, entrypoint=clean,
    input_file=st.none() | clean, params=values, config=st.dictionaries(wild, values, max_size=3), queue=clean,
    time_limit=floats, wait=st.booleans(), parent_id=st.none() | clean, state=st.sampled_from(JobState),
    requested=floats, started=st.none() | floats, stopped=st.none() | floats, total=st.none() | st.integers(0, 9),
    steps=st.lists(steps, max_size=3).map(tuple), result=values, error=st.none() | wild,
    attempts=st.lists(attempts, max_size=3).map(tuple), notes=st.lists(wild, max_size=2).map(tuple),
)  # fmt: skip


def _job(**changes: Any) -> Job:
    return replace(Job(uuid=str(uuid4()), name="job", process="custom", script="job.py"), **changes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    """An empty store on disk."""
    store = JobStore(f"sqlite:///{tmp_path / 'deep' / 'jobs.db'}")
    yield store
    store.close()


@given(job=jobs)
def test_given_any_job_when_encoded_then_it_comes_back_the_same(job: Job) -> None:
    """Through plain values, without its result; through JSON too."""
    assert decode_job(encode_job(job), job.result) == job
    assert decode_job(json.loads(json.dumps(encode_job(job))), job.result) == job


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job=jobs)
def test_given_any_job_when_stored_then_it_comes_back_the_same(store: JobStore, job: Job) -> None:
    """Every field of it, whatever text a script has put into it."""
    store.write([job])
    assert store.get(job.uuid) == job
    waits = job.waits is not None
    assert (job.uuid in {one.uuid for one in store.live()}) == (job.state not in TERMINAL and not waits)
    assert (job.uuid in {uuid for uuid, _, _ in store.waiting()}) == waits


def test_given_jobs_when_paged_then_newest_first_each_once(store: JobStore) -> None:
    """`after` goes on where the last page ended; changes do not move a job."""
    uuids = []
    for n in range(10):
        job = _job(state=JobState.SUCCESS if n % 2 else JobState.RUNNING)
        uuids.append(job.uuid)
        store.write([job])
    store.write([replace(store.get(uuids[0]) or _job(), name="changed")])
    seen: list[str] = []
    while page := store.page(state=None, limit=3, after=seen[-1] if seen else None):
        seen += [row["uuid"] for row in page]
    assert seen == uuids[::-1]
    running = store.page(state=JobState.RUNNING, limit=100, after=None)
    assert [row["uuid"] for row in running] == uuids[-2::-2]
    assert store.counts() == {"RUNNING": 5, "SUCCESS": 5}
    assert store.page(state=None, limit=5, after="unknown") == []


def test_portions(store: JobStore) -> None:
    """Given jobs that come and go, when all are read in portions, then each that was there and stays comes once."""
    jobs = [_job(alias=f"n{n}" if n % 2 else None) for n in range(20)]
    store.write(jobs)
    seen: list[dict[str, Any]] = []
    place: int | None = None
    while True:
        items, place = store.portion(state=None, limit=3, before=place)
        if place is None:
            break
        seen += items
        # The last one read goes, and another one comes.
        store.forget([items[-1]["uuid"]])
        store.write([_job()])
    assert [item["uuid"] for item in seen] == [job.uuid for job in reversed(jobs)]
    assert seen[0] == {**jobs[-1].as_list_item()}
    assert store.place_of("unknown") is None


def _graph(parent: Job) -> Graph:
    node = {"id": parent.uuid, "after": None, "members": []}
    plain = {"version": 1, "calls": [], "nodes": [node], "end": parent.uuid, "parents": {}}
    return Graph.checked(plain, parent.uuid, parent.uuid)


def test_given_graphs_when_stored_then_those_that_live_are_found_until_they_end(store: JobStore) -> None:
    """By their parent, by their root, and after a restart as what is still to be done."""
    parent = _job()
    graph = _graph(parent)
    store.write([parent], [graph])
    for found in (store.graphs_of(parent.uuid), store.graphs_under(parent.uuid), store.live_graphs()):
        assert [(one.uuid, one.parent_id, one.root_id, one.nodes) for one in found] == [
            (graph.uuid, parent.uuid, parent.uuid, graph.nodes)
        ]
    store.write([], [], [graph.uuid])
    assert store.live_graphs() == []
    assert store.graph(graph.uuid).digest == graph.digest
    assert store.known([str(uuid4()), parent.uuid]) == [parent.uuid]


def test_given_a_bad_graph_in_a_batch_when_written_then_nothing_of_the_batch_is(store: JobStore) -> None:
    """All or nothing; that the row is at fault, and not the store, is told by the class of the error."""
    first, second = _job(), _job()
    store.write([first])
    bad = Graph(str(uuid4()), first.uuid, first.uuid, {"nodes": object()})
    with pytest.raises(StoreRefused):
        store.write([second], [_graph(first), bad])
    assert store.get(second.uuid) is None
    store.write([second])
    assert store.get(second.uuid) == second


@given(text=st.text(st.characters() | st.sampled_from("\0\ud800\udfff")))
def test_storable_texts(text: str) -> None:
    """Given any text, when made storable, then it is UTF-8 without NUL, as long as before, and stays as it is then."""
    made = storable(text)
    assert made is not None
    assert "\0" not in made.encode().decode()
    assert len(made) == len(text)
    assert storable(made) == made
    assert all(new in (old, "\ufffd") for new, old in zip(made, text, strict=True))


def test_refused_or_unusable(store: JobStore, tmp_path: Path) -> None:
    """Given rows that SQLite refuses and a file that is locked, then the errors tell one from the other."""
    job = _job()
    with sqlite3.connect(tmp_path / "deep" / "jobs.db") as other:
        other.execute(
            "CREATE TRIGGER no BEFORE INSERT ON jobs WHEN NEW.name = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        other.commit()
        with pytest.raises(StoreRefused):
            store.write([job, _job(name="bad")])
        with pytest.raises(StoreRefused):
            store.write([_job(result={"deep": object()})])
        other.execute("BEGIN IMMEDIATE")
        for refused in (lambda: store.write([job]), store.ping):
            with pytest.raises(StoreUnusable):
                refused()
        other.rollback()
        store.ping()
        assert store.get(job.uuid) is None


def test_taken_back(store: JobStore) -> None:
    """Given new jobs and graphs, written or not, when they are taken back, then they are not there."""
    there, never = _job(), _job()
    store.write([there], [_graph(there)])
    store.take_back([there, never], [_graph(there), _graph(never)])
    assert store.known([there.uuid, never.uuid]) == []
    assert store.live_graphs() == []


def test_given_a_process_when_it_is_killed_after_a_write_then_the_job_is_there(tmp_path: Path) -> None:
    """What `write` returned from is on disk."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    code = (
        "import sys, time\nfrom pixyz_ray.jobs import Job\nfrom pixyz_ray.store import JobStore\n"
        "JobStore(sys.argv[1]).write([Job(uuid='u', name='n', process='p', script='s')], [])\n"
        "print('written', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        os.kill(child.pid, signal.SIGKILL)
    store = JobStore(url)
    assert store.get("u") is not None
    store.close()


def test_given_what_is_no_store_when_opened_then_a_sentence_says_so(tmp_path: Path) -> None:
    """A broken file, a folder, a newer schema."""
    (tmp_path / "broken.db").write_bytes(b"this is no database at all" * 100)
    (tmp_path / "folder.db").mkdir()
    for name in ("broken.db", "folder.db"):
        with pytest.raises(StoreUnusable, match="cannot be opened"):
            JobStore(f"sqlite:///{tmp_path / name}")

    url = f"sqlite:///{tmp_path / 'newer.db'}"
    JobStore(url).close()
    connection = sqlite3.connect(tmp_path / "newer.db")
    connection.execute("UPDATE schema_version SET version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StoreUnusable, match="newer version"):
        JobStore(url)


def test_given_jobs_in_a_file_when_read_beside_the_tracker_then_only_those_that_have_ended_are_seen(
    tmp_path: Path,
) -> None:
    """One that lives is the tracker's to tell; so is everything where the store is no file."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    reader = EndedJobs(url)
    assert reader.state(str(uuid4())) is None
    with closing(JobStore(url)) as store:
        lives = Job(uuid=str(uuid4()), name="lives", process="custom", script="a.py")
        ended = Job(uuid=str(uuid4()), name="ended", process="custom", script="a.py").become(JobState.SUCCESS)
        store.write([lives, ended])
        store.sync()
        assert reader.state(ended.uuid) == ended.as_state()
        assert reader.state(lives.uuid) is None
        store.write([lives.become(JobState.FAILURE, error="ValueError: no")])
        assert reader.state(lives.uuid) == {
            **lives.as_state(),
            "status": "FAILURE",
            "error": "ValueError: no",
            "progress": 0,
        }
    assert EndedJobs("postgresql+psycopg://nobody@127.0.0.1/none").state(ended.uuid) is None
    reader.close()
