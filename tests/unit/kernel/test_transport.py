"""Scenes that are pickled: they arrive whole, their arrays out of band, however deep the tree is."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from pixyz_worker.kernel.algorithms.brep_measures import brep_infos
from pixyz_worker.kernel.formats.reading import read_scene
from pixyz_worker.kernel.scene import Animation, Channel, Occurrence, Part, Scene
from tests.unit.kernel.scene_samples import ball, full_scene, same


def sent(value: Any) -> tuple[Any, bytes, list[pickle.PickleBuffer]]:
    """What arrives in another process, the pickle, and what travels beside it."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(text, buffers=[bytes(buffer.raw()) for buffer in buffers]), text, buffers  # noqa: S301


def test_a_scene_arrives_whole() -> None:
    """Given a scene with everything, when it is sent, then nothing differs."""
    scene = full_scene()
    same(sent(scene)[0], scene)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_scene_is_pickled_by_any_protocol(protocol: int) -> None:
    """Given a scene, when it is pickled in band, then nothing differs."""
    scene = full_scene()
    same(pickle.loads(pickle.dumps(scene, protocol=protocol)), scene)  # noqa: S301
    same(copy.deepcopy(scene), scene)


def test_arrays_travel_beside_the_pickle() -> None:
    """Given a mesh of a megabyte, when it is sent, then the pickle is small, and the receiver makes no copy."""
    mesh = ball(100_000)
    arrived, text, buffers = sent(Scene(name="x", root=Occurrence(part=Part(mesh=mesh))))
    assert len(text) < 4096
    assert sum(buffer.raw().nbytes for buffer in buffers) >= mesh.positions.nbytes + mesh.triangles.nbytes
    received = arrived.root.part.mesh
    assert not received.positions.flags.owndata
    assert not received.positions.flags.writeable
    assert (received.positions == mesh.positions).all()


def test_a_glb_stays_one() -> None:
    """Given a scene that is a GLB, when it is sent, then its bytes arrive, not in the pickle, and undecoded."""
    scene = Scene(name="x", glb=b"glTF" + bytes(100_000), unit_m=1.0, up="y")
    arrived, text, _ = sent(scene)
    assert len(text) < 2048
    assert (arrived.source, arrived.name, arrived.unit_m, arrived.up) == (scene.source, "x", 1.0, "y")
    assert pickle.loads(pickle.dumps(scene)).source == scene.source  # noqa: S301


def test_a_deep_tree_arrives() -> None:
    """Given a tree of ten thousand levels, when it is sent, then there is no recursion."""
    root = deepest = Occurrence(name="0")
    for number in range(1, 10_000):
        deepest = deepest.add(Occurrence(name=str(number)))
    arrived, found = sent((Scene(name="deep", root=root), deepest))[0]
    assert found.name == "9999"
    assert found.owner() is arrived
    assert [occurrence.name for occurrence in arrived.root.walk()][-2:] == ["9998", "9999"]


def test_what_is_sent_together_stays_together() -> None:
    """Given a scene with one of its occurrences, parts and materials, when sent, then they are still those."""
    scene = full_scene()
    chosen = scene.instances()[1]
    assert chosen.part is not None
    arrived, occurrence, part, materials = sent((scene, chosen, chosen.part, scene.materials()))[0]
    assert occurrence is arrived.instances()[1]
    assert part is occurrence.part
    assert materials == arrived.materials()


def test_an_occurrence_brings_its_scene() -> None:
    """Given occurrences of a scene and of none, when sent alone, then their trees come along, once."""
    first, second = sent(full_scene().instances()[:2])[0]
    assert first.owner() is second.owner() is not None
    loose = Occurrence(name="top", children=[Occurrence(name="below", matrix=numpy.eye(4) * 2)])
    below = sent(loose.children[0])[0]
    assert (below.name, below.parent.name, below.owner()) == ("below", "top", None)
    assert (below.matrix == numpy.eye(4) * 2).all()


def test_a_channel_whose_target_is_gone_is_left_out() -> None:
    """Given an animation of what was taken out of the tree, when sent, then the rest arrives."""
    root = Occurrence(children=[Occurrence(name="moves")])
    times, values = numpy.zeros(1, numpy.float32), numpy.zeros((1, 3), numpy.float32)
    channels = [Channel(target=target, path="translation", times=times, values=values) for target in root.children]
    channels.append(Channel(target=Occurrence(name="gone"), path="scale", times=times, values=values))
    scene = Scene(name="x", root=root, animations=[Animation(name="a", channels=channels)])
    (channel,) = sent(scene)[0].animations[0].channels
    assert channel.target.name == "moves"


def test_exact_surfaces_travel_as_ray_sends_them(need_extra: Callable[[str], None], sample: Path) -> None:
    """Given a STEP file as it was read, when it is sent by cloudpickle, then its surfaces arrive, beside the pickle."""
    need_extra("cad")
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    scene = read_scene(sample)
    buffers: list[pickle.PickleBuffer] = []
    text = cloudpickle.dumps(scene, protocol=5, buffer_callback=buffers.append)
    arrived = pickle.loads(text, buffers=[bytes(buffer.raw()) for buffer in buffers])  # noqa: S301
    assert len(text) < sum(buffer.raw().nbytes for buffer in buffers)
    assert brep_infos([arrived.root]) == brep_infos([scene.root])
