"""The goals of the 3D kernel: our time, or memory, over that of the bare library on the same file."""

from __future__ import annotations

from benchmarks.goals import Goal

WRITTEN = ("stl", "ply", "off", "obj", "gltf", "3mf", "dae")
"""Formats that trimesh writes too."""
ALONE = ("fbx", "usdc", "pxz")
"""Formats that no wheel writes from arrays in one call: shown beside nothing."""

GOALS: tuple[Goal, ...] = (
    Goal(key="step-time", figure="step", title="STEP → GLB, to cascadio alone", limit=1.2),
    Goal(key="step-memory", figure="step", title="the same, peak memory", limit=1.5),
    Goal(key="step-base-time", figure="step", title="the same without the extra `cad`", limit=1.2),
    Goal(key="step-base-memory", figure="step", title="the same, peak memory", limit=1.5),
    *(
        goal
        for kind in WRITTEN
        for goal in (
            Goal(key=f"{kind}-time", figure="write", title=f"GLB → {kind.upper()}, to trimesh", limit=1.2),
            Goal(key=f"{kind}-memory", figure="write", title="the same, peak memory", limit=1.5),
        )
    ),
    *(Goal(key=f"{kind}-time", figure="write", title=f"GLB → {kind.upper()}", limit=None) for kind in ALONE),
    Goal(key="decimate-time", figure="decimate", title="1 M → 100 k triangles, to fast-simplification", limit=1.2),
    Goal(key="decimate-memory", figure="decimate", title="the same, peak memory", limit=1.5),
    Goal(
        key="thumbnails-embree",
        figure="thumbnails",
        title="four pictures of about 200 k triangles by the ray caster, to importing their STEP file",
        limit=1.0,
    ),
    Goal(key="thumbnails-vtk", figure="thumbnails", title="the same by VTK", limit=1.0),
    Goal(key="open-pxz", figure="open", title="opening a `.pxz` of 1.3 M triangles, to reading its GLB", limit=None),
)
