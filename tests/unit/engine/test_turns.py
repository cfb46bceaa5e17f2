"""Turns: the queue above Ray, from the operator's settings and what the cluster has to the jobs that begin."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pixyz_ray.admission import QueueFull
from pixyz_ray.cluster.turns import Turns, needs_of
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.policy import Policy
from pixyz_ray.settings import Settings

ONE_AT_A_TIME = {"cpu": {"concurrency": 1}}


def settings(**values: Any) -> Settings:
    """Settings of a platform with nothing but these."""
    names = {"queues": "PIXYZ_QUEUES", "pools": "PIXYZ_POOLS", "tokens": "PIXYZ_TOKENS"}
    return Settings(_env_file=None, **{names.get(name, name): value for name, value in values.items()})


def job(uuid: str, **changes: Any) -> Job:
    """A job that waits."""
    policy = Policy(**{key: changes.pop(key) for key in ("priority", "pools", "gpu", "gpu_memory") if key in changes})
    asked = {"requested": 100.0, "state": JobState.PENDING, "policy": policy, **changes}
    return Job(uuid=uuid, name="n", process="custom", script="s.py", **asked)


class Ray:
    """What was given to Ray, in order."""

    def __init__(self, then: Callable[[str], None] | None = None, **values: Any) -> None:
        self.begun: list[str] = []
        self.then = then
        self.turns = Turns(settings(**values), self.begin)

    def begin(self, uuid: str) -> None:
        """Take a job."""
        self.begun.append(uuid)
        if self.then is not None:
            self.then(uuid)

    def wait(self, *jobs: Job) -> None:
        """Let jobs wait, and give their turn to those who may have it."""
        for one in jobs:
            self.turns.wait(one.uuid, one, one.requested)
        self.turns.pump()

    async def has_begun(self, number: int) -> None:
        """Return when so many jobs have begun."""
        async with asyncio.timeout(5):
            while len(self.begun) < number:
                await asyncio.sleep(0.01)

    def reason(self, uuid: str) -> str:
        """Return why a job waits."""
        waiting = self.turns.waiting(uuid)
        assert waiting is not None
        return str(waiting["reason"])

    def row(self, queue: str) -> dict[str, Any]:
        """Return the figures of a queue."""
        return next(row for row in self.turns.queues() if row["name"] == queue)


# --- Windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "queue", "places"),
    [
        ({}, "cpu", 16),
        ({"CPU": 2.0}, "cpu", 16),
        ({"CPU": 8.0}, "cpu", 32),
        ({"CPU": 8.0}, "control", 32),
        ({"CPU": 64.0, "GPU": 6.0}, "gpu", 24),
        ({"CPU": 8.0}, "gpu", 32),
        ({"CPU": 64.0}, "render", 64),
        ({"CPU": 64.0}, "seat", 16),
        ({"CPU": 64.0, "seat": 10.0}, "seat", 40),
        ({"CPU": 64.0}, "narrow", 3),
    ],
)
def test_given_a_cluster_when_it_has_so_much_then_ray_is_given_a_few_times_what_it_can_run(
    resources: dict[str, float], queue: str, places: int
) -> None:
    """Enough to go on without us, and for its autoscaler to see; no more than the operator allows."""
    changes = {"render": {"num_cpus": 4}, "seat": {"resources": {"seat": 1}}, "narrow": {"concurrency": 3}}
    ray = Ray(queues=changes)
    ray.turns.take_capacity(resources)
    ray.wait(*(job(str(number), queue=queue) for number in range(80)))
    assert len(ray.begun) == places
    assert ray.row(queue)["places"] == places
    assert ray.row(queue)["waiting"] == 80 - places


def test_given_jobs_that_wait_when_the_cluster_grows_then_more_begin_at_once() -> None:
    """And none is taken back when it shrinks."""
    ray = Ray()
    ray.wait(*(job(str(number)) for number in range(60)))
    assert len(ray.begun) == 16
    ray.turns.take_capacity({"CPU": 10.0})
    assert len(ray.begun) == 40
    assert ray.turns.capacity == {"CPU": 10.0}
    ray.turns.take_capacity({"CPU": 1.0})
    assert (len(ray.begun), ray.row("cpu")["running"]) == (40, 40)


# --- GPUs ------------------------------------------------------------------------------------------------------------


def nodes(*gpus: float, memory: str | None = None) -> list[dict[str, Any]]:
    """Machines with 4 CPUs each, and so many GPUs."""
    labels = {"pixyz.io/gpu-memory": memory} if memory else {}
    return [
        {
            "NodeID": f"n{number}",
            "Alive": True,
            "Labels": labels,
            "Resources": {"CPU": 4.0, **({"GPU": count} if count else {})},
        }
        for number, count in enumerate(gpus)
    ]


def test_gpu_required() -> None:
    """Given jobs that require a GPU, when there is none, then they wait with the reason, and begin when one joins.

    Those that can do without, on the same queue, are not held up.
    """
    ray = Ray()
    ray.turns.take_nodes(nodes(0))
    ray.wait(*(job(f"r{number}", queue="gpu", gpu="require") for number in range(30)))
    ray.wait(job("p", queue="gpu"), job("c"))
    assert ray.begun == ["p", "c"]
    assert ray.reason("r0") == "no machine of the cluster has a GPU: waits for a machine with one to join"
    waiting = ray.turns.waiting("r0")
    assert waiting is not None
    assert waiting["expected_start"] is None
    assert ray.turns.without_machine() == {ray.reason("r0"): 30}
    ray.turns.take_nodes(nodes(0, 2))
    assert len(ray.begun) == 2 + 15
    assert ray.turns.without_machine() == {}


def test_gpu_expected() -> None:
    """Given machines that join when needed, when there is none, then Ray has a few jobs, which hold no place."""

    def begin(uuid: str) -> None:
        if grants[uuid].waits:
            ray.turns.park(uuid)

    ray = Ray(begin, gpu_expected=True, queues={"gpu": {"concurrency": 2}})
    ray.turns.take_nodes(nodes(0))
    waiting = [job(f"r{number}", queue="gpu") for number in range(30)] + [job("p", queue="gpu", gpu="prefer")]
    grants = {one.uuid: ray.turns.gpu_grant(one) for one in waiting}
    ray.wait(*waiting)
    assert len(ray.begun) == 16 + 1
    assert ray.begun[-1] == "p"
    assert sum(ray.turns.without_machine().values()) == 30
    assert ray.row("gpu")["running"] == 1
    ray.turns.unpark("r0")
    assert ray.row("gpu")["running"] == 2
    ray.turns.release("r0")
    ray.turns.pump()
    assert len(ray.begun) == 16 + 1 + 1


def test_gpu_window() -> None:
    """Given jobs that share cards by memory, when they wait, then Ray is given as many as fit, and more."""
    ray = Ray(lambda uuid: None, queues={"gpu": {"gpu_memory": "1GB", "num_cpus": 0.1}})
    ray.turns.take_nodes(nodes(2, memory="32GB"))
    small = [job(str(number), queue="gpu", gpu="require") for number in range(400)]
    assert ray.turns.gpu_grant(small[0]).num_gpus == 0.0313
    ray.wait(*small)
    assert len(ray.begun) == 160


def test_gpu_needs_survive() -> None:
    """Given a waiting job that asks for GPUs, when the tracker starts again, then its needs are the same."""
    asks = [
        job("a", queue="gpu", gpu="require", gpu_memory=2**30),
        job("b", queue="gpu", gpu="prefer", not_before=time.time() + 60),
        job("c"),
    ]

    async def recover() -> Ray:
        ray = Ray()
        ray.turns.recover([(one.uuid, 1.0, json.loads(str(one.waits))) for one in asks])
        ray.turns.pump()
        return ray

    ray = asyncio.run(recover())
    assert ray.begun == ["c"]
    assert ray.reason("a").startswith("no machine of the cluster has a GPU")
    assert needs_of(asks[0]).gpu == ("require", 2**30, False)


# --- Pumping ---------------------------------------------------------------------------------------------------------


def test_given_a_job_that_ends_as_it_begins_when_pumped_then_the_next_ones_follow_in_order() -> None:
    """It makes room while turns are being given, and asks for a turn to be given then."""

    def end(uuid: str) -> None:
        ray.turns.release(uuid)
        ray.turns.pump()

    ray = Ray(end, queues=ONE_AT_A_TIME)
    ray.wait(*(job(str(number)) for number in range(30)))
    assert ray.begun == [str(number) for number in range(30)]
    assert ray.row("cpu")["running"] == 0


def test_given_a_job_that_lets_another_wait_as_it_begins_when_pumped_then_that_one_has_its_turn_too() -> None:
    """A script's first act may be to start others."""

    def start_more(uuid: str) -> None:
        if len(ray.begun) < 5:
            ray.wait(job(uuid + "x"))

    ray = Ray(start_more)
    ray.wait(job("a"))
    assert ray.begun == ["a", "ax", "axx", "axxx", "axxxx"]


