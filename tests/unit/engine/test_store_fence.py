"""Two trackers and one store: one writes, and the other is told why it cannot."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from pixyz_ray.cluster.journal import Journal
from pixyz_ray.cluster.store_access import StoreAccess
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.store import JobStore, StoreFenced, StoreInUse, StoreUnusable
from tests.postgres import Postgres
from tests.waiting import wait_until

OURS = "Ray at 10.0.0.1:6379"
OTHERS = "Ray at 10.0.0.2:6379"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'jobs.db'}"
    else:
        yield request.getfixturevalue("database")


class HeldUp:
    """A network to a server on this machine, in which what a client sent can be held up, and still arrives.

    Args:
        port: the server's port.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.held: dict[socket.socket, bytes] = {}
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> HeldUp:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()

    def hold(self) -> None:
        """Hold up what clients send over the connections that there are."""
        self.held = {server: b"" for _, server in self._pairs}

    def release(self) -> None:
        """Let it arrive."""
        for server, data in self.held.items():
            with suppress(OSError):
                server.sendall(data)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                pair = client, socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append(pair)
                for source, sink in (pair, pair[::-1]):
                    self._threads.append(threading.Thread(target=self._forward, args=(source, sink)))
                    self._threads[-1].start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if sink in self.held:
                    self.held[sink] += data
                else:
                    sink.sendall(data)
            if sink not in self.held:
                sink.shutdown(socket.SHUT_WR)


def _job() -> Job:
    return Job(uuid=str(uuid4()), name="job", process="custom", script="job.py")


def test_replaced_tracker(url: str) -> None:
    """Given a tracker that was replaced by one of its platform, then it can write nothing, and the new one goes on."""
    job = _job()
    with closing(JobStore(url, holder=OURS)) as old:
        old.write([job])
        with closing(JobStore(url, holder=OURS)) as new:
            ended = replace(job, state=JobState.SUCCESS)
            new.write([ended])
            for write in (lambda: old.write([job]), old.ping, lambda: old.forget([job.uuid])):
                with pytest.raises(StoreFenced, match="taken over"):
                    _twice(write)
            assert new.get(job.uuid) == ended
            new.write([_job()])


def _twice(write: Callable[[], object]) -> None:
    """Write again after the failure of an evicted connection, on a new one."""
    with suppress(StoreUnusable):
        write()
    write()


def test_other_platform(url: str) -> None:
    """Given a tracker that is connected, then one of another platform is refused until it has ended."""
    with closing(JobStore(url, holder=OURS)) as ours:
        with pytest.raises(StoreInUse, match=r"10\.0\.0\.1"):
            JobStore(url, holder=OTHERS, wait_s=0.05)
        ours.write([_job()])
    with closing(JobStore(url, holder=OTHERS, wait_s=5.0)) as others:
        others.write([_job()])
        assert others.counts() == {"SENT": 2}


def test_readers(url: str) -> None:
    """Given a tracker, when its store is opened without a claim, then it goes on."""
    with closing(JobStore(url, holder=OURS)) as store, closing(JobStore(url)) as reader:
        store.write([_job()])
        assert reader.counts() == {"SENT": 1}


def test_takeover_while_writing(url: str) -> None:
    """Given a tracker that writes without a pause, when it is replaced, then none of its writes comes after."""
    job = _job()
    stop, fenced = threading.Event(), threading.Event()
    with closing(JobStore(url, holder=OURS)) as old:

        def write() -> None:
            while not stop.is_set() and not fenced.is_set():
                try:
                    old.write([job])
                except StoreFenced:
                    fenced.set()
                except Exception:
                    continue

        thread = threading.Thread(target=write)
        thread.start()
        try:
            wait_until(lambda: old.counts(), "the old tracker writes")
            with closing(JobStore(url, holder=OURS)) as new:
                new.write([replace(job, state=JobState.SUCCESS)])
                wait_until(fenced.is_set, "the old tracker is told")
                assert new.counts() == {"SUCCESS": 1}
        finally:
            stop.set()
            thread.join()


def test_replaced_tracker_holds_no_lock(database: str) -> None:
    """Given a tracker that replaced one that hangs, then its own platform alone has the store's lock."""
    with (
        closing(JobStore(database, holder=OURS)),
        closing(JobStore(database, holder=OURS)),
        pytest.raises(StoreInUse),
    ):
        JobStore(database, holder=OTHERS, wait_s=0.05)


def test_late_packets_of_a_lost_connection(postgres: Postgres, database: str) -> None:
    """Given a write whose packets are held up, when a later one has come over a new connection, then it counts."""
    job = _job()
    with HeldUp(postgres.port) as network:
        url = database.replace(f":{postgres.port}/", f":{network.port}/")
        with closing(JobStore(url, holder=OURS)) as store:
            store.write([job])
            network.hold()
            with ThreadPoolExecutor(1) as pool:
                writing = pool.submit(store.write, [job])
                wait_until(lambda: any(network.held.values()), "the write is on its way")
                store.cut_off_writer()
                assert isinstance(writing.exception(), StoreUnusable)
            store.write([replace(job, state=JobState.SUCCESS)])
            network.release()
            with closing(JobStore(database)) as reader:
                for _ in range(20):
                    store.ping()
                    assert reader.counts() == {"SUCCESS": 1}


@pytest.mark.anyio
async def test_journal_ends_its_tracker(tmp_path: Path) -> None:
    """Given a journal whose store was taken over, when it writes, then its process is told to end."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with closing(JobStore(url, holder=OURS)) as old, closing(JobStore(url, holder=OURS)):
        access = StoreAccess(old)
        told = threading.Event()
        access.on_fenced = told.set
        journal = Journal(access)
        for _ in range(2):
            with pytest.raises(Exception, match="job store"):
                await journal.add(_job())
        assert told.is_set()
        access.close()
