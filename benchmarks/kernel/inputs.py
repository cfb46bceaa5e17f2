"""The files that are measured, made anew for a run: nothing of anybody's is in the repository."""

from __future__ import annotations

from pathlib import Path

import numpy

from pixyz_worker.kernel.formats.reading import write_scene
from pixyz_worker.kernel.mesh import Mesh, make_mesh
from pixyz_worker.kernel.scene import Occurrence, Part, Scene

PLATES = 100
"""Parts of the STEP assembly, each other than the others."""
HOLES = 24
"""Holes of each part."""


def step_assembly(path: Path, plates: int = PLATES, holes: int = HOLES) -> None:
    """Write a STEP file of plates with filleted edges and holes; needs the extra `cad`."""
    from OCP.BRepAlgoAPI import BRepAlgoAPI_Cut
    from OCP.BRepFilletAPI import BRepFilletAPI_MakeFillet
    from OCP.BRepPrimAPI import BRepPrimAPI_MakeBox, BRepPrimAPI_MakeCylinder
    from OCP.gp import gp_Ax2, gp_Dir, gp_Pnt
    from OCP.STEPControl import STEPControl_AsIs, STEPControl_Writer
    from OCP.TopAbs import TopAbs_EDGE
    from OCP.TopExp import TopExp_Explorer
    from OCP.TopoDS import TopoDS

    writer = STEPControl_Writer()
    for number in range(plates):
        corner = gp_Pnt(150.0 * (number % 10), 110.0 * (number // 10), 0.0)
        body = BRepPrimAPI_MakeBox(corner, 140.0, 100.0, 10.0 + number / 10).Shape()
        rounded = BRepFilletAPI_MakeFillet(body)
        edges = TopExp_Explorer(body, TopAbs_EDGE)
        while edges.More():
            rounded.Add(3.0, TopoDS.Edge(edges.Current()))
            edges.Next()
        body = rounded.Shape()
        for hole in range(holes):
            place = gp_Pnt(corner.X() + 15 + 20 * (hole % 6), corner.Y() + 15 + 22 * (hole // 6), -5.0)
            drill = BRepPrimAPI_MakeCylinder(gp_Ax2(place, gp_Dir(0, 0, 1)), 4.0 + hole / 20, 60.0).Shape()
            body = BRepAlgoAPI_Cut(body, drill).Shape()
        writer.Transfer(body, STEPControl_AsIs)
    writer.Write(str(path))


def bumpy_sphere(triangles: int) -> Mesh:
    """A closed ball with bumps of about so many triangles, with normals: as smooth as scans and CAD are."""
    rings = max(int((triangles / 4) ** 0.5), 4)
    theta = numpy.linspace(0, numpy.pi, rings + 1)[1:-1, None]
    phi = numpy.linspace(0, 2 * numpy.pi, 2 * rings, endpoint=False)[None]
    radius = 1 + 0.05 * numpy.sin(9 * theta) * numpy.sin(7 * phi)
    ball = numpy.stack(
        [numpy.sin(theta) * numpy.cos(phi), numpy.cos(theta) + 0 * phi, numpy.sin(theta) * numpy.sin(phi)]
    )
    points = numpy.concatenate([(ball * radius).reshape(3, -1).T, [[0, 1, 0], [0, -1, 0]]])
    here = numpy.arange(2 * rings)
    there, top, bottom = (here + 1) % len(here), len(points) - 2, len(points) - 1
    rows = numpy.arange(rings - 2)[:, None] * len(here)
    a, b, c, d = rows + here, rows + there, rows + len(here) + here, rows + len(here) + there
    last = (rings - 2) * len(here)
    faces = [
        numpy.stack([a, b, c], axis=-1).reshape(-1, 3),
        numpy.stack([b, d, c], axis=-1).reshape(-1, 3),
        numpy.stack([numpy.full(len(here), top), there, here], axis=1),
        numpy.stack([numpy.full(len(here), bottom), here + last, there + last], axis=1),
    ]
    return make_mesh(
        points, numpy.concatenate(faces), normals=points / numpy.linalg.norm(points, axis=1, keepdims=True)
    )


def glb(path: Path, triangles: int) -> None:
    """Write a GLB of one part."""
    part = Part(name="ball", mesh=bumpy_sphere(triangles))
    write_scene(Scene(name="ball", root=Occurrence(name="ball", part=part), unit_m=1.0, up="y"), path)