def test_given_a_job_that_cannot_begin_when_its_turn_comes_then_it_keeps_no_place() -> None:
    """Nor does it keep the others from beginning."""

    def refuse(uuid: str) -> None:
        if uuid == "bad":
            raise RuntimeError("cannot begin")

    ray = Ray(refuse, queues=ONE_AT_A_TIME)
    ray.wait(job("bad"), job("good"))
    assert ray.begun == ["bad", "good"]


# --- Limits of the operator ------------------------------------------------------------------------------------------


def test_given_limits_in_the_settings_when_jobs_wait_then_each_holds() -> None:
    """Seats of a pool, jobs of a token, jobs of a queue."""
    token = {"sha256": "0" * 64, "concurrency": 1, "max_queued": 1, "share": 2.0}
    ray = Ray(pools={"catia": 1}, tokens={"team": token}, queues={"zip": {"concurrency": 1}})
    seat = (("catia", 1),)
    ray.wait(job("a", pools=seat), job("b", pools=seat), job("c", submitter="team"), job("d", submitter="team"))
    ray.wait(job("e", queue="zip"), job("f", queue="zip"), job("g"))
    assert ray.begun == ["a", "c", "e", "g"]
    assert "pool catia" in ray.reason("b")
    assert "token team" in ray.reason("d")
    assert "queue zip" in ray.reason("f")
    assert [(pool["name"], pool["seats"], pool["held"], pool["waiting"]) for pool in ray.turns.pools()] == [
        ("catia", 1, 1, 1)
    ]
    team = next(row for row in ray.turns.submitters() if row["name"] == "team")
    assert (team["waiting"], team["running"], team["concurrency"], team["share"]) == (1, 1, 1, 2.0)
    with pytest.raises(QueueFull, match="Token team has 1 jobs waiting"):
        ray.turns.check_room("team")
    ray.turns.check_room("local")
    for uuid in ("a", "c", "e"):
        ray.turns.release(uuid)
    ray.turns.pump()
    assert sorted(ray.begun[4:]) == ["b", "d", "f"]


