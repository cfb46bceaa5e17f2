"""Small parts are deleted by their size in the world."""

from __future__ import annotations

import pytest

from pixyz_worker.kernel.algorithms import selection
from pixyz_worker.kernel.algorithms.pruning import delete_small_parts
from pixyz_worker.kernel.scene import AnnotationGroup, Occurrence, Part, Scene, tops
from tests.unit.kernel import known_shapes as shapes


def _scene() -> Scene:
    """A cube of 1 m, one of 0.1 m in a group, and a small part shown large."""
    small = Part(name="small", mesh=shapes.box(0.1))
    large = Occurrence(name="shown large", part=small, matrix=shapes.place(0, 0, 0, scale=10))
    group = Occurrence(name="group", children=[Occurrence(name="screw", part=small)])
    return shapes.scene(Occurrence(name="cube", part=Part(mesh=shapes.box())), group, large, Occurrence(name="empty"))


@pytest.mark.parametrize(
    ("options", "gone"),
    [
        ({"size_m": 0.17}, 0),
        ({"size_m": 0.18}, 1),
        ({"ratio": 0.05}, 0),
        ({"ratio": 0.11}, 1),
        ({"size_m": 0.001, "ratio": 0.11}, 1),
        ({"size_m": 2.0}, 3),
    ],
)
def test_small_parts_go(options: dict[str, float], gone: int) -> None:
    """Given parts of several sizes, when small ones are deleted, then their size in the world counts."""
    scene = _scene()

    assert delete_small_parts([scene.root], **options) == gone
    assert len(scene.instances()) == 3 - gone
    names = [child.name for child in scene.root.children]
    assert ("group" in names) == (gone == 0)
    assert "empty" in names  # it was so before


@pytest.mark.parametrize("options", [{}, {"size_m": -1.0}, {"ratio": 2.0}])
def test_bad_sizes(options: dict[str, float]) -> None:
    """Given no size, or one that is none, when small parts are deleted, then it says so."""
    with pytest.raises(ValueError, match=r"needed|must"):
        delete_small_parts([Occurrence()], **options)


def test_a_deep_tree() -> None:
    """Given a small part below ten thousand groups, when it is deleted, then all the empty groups go, to the root."""
    deepest = Occurrence(part=Part(mesh=shapes.box(0.1)))
    root = deepest
    for _ in range(10_000):
        root = Occurrence(children=[root])
    scene = Scene(name="deep", root=root)

    assert delete_small_parts([scene.root], size_m=1.0) == 1
    assert scene.root.children == []


def test_what_carries_annotations_stays() -> None:
    """Given a group with annotations, when all below it is deleted, then the group stays."""
    noted = Occurrence(
        annotations=(AnnotationGroup(name="notes"),), children=[Occurrence(part=Part(mesh=shapes.box(0.1)))]
    )
    scene = shapes.scene(noted)

    delete_small_parts([scene.root], size_m=1.0)

    assert scene.root.children == [noted]
    assert noted.children == []


def test_tops_and_common_ancestors() -> None:
    """Given occurrences inside each other, when the tops are asked for, then each branch counts once."""
    scene = _scene()
    cube, group, *_ = scene.root.children

    assert tops([group.children[0], group, cube, cube]) == [group, cube]
    assert len(selection.instances([scene.root, group])) == 3
    assert selection.common_ancestor([group.children[0]]) is group
    assert selection.common_ancestor([cube, group.children[0]]) is scene.root
    assert selection.common_ancestor([group]) is group
