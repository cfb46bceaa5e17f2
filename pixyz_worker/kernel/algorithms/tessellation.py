"""Triangles for exact surfaces, as closely as asked.

Parts that keep their exact surfaces are meshed by OpenCASCADE (the extra `cad`). A scene that came from a CAD file
without them is read again by its `remesh`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pixyz_worker.exception import InvalidFile
from pixyz_worker.kernel.brep import MILLIMETRE, OccBrep
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.mesh import Mesh
from pixyz_worker.kernel.options import USUAL, Tessellation
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

_BATCH_FACES = 2048
"""Parts with so many faces together are meshed at once: enough work for all cores, without much memory."""
_STEP = 4.0
"""Scenes without exact surfaces are read again for each group of parts whose sags differ by less than this factor."""


def tessellate(
    occurrences: Sequence[Occurrence], how: Tessellation, *, again: bool = False, normals: bool = True
) -> int:
    """Give triangles to the parts below occurrences that have exact surfaces; returns how many parts got some.

    Parts that have triangles already keep them, unless `again`. Parts of a CAD file that was read as triangles,
    without exact surfaces, get others when the file was not yet tessellated on demand, or `again`.
    """
    parts = _parts(occurrences)
    chosen = [part for part in parts if isinstance(part.brep, OccBrep) and (again or part.mesh is None)]
    count = _mesh(chosen, how, normals=normals)
    owners = dict.fromkeys(owner for occurrence in occurrences if (owner := occurrence.owner()) is not None)
    for owner in owners:
        if owner.remesh is not None:
            count += _read_again(owner, [part for part in parts if part.brep is None], how, again=again)
    if count:
        for owner in owners:
            owner.changed()
    return count


def ensure(scene: Scene) -> None:
    """Give triangles to those parts of a scene that have exact surfaces alone, as closely as usual."""
    if scene.source is None:
        tessellate([scene.root], USUAL)


def _parts(occurrences: Sequence[Occurrence]) -> list[Part]:
    every = (below.part for occurrence in occurrences for below in occurrence.walk())
    return list(dict.fromkeys(part for part in every if part is not None))


def _mesh(parts: list[Part], how: Tessellation, *, normals: bool) -> int:
    """Mesh exact surfaces, many parts at a time; returns how many got triangles."""
    if not parts:
        return 0
    from pixyz_worker.kernel.algorithms.subdivision import shorten
    from pixyz_worker.kernel.formats.cad import faceted, occ

    most, triangles, count = Limits.from_environment().max_triangles, 0, 0
    for sag_mm, batch in _batches(parts, how):
        with occ.explained("OpenCASCADE cannot tessellate it"):
            _mesh_shapes([part.brep.shape for part in batch], sag_mm, math.radians(how.angle_deg))  # type: ignore[union-attr]
        for part in batch:
            assert isinstance(part.brep, OccBrep)
            mesh = faceted.mesh_of(part.brep, normals=normals)
            occ.BRepTools.BRepTools.Clean_s(part.brep.shape)
            if mesh is None:
                continue
            part.mesh = mesh if how.length_m is None else shorten(mesh, how.length_m)
            count += 1
            triangles += len(part.mesh.triangles)
            if most and triangles > most:
                raise InvalidFile(f"The scene gets more than the {most} triangles that are allowed (MAX_TRIANGLES).")
    return count


def _batches(parts: list[Part], how: Tessellation) -> Iterator[tuple[float, list[Part]]]:
    """Parts of the same sag, in millimetres, few enough to be meshed at once."""
    from pixyz_worker.kernel.formats.cad import occ

    batches: dict[float, tuple[list[Part], int]] = {}
    for part in parts:
        assert isinstance(part.brep, OccBrep)
        diagonal = 0.0
        if how.sag_ratio is not None:
            low, high = part.brep.bounds()
            diagonal = math.dist(low, high)
        sag = how.sag(diagonal) if how.sag_ratio is None else max(_rounded(how.sag(diagonal)), how.floor_m)
        sag_mm = sag / MILLIMETRE
        batch, faces = batches.get(sag_mm, ([], 0))
        batch.append(part)
        faces += occ.shape_map(part.brep.shape, occ.FACE).Extent()
        batches[sag_mm] = (batch, faces)
        if faces >= _BATCH_FACES:
            yield sag_mm, batches.pop(sag_mm)[0]
    for sag_mm, (batch, _) in batches.items():
        yield sag_mm, batch


def _rounded(sag: float) -> float:
    """A sag of a coarser scale, at most a tenth smaller: parts of about one size are meshed together."""
    return float(1.1 ** math.floor(math.log(sag, 1.1) + 1e-9))


def _mesh_shapes(shapes: list[Any], sag_mm: float, angle: float) -> None:
    """Put triangles on the faces of shapes, anew."""
    from pixyz_worker.kernel.formats.cad import occ

    builder, compound = occ.BRep.BRep_Builder(), occ.TopoDS.TopoDS_Compound()
    builder.MakeCompound(compound)
    for shape in shapes:
        occ.BRepTools.BRepTools.Clean_s(shape)
        builder.Add(compound, shape)
    occ.BRepMesh.BRepMesh_IncrementalMesh(compound, sag_mm, False, angle, True)


def _read_again(scene: Scene, parts: list[Part], how: Tessellation, *, again: bool) -> int:
    """Give parts the triangles that they have when the scene's file is read with another tessellation."""
    from pixyz_worker.kernel.formats.cad.step import Remesh

    remesh = scene.remesh
    assert isinstance(remesh, Remesh)
    if how == remesh.quality or (remesh.chosen and not again):
        remesh.chosen = True
        return 0
    places = {part: number for number, part in enumerate(scene.parts())}
    count = 0
    for sag, group in _groups(parts, how).items():
        asked = Tessellation(sag_m=sag, angle_deg=how.angle_deg)
        count += _swap(scene.parts(), remesh(asked).parts(), {places[part] for part in group if part in places}, how)
    remesh.quality, remesh.chosen = how, True
    return count


