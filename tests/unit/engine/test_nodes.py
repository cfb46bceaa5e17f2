"""The registry of machines: which of them may run jobs, and why the others may not."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pytest
import ray

from pixyz_ray.cluster import nodes as nodes_module
from pixyz_ray.cluster.errors import UnknownNode
from pixyz_ray.cluster.fitness import problem_of
from pixyz_ray.cluster.node import NodeState
from pixyz_ray.cluster.nodes import NodeRegistry
from pixyz_ray.machine_gate import Closed
from pixyz_ray.version import VERSION
from pixyz_worker.exception import InvalidBackendParameter

REPORT: Mapping[str, Any] = {
    "host": "b",
    "python": platform.python_version(),
    "ray": ray.__version__,
    "pixyz": VERSION,
    "share": None,
    "gate": None,
    "share_disk": None,
    "spill_disk": None,
    "memory": {"total": 8, "available": 6},
    "gpus": [],
    "workers": {"idle": 1, "busy": 0},
    "environment": {},
}


class Machines:
    """Machines in memory, each with its gate; one that hangs answers no probe."""

    def __init__(self, *names: str) -> None:
        self.names = {name * 56: name for name in names}
        self.reports: dict[str, dict[str, Any]] = {}
        self.gates: dict[str, dict[str, Any] | None] = {}
        self.gpus: dict[str, dict[str, float]] = {}
        self.hanging: set[str] = set()
        self.dead: dict[str, str] = {}
        self.probes: list[str] = []

    async def nodes(self) -> Sequence[Mapping[str, Any]]:
        """Return what Ray would."""
        return [
            {
                "NodeID": node_id,
                "Alive": node_id not in self.dead,
                "DeathReasonMessage": self.dead.get(node_id, ""),
                "NodeManagerHostname": name,
                "NodeManagerAddress": f"10.0.0.{ord(name[0])}",
                "Resources": {"CPU": 2.0, **self.gpus.get(name, {})},
                "Labels": {},
                "RayletSocketName": "/tmp/ray/session/sockets/raylet",
            }
            for node_id, name in self.names.items()
        ]

    async def probe(self, node_id: str, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer as the machine would."""
        name = self.names[node_id]
        self.probes.append(name)
        if name in self.hanging:
            await asyncio.Event().wait()
        if order["gate"] != "keep":
            self.gates[name] = None if order["gate"] == "open" else order["gate"]
        return {**REPORT, **self.reports.get(name, {}), "gate": self.gates.get(name)}


class Stage:
    """A registry over machines, and what it has asked for."""

    def __init__(self, *names: str) -> None:
        self.machines = Machines(*names)
        self.changes = 0
        self.ended: list[tuple[str, str]] = []
        self.registry = self.start()

    def start(self) -> NodeRegistry:
        """Return a registry that knows nothing yet, as after a restart of the tracker."""
        return NodeRegistry(
            self.machines,
            own="a" * 56,
            share="/share",
            on_change=self._changed,
            end_attempt=lambda uuid, sentence: self.ended.append((uuid, sentence)),
        )

    def _changed(self) -> None:
        self.changes += 1

    async def settled(self) -> None:
        """Look at the cluster, and return when the probes that began then have ended."""
        await self.registry.refresh()
        while self.registry._working:
            await asyncio.sleep(0)

    def state(self, name: str) -> NodeState:
        """Return a machine's state."""
        return self.registry.find(name).state


def _cpus(stage: Stage) -> float:
    """Return the CPUs of the machines that may run jobs."""
    return sum(float(record["Resources"]["CPU"]) for record in stage.registry.usable())