def test_given_a_full_queue_when_one_more_is_to_come_then_it_is_told_when_to_try_again() -> None:
    """MAX_QUEUED_JOBS; those that run do not count."""
    ray = Ray(max_queued_jobs=2, queues=ONE_AT_A_TIME)
    ray.wait(job("a"), job("b"))
    ray.turns.check_room("local")
    ray.wait(job("c"))
    with pytest.raises(QueueFull) as caught:
        ray.turns.check_room("local")
    assert caught.value.retry_after_s > 0
    assert ray.turns.withdraw("b")
    ray.turns.check_room("local")


def test_given_a_low_and_a_high_priority_when_there_is_room_for_one_then_the_high_one_begins() -> None:
    """Until the low one has waited for as long as the settings say."""
    now = time.time()
    ray = Ray(queues=ONE_AT_A_TIME, priority_ageing=10.0)
    ray.wait(job("first", requested=now))
    ray.wait(job("low", priority=1, requested=now), job("high", priority=9, requested=now))
    ray.wait(job("old", priority=1, requested=now - 1000))
    for uuid in ("first", "old"):
        ray.turns.release(uuid)
        ray.turns.pump()
    assert ray.begun == ["first", "old", "high"]


# --- Later -----------------------------------------------------------------------------------------------------------


def test_given_a_job_that_may_not_begin_yet_when_its_time_comes_then_it_begins_by_itself() -> None:
    """Its backoff is over, and nothing else happens on the platform."""

    async def given() -> None:
        ray = Ray()
        now = time.time()
        ray.wait(job("later", not_before=now + 0.15), job("soon", not_before=now + 0.05), job("now"))
        ray.wait(job("past", not_before=now - 1))
        assert ray.begun == ["now", "past"]
        assert "retried in 1 s" in ray.reason("soon")
        assert ray.row("cpu")["waiting"] == 2
        await ray.has_begun(4)
        assert ray.begun[2:] == ["soon", "later"]
        assert time.time() >= now + 0.15

    asyncio.run(given())


def test_given_a_job_that_may_not_begin_yet_when_it_is_withdrawn_then_it_never_does() -> None:
    """It was cancelled; the alarm rings for nobody."""

    async def given() -> None:
        ray = Ray()
        now = time.time()
        ray.wait(job("gone", not_before=now + 0.05), job("there", not_before=now + 0.1))
        assert ray.turns.withdraw("gone")
        await ray.has_begun(1)
        assert ray.begun == ["there"]

    asyncio.run(given())


