"""What scripts hand over where the SDK wants occurrences, resolved in one place.

A Scene stands for its root occurrence, an Occurrence for itself. None, 0 and an empty list stand for everything
that was imported, as in the SDK.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pixyz_worker.exception import PixyzException
from pixyz_worker.kernel import session
from pixyz_worker.kernel.scene import Animation, Channel, Occurrence, Scene, tops


def is_everything(given: Any) -> bool:
    """Whether it stands for everything that was imported."""
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given == 0):
        return True
    return isinstance(given, list | tuple | set | frozenset) and all(map(is_everything, given))


def occurrences(given: Any = None) -> list[Occurrence]:
    """The occurrences that are meant, without those that lie below another one of them; [] for an empty session."""
    if is_everything(given):
        whole = session.whole()
        return [] if whole is None else [whole.root]
    return tops(_flattened(given))


def one(given: Any) -> Occurrence:
    """The single occurrence that is meant; PixyzException when it is none, or several."""
    found = occurrences(given)
    if len(found) != 1:
        raise PixyzException(f"One occurrence is wanted here, not {len(found)}.")
    return found[0]


def parts(given: Any = None) -> list[Occurrence]:
    """The occurrences with a part among those that are meant and all below them."""
    return [below for top in occurrences(given) for below in top.walk() if below.part is not None]


def as_scene(given: Any) -> Scene:
    """The scene of what is meant: the very Scene, or one that holds copies of the branches at their places."""
    if isinstance(given, Scene) and _is_untouched(given):
        return given
    tops = occurrences(given)
    owner = tops[0].owner()
    if len(tops) == 1 and owner is not None and tops[0] is owner.root:
        return owner
    targets: dict[Occurrence, Occurrence] = {}
    branches = [_copied(top, targets) for top in tops]
    name = tops[0].name or (owner.name if owner else "")
    root = branches[0] if len(branches) == 1 else Occurrence(name=name, children=branches)
    if owner is None:
        return Scene(name=name, root=root)
    moving = (_retargeted(animation, targets) for animation in owner.animations)
    return Scene(
        name=name,
        root=root,
        unit_m=owner.unit_m,
        up=owner.up,
        animations=[animation for animation in moving if animation.channels],
        variants=owner.variants,
    )


def put_below(scene: Scene, above: Occurrence) -> None:
    """Bring the tree of a scene below an occurrence of another."""
    owner, child = above.owner(), scene.root
    if owner is None:
        child.scene = None
    else:
        owner.take(scene)
    if child.parent is not above:
        above.add(child)


def _flattened(given: Any) -> Iterable[Occurrence]:
    """The occurrences of handles, and of lists of them."""
    if isinstance(given, Occurrence):
        yield given
    elif isinstance(given, Scene):
        yield given.root
    elif isinstance(given, list | tuple | set | frozenset):
        for item in given:
            yield from occurrences(None) if is_everything(item) else _flattened(item)
    else:
        raise PixyzException(
            f"The root is {type(given).__name__}; give what importScene or pxz.scene has returned, or nothing."
        )


def _is_untouched(scene: Scene) -> bool:
    """Whether a scene is still what its handle says; it is not once its tree was put below another."""
    if any(scene is known for known in session.scenes()):
        return True
    return scene.root.scene is scene


def _copied(top: Occurrence, targets: dict[Occurrence, Occurrence]) -> Occurrence:
    """A copy of a branch that shares the parts, with its top at its place in the world."""
    copy = replace(top, matrix=top.world(), children=[], parent=None, scene=None)
    pending = [(top, copy)]
    while pending:
        original, twin = pending.pop()
        targets[original] = twin
        for child in original.children:
            below = replace(child, children=[], parent=twin, scene=None)
            twin.children.append(below)
            pending.append((child, below))
    return copy


def _retargeted(animation: Animation, targets: dict[Occurrence, Occurrence]) -> Animation:
    """The channels of an animation that move something of a copied branch."""
    channels: list[Channel] = [
        replace(channel, target=targets[channel.target]) for channel in animation.channels if channel.target in targets
    ]
    return Animation(name=animation.name, channels=channels)
