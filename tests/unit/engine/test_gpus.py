"""GPUs: what a job gets of the cards that the cluster's machines have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.cluster.gpu_expectation import has_gpu_type
from pixyz_ray.cluster.gpus import NO_GPU, Gpus, Grant
from pixyz_ray.gpu_need import GpuNeed
from pixyz_ray.queues import DEFAULT_QUEUES

GPU = DEFAULT_QUEUES["gpu"]
GB = 2**30


def node(
    id: str, gpus: float = 1, memory: str | None = None, read: list[int] | None = None, **labels: str
) -> dict[str, Any]:
    """A machine as the registry describes it; its cards have been read or not."""
    declared = {"pixyz.io/gpu-memory": memory} if memory else {}
    resources = {"CPU": 4.0, **({"GPU": float(gpus)} if gpus else {})}
    labels = {**labels, **declared}
    return {"NodeID": id, "Alive": True, "Resources": resources, "Labels": labels, "GpuMemories": read}


def cluster(*nodes: dict[str, Any], expected: bool = False) -> Gpus:
    """The GPUs of a cluster with these machines."""
    gpus = Gpus(expected)
    gpus.take_nodes(nodes)
    return gpus


def need(mode: str = "require", cards: float = 1, memory: int | None = None) -> GpuNeed:
    """A job's need."""
    return GpuNeed(mode=mode, cards=cards, memory=memory)


def test_no_need() -> None:
    """Given a job that needs no GPU, when granted, then it gets none, whatever there is."""
    assert cluster(node("a")).grant(DEFAULT_QUEUES["cpu"], None) is NO_GPU


@pytest.mark.parametrize(
    ("nodes", "wanted", "note"),
    [
        ([], need("prefer"), "The cluster has no GPU: queue gpu runs on CPU."),
        ([node("a", 0)], need("prefer"), "The cluster has no GPU: queue gpu runs on CPU."),
        ([node("a", 1)], need("prefer", 2), "No machine of the cluster has 2 GPUs together"),
        (
            [node("a", 1, "8GB")],
            need("prefer", 1, 9 * GB),
            "has 9 GB of memory, the largest has 8 GB: queue gpu runs on",
        ),
        ([], need("require"), "No machine of the cluster has a GPU: the job waits for one (gpu: require)."),
        ([node("a", 1, "8GB")], need("require", 1, 9 * GB), "has 9 GB of memory, the largest has 8 GB: the job waits"),
    ],
)
def test_missing(nodes: list[dict[str, Any]], wanted: GpuNeed, note: str) -> None:
    """Given no machine with what a job needs, when granted, then the note says so; only `require` asks Ray for it."""
    grant = cluster(*nodes).grant(GPU, wanted)
    assert grant.missing
    assert grant.note is not None
    assert note in grant.note
    assert bool(grant.num_gpus) == (wanted.mode == "require")


def test_follows() -> None:
    """Given a cluster without GPUs, when a machine with one joins and leaves, then grants follow."""
    gpus = cluster(node("a", 0))
    assert gpus.grant(GPU, need()).missing
    assert gpus.take_nodes([node("a", 0), node("b", 2)])
    assert gpus.grant(GPU, need()) == Grant(num_gpus=1)
    assert gpus.grant(GPU, need(cards=2)) == Grant(num_gpus=2)
    assert not gpus.take_nodes([node("b", 2), node("c", 0)])
    assert gpus.take_nodes([{**node("b", 2), "Alive": False}])
    assert gpus.grant(GPU, need()).missing


@pytest.mark.parametrize(
    ("selector", "found"),
    [("high", True), ("low", False), ("!low", True), ("in(low, high)", True), ("!in(low,high)", False)],
)
def test_labels(selector: str, found: bool) -> None:
    """Given a queue with labels, when granted, then only machines that Ray would take count."""
    queue = replace(GPU, labels={"kind": selector})
    assert (cluster(node("a", kind="high")).grant(queue, need()).missing is None) == found


