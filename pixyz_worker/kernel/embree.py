"""Embree's names; where there is no build of it, importing this module says so with a sentence."""

from __future__ import annotations

from pixyz_worker.exception import InvalidBackendParameter

try:
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene
except ImportError as error:
    raise InvalidBackendParameter(
        "Casting rays needs the library embreex, which cannot be loaded here (there is no build for ARM on Linux). "
        "For pictures install the extra 'render': pip install 'pixyz-ray[render]'."
    ) from error

__all__ = ["EmbreeScene", "TriangleMesh"]