def run(given: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a loop, with a deadline."""
    asyncio.run(asyncio.wait_for(given(), 20))


def test_joins() -> None:
    """Given machines, when they join and leave, then they are followed, and none is excluded."""

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.registry.refresh()
        assert stage.state("b") is NodeState.JOINING
        await stage.settled()
        assert stage.state("b") is NodeState.READY
        assert _cpus(stage) == 4.0
        del stage.machines.names["b" * 56]
        await stage.settled()
        assert stage.state("b") is NodeState.DEAD
        assert _cpus(stage) == 2.0
        assert (stage.registry.excluded(), stage.changes) == (frozenset(), 0)

    run(given)


def test_gpu_memory() -> None:
    """Given machines with GPUs, when probed, then the memory of their cards is known, or that it never will be."""

    async def given() -> None:
        stage = Stage("a", "b", "c")
        stage.machines.gpus = {"a": {"GPU": 2.0}, "b": {"GPU": 1.0}}
        stage.machines.reports = {
            "a": {"gpus": [{"model": "L4", "memory": 24}, {"model": "T4", "memory": 16}]},
        }
        await stage.registry.refresh()
        assert [one["GpuMemories"] for one in stage.registry.usable()] == [None, None, []]
        await stage.registry.answered(5)
        assert [one["GpuMemories"] for one in stage.registry.usable()] == [[24, 16], [], []]
        assert stage.changes == 2
        await stage.registry.check("a")
        assert stage.changes == 2

    run(given)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"pixyz": None}, "does not have Pixyz on Ray"),
        ({"pixyz": "0.0.1"}, "0.0.1"),
        ({"python": "3.99.1"}, "Python 3.99.1"),
        ({"ray": "1.0.0"}, "Ray 1.0.0"),
        ({"share": "cannot see the share /share"}, "Mount the share"),
    ],
)
def test_unfit(report: dict[str, Any], words: str) -> None:
    """Given a machine with something wrong, when probed, then it gets no job, until that is corrected."""

    async def given() -> None:
        stage = Stage("a", "b")
        stage.machines.reports["b"] = report
        await stage.settled()
        assert stage.state("b") is NodeState.UNFIT
        assert stage.registry.excluded() == {"b" * 56}
        assert words in stage.registry.warnings()[0]
        assert "Machine b " in stage.registry.warnings()[0]
        assert _cpus(stage) == 2.0
        assert stage.registry.trouble() is None
        stage.machines.reports.clear()
        assert (await stage.registry.check("b")).state is NodeState.READY
        assert stage.registry.excluded() == frozenset()
        assert stage.changes == 2

    assert problem_of("b", REPORT) is None
    run(given)


def test_all_unfit() -> None:
    """Given no machine that sees the share, when asked, then the reason names each."""

    async def given() -> None:
        stage = Stage("a", "b")
        stage.machines.reports = {name: {"share": f"cannot see the share on {name}"} for name in "ab"}
        await stage.settled()
        trouble = stage.registry.trouble() or ""
        assert "on a" in trouble
        assert "on b" in trouble

    run(given)


def test_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a machine that hangs, when probed, then the others are known, and it is unfit after two probes."""
    monkeypatch.setattr(nodes_module, "_PROBE_PATIENCE_S", 0.01)
    monkeypatch.setattr(nodes_module, "_UNFIT_EVERY_S", 0.0)

    async def given() -> None:
        stage = Stage("a", "b")
        stage.machines.hanging = {"a", "b"}
        for _ in range(3):
            await stage.settled()
        assert stage.state("b") is NodeState.UNFIT
        # The tracker itself runs there.
        assert stage.state("a") is NodeState.JOINING

    run(given)


def test_refused() -> None:
    """Given a machine whose worker refuses an attempt, when told, then it gets no more at once, until it is fit."""

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.settled()
        stage.registry.on_refusal("b" * 56, "Machine b cannot see the share.", unfit=True)
        assert stage.registry.excluded() == {"b" * 56}
        await stage.settled()
        assert stage.state("b") is NodeState.UNFIT
        assert (await stage.registry.check("b")).state is NodeState.READY

    run(given)


def test_lost() -> None:
    """Given machines, when one is lost, then it is excluded and shown as such until it is not, and still counts."""

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.settled()
        stage.registry.on_lost(frozenset({"b" * 56}))
        assert stage.registry.excluded() == {"b" * 56}
        assert (stage.state("b"), stage.changes) == (NodeState.UNFIT, 1)
        assert "is lost" in str(stage.registry.find("b").reason)
        assert (_cpus(stage), stage.registry.warnings()) == (4.0, [])
        stage.registry.on_lost(frozenset())
        assert (stage.registry.excluded(), stage.state("b")) == (frozenset(), NodeState.READY)

    run(given)


def test_drained() -> None:
    """Given a machine that runs a job, when drained, then it is draining until the job has ended; it can be undone."""

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.settled()
        stage.registry.on_start("job", "b" * 56)
        assert (await stage.registry.drain("b", None)).state is NodeState.DRAINING
        assert stage.machines.gates["b"] is not None
        assert stage.registry.excluded() == {"b" * 56}
        stage.registry.on_end("job")
        assert stage.state("b") is NodeState.DRAINED
        assert (await stage.registry.undrain("b")).state is NodeState.READY
        assert stage.machines.gates["b"] is None
        assert stage.registry.excluded() == frozenset()

    run(given)


def test_busy_with_what_the_tracker_does_not_know() -> None:
    """Given a worker that the machine itself calls busy, when drained, then it is not called drained."""

    async def given() -> None:
        stage = Stage("a", "b")
        stage.machines.reports["b"] = {"workers": {"idle": 0, "busy": 1}}
        await stage.settled()
        assert (await stage.registry.drain("b", None)).state is NodeState.DRAINING

    run(given)


def test_drained_as_soon_as_the_last_job_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a machine that is drained, when its last job ends, then it is probed until its worker is idle too."""
    monkeypatch.setattr(nodes_module, "_CONFIRM_AGAIN_S", 0.001)

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.settled()
        stage.machines.reports["b"] = {"workers": {"idle": 0, "busy": 1}}
        stage.registry.on_start("job", "b" * 56)
        assert (await stage.registry.drain("b", None)).state is NodeState.DRAINING
        stage.machines.probes.clear()
        stage.registry.on_end("job")
        while stage.machines.probes.count("b") < 3:
            await asyncio.sleep(0.001)
        assert stage.state("b") is NodeState.DRAINING
        stage.machines.reports.clear()
        while stage.state("b") is not NodeState.DRAINED:
            await asyncio.sleep(0.001)

    run(given)


def test_death_has_its_reason() -> None:
    """Given a machine that Ray has declared dead, when shown, then with Ray's message, where it has one."""

    async def given() -> None:
        stage = Stage("a", "b", "c")
        await stage.settled()
        stage.machines.dead = {"b" * 56: "health check failed.\nmore"}
        del stage.machines.names["c" * 56]
        await stage.settled()
        assert stage.registry.find("b").reason == "Machine b has left the cluster: health check failed."
        assert stage.registry.find("c").reason == "Machine c has left the cluster."
        assert stage.registry.warnings() == []

    run(given)


def test_drain_outlives_the_tracker() -> None:
    """Given a drained machine, when the tracker is replaced, then it learns that from the machine."""

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.settled()
        await stage.registry.drain("b", 1000)
        stage.registry.close()
        stage.registry = stage.start()
        await stage.settled()
        assert stage.state("b") is NodeState.DRAINED
        gate = stage.registry.find("b").gate
        assert gate is not None
        assert gate.deadline is not None
        stage.registry.close()

    run(given)


def test_new_run_of_ray_is_not_drained() -> None:
    """Given a drained machine, when Ray is started there again, then it gets jobs."""

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.settled()
        await stage.registry.drain("b", None)
        del stage.machines.names["b" * 56]
        stage.machines.names["c" * 56] = "b"
        stage.machines.gates.clear()
        await stage.settled()
        assert stage.registry.find("b").id == "c" * 56
        assert stage.state("b") is NodeState.READY

    run(given)


def test_deadline() -> None:
    """Given a job on a machine, when the deadline of its drain is over, then its attempt is ended, once."""

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.settled()
        stage.registry.on_start("job", "b" * 56)
        await stage.registry.drain("b", 0.01)
        while not stage.ended:
            await asyncio.sleep(0.005)
        assert stage.ended[0][0] == "job"
        assert "Machine b is being drained" in stage.ended[0][1]
        stage.registry._enforce(stage.registry.find("b"))
        assert len(stage.ended) == 1

    run(given)


def test_drain_of_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a machine that hangs, when drained, then the answer comes in time and says that it is not confirmed."""
    monkeypatch.setattr(nodes_module, "_ORDER_PATIENCE_S", 0.01)

    async def given() -> None:
        stage = Stage("a", "b")
        await stage.settled()
        stage.machines.hanging.add("b")
        node = await stage.registry.drain("b", None)
        assert node.state is NodeState.DRAINING
        assert "not confirmed" in str(node.reason)
        stage.registry.close()

    run(given)


def test_names() -> None:
    """Given machines, when named, then by host name, address, id or its beginning; errors say what there is."""

    async def given() -> None:
        stage = Stage("alpha"[:1], "b")
        stage.machines.names["d" * 56] = "delta"
        stage.machines.names["e" * 56] = "twin"
        stage.machines.names["f" * 56] = "twin"
        await stage.settled()
        find = stage.registry.find
        assert find("delta") is find("d" * 56) is find("d" * 6) is find("10.0.0.100")
        with pytest.raises(UnknownNode, match="Did you mean 'delta'"):
            find("detla")
        with pytest.raises(UnknownNode, match="Of an id, give at least 6 characters"):
            find("d" * 5)
        with pytest.raises(InvalidBackendParameter, match="eeeeeeee, ffffffff"):
            find("twin")

    run(given)


def test_views() -> None:
    """Given a machine, when shown, then as plain values, with what is in use."""

    async def given() -> None:
        stage = Stage("a")
        await stage.settled()
        view = stage.registry.views({"a" * 56: {"CPU": 1.5}})[0]
        assert view["cpus"] == {"total": 2.0, "used": 1.5}
        assert view["memory"] == {"total": 8, "used": 2}
        assert view["head"]
        assert view["share"]["ok"]
        assert view["state"] == "ready"
        assert view["probed"] < 20

    run(given)


def test_gate_as_plain() -> None:
    """Given a closed gate, when sent to a machine and back, then it is the same."""
    closed = Closed(since=time.time(), deadline=None)
    assert Closed.from_plain(asdict(closed)) == closed
