"""Prims and attributes written into a layer of USD, without a stage: that would compose after each of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy
from numpy.typing import NDArray
from pxr import Gf, Sdf, Vt

TYPES = Sdf.ValueTypeNames
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")


class Names:
    """Names of prims that are ASCII identifiers, and different among siblings."""

    def __init__(self) -> None:
        self._taken: dict[str, dict[str, int]] = {}

    def new(self, parent: Any, wanted: str) -> str:
        """A name for a new prim below a parent, as much like the wanted one as USD allows."""
        plain = unicodedata.normalize("NFKD", wanted).encode("ascii", "ignore").decode()
        plain = _NOT_IN_NAMES.sub("_", plain)[:200] or "node"
        name = f"_{plain}" if plain[0].isdigit() else plain
        taken = self._taken.setdefault(str(parent.path) if isinstance(parent, Sdf.PrimSpec) else "/", {})
        while name in taken:
            taken[plain] = taken.get(plain, 0) + 1
            name = f"{'_' if plain[0].isdigit() else ''}{plain}_{taken[plain]}"
        taken[name] = 0
        return name


def add_prim(parent: Any, name: str, kind: str, shown: str = "", *, abstract: bool = False) -> Any:
    """A new prim below a prim or at the top of a layer; `shown` is its name for people."""
    spec = Sdf.PrimSpec(parent, name, Sdf.SpecifierClass if abstract else Sdf.SpecifierDef, kind)
    if shown and shown != name:
        spec.SetInfo("displayName", clean(shown))
    return spec


def add(spec: Any, name: str, kind: Any, value: Any, **info: Any) -> Any:
    """A new attribute of a prim; uniform where `uniform` is set, and with other information as given."""
    fixed = Sdf.VariabilityUniform if info.pop("uniform", False) else Sdf.VariabilityVarying
    attribute = Sdf.AttributeSpec(spec, name, kind, fixed)
    if value is not None:
        attribute.default = value
    for key, told in info.items():
        attribute.SetInfo(key, told)
    return attribute


def connect(spec: Any, name: str, kind: Any, target: str) -> None:
    """A new attribute whose value comes from another one."""
    add(spec, name, kind, None).connectionPathList.explicitItems = [Sdf.Path(target)]


def relate(spec: Any, name: str, targets: Iterable[Any]) -> None:
    """A new relationship of a prim."""
    Sdf.RelationshipSpec(spec, name, custom=False).targetPathList.explicitItems = list(targets)


def place(spec: Any, matrix: NDArray[Any] | None) -> None:
    """Put a prim where a (4, 4) matrix for column vectors says."""
    if matrix is not None:
        add(spec, "xformOp:transform", TYPES.Matrix4d, Gf.Matrix4d(numpy.asarray(matrix, float).T.tolist()))
        add(spec, "xformOpOrder", TYPES.TokenArray, Vt.TokenArray(["xformOp:transform"]), uniform=True)


def vectors(values: NDArray[Any]) -> Any:
    """An array of USD for (n, 2) or (n, 3) floats."""
    kinds = {2: Vt.Vec2fArray, 3: Vt.Vec3fArray}
    return kinds[values.shape[1]].FromNumpy(numpy.ascontiguousarray(values, numpy.float32))


def whole_numbers(values: NDArray[Any]) -> Any:
    """An array of USD for whole numbers."""
    return Vt.IntArray.FromNumpy(numpy.ascontiguousarray(values.reshape(-1), numpy.int32))


def clean(text: str) -> str:
    """Text that USD can store: without control characters and halves of characters."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(letter for letter in whole if letter >= " " or letter in "\n\t")