def _groups(parts: list[Part], how: Tessellation) -> dict[float, list[Part]]:
    """Parts by the sag that they get, in metres: a few steps, each no coarser than asked."""
    groups: dict[float, list[Part]] = {}
    for part in parts:
        if part.mesh is not None:
            low, high = part.mesh.bounds
            sag = how.sag(math.dist(low, high))
            if how.sag_ratio is not None and sag != how.sag_m:
                sag = max(_STEP ** math.floor(math.log(sag, _STEP)), 1e-9)
            groups.setdefault(sag, []).append(part)
    return groups


def _swap(old: list[Part], new: list[Part], chosen: set[int], how: Tessellation) -> int:
    """Put the meshes of new parts into old ones: in the order of the tree, or by name where the tree was edited."""
    from pixyz_worker.kernel.algorithms.subdivision import shorten

    if [part.name for part in old] == [part.name for part in new]:
        pairs = [(old[number], new[number]) for number in sorted(chosen)]
    else:
        named = {part.name: part for part in new if sum(other.name == part.name for other in new) == 1}
        pairs = [(old[number], named[old[number].name]) for number in sorted(chosen) if old[number].name in named]
    for part, fresh in pairs:
        if part.mesh is not None and fresh.mesh is not None:
            mesh = _with_looks(fresh.mesh, part.mesh)
            part.mesh = mesh if how.length_m is None else shorten(mesh, how.length_m)
    return len(pairs)


def _with_looks(mesh: Mesh, before: Mesh) -> Mesh:
    """A mesh with the materials that the mesh before it had, where they match one another."""
    if len(mesh.materials) == len(before.materials):
        mesh.materials, mesh.variants = before.materials, before.variants
    return mesh