def test_fraction() -> None:
    """Given cards of several sizes, when memory is needed, then the smallest that has it decides."""
    gpus = cluster(node("s", 1, "8GB"), node("m", 1, "16GB"), node("l", 1, "80GB"), node("none", 0))
    assert gpus.grant(GPU, need(memory=4 * GB)) == Grant(num_gpus=0.5, limit=4 * GB)
    assert gpus.grant(GPU, need(memory=12 * GB)) == Grant(num_gpus=0.75, limit=12 * GB, excluded=frozenset("s"))
    assert gpus.grant(GPU, need(memory=60 * GB)) == Grant(num_gpus=0.75, limit=60 * GB, excluded=frozenset("sm"))
    assert gpus.grant(GPU, need(cards=1, memory=GB // 1000)).num_gpus == 0.0002
    assert cluster(node("a", 2, "8GB")).grant(GPU, need(cards=2, memory=GB)) == Grant(num_gpus=2, limit=GB)


@given(st.integers(1, 200 * GB), st.lists(st.integers(GB, 200 * GB), min_size=1, max_size=5))
def test_fraction_law(memory: int, cards: list[int]) -> None:
    """Given any cards, when jobs are packed by their fractions, then no card is promised more memory than it has."""
    gpus = cluster(*(node(str(number), 1, str(card)) for number, card in enumerate(cards)))
    grant = gpus.grant(GPU, need(memory=memory))
    assert (grant.missing is None) == (memory <= max(cards))
    for number, card in enumerate(cards):
        if grant.missing is None and str(number) not in grant.excluded:
            assert int(1 / grant.num_gpus + 1e-9) * memory <= card * 1.000001
            assert 0 < grant.num_gpus <= 1


def test_unknown_memory() -> None:
    """Given a machine without NVML, when memory is needed, then a job has a whole card, and the note says why."""
    gpus = cluster(node("a"))
    reading = gpus.grant(GPU, need(memory=GB))
    assert reading.missing == "the memory of the cluster's GPUs is being read"
    assert gpus.is_reading
    assert gpus.take_nodes([node("a", read=[])])
    grant = gpus.grant(GPU, need(memory=GB))
    assert (grant.num_gpus, grant.missing) == (1, None)
    assert grant.note is not None
    assert "no NVML" in grant.note
    assert not gpus.is_reading
    assert not gpus.take_nodes([node("a", read=[])])


def test_learned_memory() -> None:
    """Given a machine whose cards were read, when memory is needed, then its smallest card counts."""
    gpus = cluster(node("a", 2, read=[16 * GB, 8 * GB]))
    assert gpus.grant(GPU, need(memory=2 * GB)).num_gpus == 0.25
    assert cluster(node("a", 2, "4GB", read=[16 * GB])).grant(GPU, need(memory=2 * GB)).num_gpus == 0.5


def test_never_fits() -> None:
    """Given cards that are all too small, when a job requires more, then that is known unless machines are expected."""
    gpus = cluster(node("a", 1, "8GB"))
    assert "largest has 8 GB" in str(gpus.too_small_for(GPU, need(memory=9 * GB)))
    assert gpus.too_small_for(GPU, need(memory=8 * GB)) is None
    assert gpus.too_small_for(GPU, need("prefer", memory=9 * GB)) is None
    assert cluster().too_small_for(GPU, need(memory=9 * GB)) is None
    assert cluster(node("a", 1, "8GB"), expected=True).too_small_for(GPU, need(memory=9 * GB)) is None


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (None, False),
        ({"available_node_types": {"a": {"resources": {"CPU": 4}}}}, False),
        ({"available_node_types": {"a": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 2}}}, True),
        ({"available_node_types": {"a": {"resources": {"GPU": 1}, "max_workers": 0}}}, False),
        ({"available_node_types": {"a": {"resources": {"GPU": 1}}}, "max_workers": 0}, False),
        ({"available_node_types": {"a": {}}}, False),
    ],
)
def test_node_types(config: Any, found: bool) -> None:
    """Given the configuration of `ray up`, when read, then a node type with GPUs that may be started is found."""
    assert has_gpu_type(config) == found
