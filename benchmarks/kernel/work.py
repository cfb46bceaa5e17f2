"""What is measured, ours and the bare library's: each in a process of its own that says its time and peak memory.

    python -m benchmarks.kernel.work TASK INPUT OUTPUT

Libraries are imported before the clock starts, on both sides.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

Task = Callable[[Path, Path], float | None]
"""Does the work, from a file to a file; returns its seconds where not all of it is to be counted."""


def convert(source: Path, target: Path) -> None:
    """Ours: read and write, as convert_file does."""
    from pixyz_worker.kernel.formats.reading import read_scene, write_scene

    write_scene(read_scene(source), target)


def convert_step(source: Path, target: Path) -> None:
    """Ours: a STEP file as closely as cascadio follows it, 0.01 mm and half a radian."""
    from pixyz_worker.kernel.algorithms import tessellation
    from pixyz_worker.kernel.formats.reading import read_scene, write_scene
    from pixyz_worker.kernel.options import Tessellation

    scene = read_scene(source)
    tessellation.tessellate([scene.root], Tessellation())
    write_scene(scene, target)


def convert_edited(source: Path, target: Path) -> None:
    """Ours: a GLB taken apart and written with its arrays, not passed on as the bytes that it is."""
    from pixyz_worker.kernel.formats.reading import read_scene, write_scene

    scene = read_scene(source)
    scene.changed()
    write_scene(scene, target)


def convert_base(source: Path, target: Path) -> None:
    """Ours: a STEP file read without the extra `cad`."""
    from pixyz_worker.kernel.formats.cad import step
    from pixyz_worker.kernel.formats.reading import write_scene
    from pixyz_worker.kernel.options import ReadOptions, Tessellation

    options = ReadOptions(tessellation=Tessellation())

    write_scene(step.read_with_cascadio(source, options, kind="step", name=source.name), target)


def cascadio_alone(source: Path, target: Path) -> None:
    """Bare: cascadio writes the GLB."""
    import cascadio

    target.write_bytes(cascadio.load(source.read_bytes(), file_type="step"))


def trimesh_alone(source: Path, target: Path) -> None:
    """Bare: trimesh reads the GLB and writes."""
    import trimesh

    scene = trimesh.load_scene(source)
    kind = target.suffix[1:]
    if kind == "gltf":
        files = scene.export(file_type="gltf")
        for name, data in files.items():
            target.with_name(f"bare-{name}").write_bytes(data)
        return
    thing = scene if kind in ("3mf", "obj") else scene.to_mesh()
    thing.export(target)


def decimate(source: Path, target: Path) -> None:
    """Ours: a GLB's triangles down to a tenth."""
    from pixyz_worker.kernel.algorithms.decimation import decimate as ours
    from pixyz_worker.kernel.formats.reading import read_scene

    scene = read_scene(source)
    ours([scene.root], ratio=0.1)


def simplification_alone(source: Path, target: Path) -> None:
    """Bare: fast-simplification on the same arrays."""
    import fast_simplification
    import numpy

    from pixyz_worker.kernel.formats.reading import read_scene

    mesh = read_scene(source).parts()[0].mesh
    assert mesh is not None
    fast_simplification.simplify(
        mesh.positions, mesh.triangles.astype(numpy.int32), target_count=len(mesh.triangles) // 10, agg=3
    )


def read(source: Path, target: Path) -> None:
    """Ours: import a file, and give it triangles."""
    from pixyz_worker.kernel.algorithms import tessellation
    from pixyz_worker.kernel.formats.reading import read_scene

    scene = read_scene(source)
    tessellation.ensure(scene)
    assert scene.triangle_count


def pictures(renderer: str) -> Task:
    """Ours: the four thumbnails of a GLB, import not counted."""

    def task(source: Path, target: Path) -> float:
        from benchmarks.kernel.thumbnails import four

        return four(source, target, renderer)

    return task


TASKS: dict[str, Task] = {
    "convert": convert,
    "convert-step": convert_step,
    "convert-edited": convert_edited,
    "convert-base": convert_base,
    "cascadio": cascadio_alone,
    "trimesh": trimesh_alone,
    "decimate": decimate,
    "simplification": simplification_alone,
    "read": read,
    "embree": pictures("embree"),
    "vtk": pictures("vtk"),
}
_READER = "pixyz_worker.kernel.formats.gltf.reader"
_WARM: dict[str, tuple[str, ...]] = {
    "cascadio": ("cascadio",),
    "trimesh": ("trimesh", "networkx", "lxml", "collada"),
    "simplification": ("fast_simplification", _READER),
    "decimate": ("fast_simplification", _READER, "pixyz_worker.kernel.algorithms.decimation"),
    "convert-base": ("cascadio", _READER),
    "convert-step": ("pixyz_worker.kernel.formats.cad.readers", "pixyz_worker.kernel.formats.gltf.writer"),
    "embree": ("embreex", "pixyz_worker.kernel.pictures.raycaster", _READER),
    "vtk": ("pixyz_worker.kernel.pictures.vtk_renderer", _READER),
}
"""What a task needs, loaded before its time is taken."""
_WRITERS: dict[str, tuple[str, ...]] = {
    "3mf": ("lib3mf", "pixyz_worker.kernel.formats.threemf.writer"),
    "dae": ("collada", "pixyz_worker.kernel.formats.collada.writer"),
    "fbx": ("pixyz_worker.kernel.formats.fbx.writer",),
    "usdc": ("pxr.Usd", "pixyz_worker.kernel.formats.usd.writer"),
    "pxz": ("pyarrow", "pixyz_worker.kernel.formats.pxz.container"),
    "gltf": ("pixyz_worker.kernel.formats.gltf.files",),
}
"""The same of a conversion, by the extension that is written; for the others it is their own module."""


def main(name: str, source: str, target: str) -> None:
    """Run one task, and print {"seconds", "megabytes"}."""
    kind = Path(target).suffix[1:]
    writer = _WRITERS.get(kind, (f"pixyz_worker.kernel.formats.mesh.{kind}",))
    reader = "cad.readers" if Path(source).suffix == ".step" else "gltf.reader"
    for module in _WARM.get(name, (*writer, f"pixyz_worker.kernel.formats.{reader}")):
        _try_import(module)
    began = time.perf_counter()
    told = TASKS[name](Path(source), Path(target))
    seconds = time.perf_counter() - began if told is None else told
    print(json.dumps({"seconds": seconds, "megabytes": _peak()}))


def _try_import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError:
        return


def _peak() -> float:
    """Most memory that this process ever had, in MB (VmHWM, proc(5))."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    main(*sys.argv[1:4])