def test_given_rows_of_before_a_restart_when_recovered_then_each_waits_as_it_did() -> None:
    """By age, with its priority and seats; what it waits with is JSON in the store."""

    async def given() -> None:
        old = job("old", requested=1.0, pools=(("catia", 1),))
        new = job("new", requested=2.0, pools=(("catia", 1),), submitter="team", priority=5)
        late = job("late", requested=0.5, not_before=time.time() + 60)
        ray = Ray(pools={"catia": 1})
        rows = [(one.uuid, one.requested, json.loads(str(one.waits))) for one in (new, old, late)]
        ray.turns.recover(rows)
        ray.turns.pump()
        assert ray.begun == ["old"]
        assert "pool catia" in ray.reason("new")
        assert "retried in" in ray.reason("late")
        assert {row["name"] for row in ray.turns.submitters()} >= {"local", "team"}
        ray.turns.withdraw("late")

    asyncio.run(given())


# --- Holding ---------------------------------------------------------------------------------------------------------


def test_given_a_job_that_waits_for_others_when_it_rests_then_another_begins_and_its_seat_stays_its_own() -> None:
    """Else a script that waits for a task could keep it from ever running."""
    ray = Ray(queues=ONE_AT_A_TIME, pools={"catia": 1})
    ray.wait(job("parent", pools=(("catia", 1),)), job("child"), job("other", pools=(("catia", 1),)))
    assert ray.begun == ["parent"]
    ray.turns.rest("parent")
    assert ray.begun == ["parent", "child"]
    ray.turns.release("child")
    ray.turns.pump()
    assert ray.begun == ["parent", "child"]
    ray.turns.resume("parent")
    assert ray.row("cpu")["running"] == 1
    ray.turns.release("parent")
    ray.turns.pump()
    assert ray.begun == ["parent", "child", "other"]


def test_given_a_job_that_has_not_stood_in_line_when_it_is_held_then_it_counts() -> None:
    """One that ran before a restart, or was launched ahead of its turn."""
    ray = Ray(queues=ONE_AT_A_TIME)
    ray.turns.hold("runs", job("runs"))
    ray.wait(job("waits"))
    assert ray.begun == []
    assert ray.turns.waiting("runs") is None
    ray.turns.release("runs")
    ray.turns.pump()
    assert ray.begun == ["waits"]


def test_given_a_job_and_the_next_of_its_chain_when_asked_then_it_may_follow_only_where_nobody_comes_first() -> None:
    """It takes over the place."""
    ray = Ray(queues=ONE_AT_A_TIME)
    first, second = job("first"), job("second")
    ray.wait(first)
    assert ray.turns.may_follow(first.uuid, second)
    assert not ray.turns.may_follow(first.uuid, replace(second, queue="gpu"))
    ray.wait(job("urgent", priority=9))
    assert not ray.turns.may_follow(first.uuid, second)


# --- Looking ---------------------------------------------------------------------------------------------------------


def test_given_a_waiting_job_when_asked_then_it_tells_where_it_stands_and_when_it_may_begin() -> None:
    """As plain values, with a time as the contract writes times."""
    ray = Ray(queues=ONE_AT_A_TIME)
    ray.wait(*(job(name) for name in "abc"))
    waiting = ray.turns.waiting("c")
    assert waiting is not None
    assert (waiting["position"], waiting["expected_start"]) == (2, None)
    ray.turns.release("a")
    ray.turns.pump()
    waiting = ray.turns.waiting("c")
    assert waiting is not None
    assert waiting["position"] == 1
    assert "T" in waiting["expected_start"]
    assert ray.turns.waiting("b") is None
    assert ray.turns.waiting("nobody") is None


def test_given_a_platform_at_rest_when_its_queues_are_asked_then_all_are_there() -> None:
    """With what they would have room for."""
    rows = Ray(queues={"render": {"num_cpus": 4, "concurrency": 2}}).turns.queues()
    assert [row["name"] for row in rows] == ["cpu", "gpu", "gpuhigh", "control", "zip", "clean", "render"]
    assert {row["places"] for row in rows if row["name"] != "render"} == {16}
    assert rows[-1]["places"] == rows[-1]["concurrency"] == 2
    assert {(row["waiting"], row["running"], row["oldest_wait"], row["mean_run"]) for row in rows} == {
        (0, 0, None, None)
    }


def test_given_jobs_that_ask_for_the_same_when_made_needs_then_they_share_the_value() -> None:
    """A hundred thousand of them wait."""
    pools = (("catia", 1),)
    assert needs_of(job("a", pools=pools)) is needs_of(job("b", pools=(("catia", 1),)))
    assert needs_of(job("a", pools=pools)) != needs_of(job("a"))
