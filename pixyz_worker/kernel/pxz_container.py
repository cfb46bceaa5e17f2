"""Our own `.pxz`: a zip with a manifest that names its producer, and the scene as a GLB.

It has the extension of the Pixyz SDK's own format, because scripts ask for it by default, and nothing else
of it: the manifest says who wrote the file, and a file without that manifest is taken for one of Pixyz's
products and refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType
from typing import Any, Self

from pixyz_worker.exception import FormatError
from pixyz_worker.kernel import gltf
from pixyz_worker.kernel.scene import Scene
from pixyz_worker.kernel.sdk import PRODUCER

VERSION = 1
MANIFEST, SCENE = "manifest.json", "scene.glb"
MAX_MANIFEST_BYTES = 1 << 20
MAX_SCENE_BYTES = (1 << 32) - 1
MAX_RATIO = 200
"""An entry that unpacks to more than 16 MiB and this many times its packed size is a zip bomb."""
_RATIO_MATTERS_BYTES = 16 << 20
_NOTICE = "is a scene container of Pixyz on Ray: Pixyz's own products cannot read it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What manifest.json holds."""

    producer: str
    """Who wrote the file; always 'pixyz-on-ray'."""
    version: int
    """Version of this layout; a reader refuses a newer one."""
    created: str
    """When it was written: ISO 8601 in UTC."""
    name: str
    """Name of the scene."""
    unit_m: float | None
    """Metres in one unit of the file that the scene came from; None when it told none."""
    scene: str
    """Name of the entry that holds the scene."""
    scene_bytes: int
    """Its size, unpacked."""
    scene_sha256: str
    """Its SHA-256, unpacked."""

    def to_json(self) -> bytes:
        """The manifest as it stands in the file."""
        return (json.dumps(asdict(self), ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read a manifest; ValueError when it is not one of ours or makes no sense."""
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its {MANIFEST} is not JSON") from error
        if not isinstance(found, dict) or found.get("producer") != PRODUCER:
            raise ForeignFile(f"its {MANIFEST} does not name {PRODUCER}")
        version = found.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ValueError(f"its {MANIFEST} has no version")
        if version > VERSION:
            raise ValueError(f"it has layout {version}, made by a newer release: update this one")
        kinds: dict[str, type | tuple[type, ...]] = {
            "created": str,
            "name": str,
            "unit_m": (int, float, NoneType),
            "scene": str,
            "scene_bytes": int,
            "scene_sha256": str,
        }
        for key, kind in kinds.items():
            if key not in found or not isinstance(found[key], kind) or isinstance(found[key], bool):
                raise ValueError(f"{key} of its {MANIFEST} is missing or of a wrong kind")
        unit = found["unit_m"]
        if unit is not None and not (math.isfinite(unit) and unit > 0):
            raise ValueError(f"unit_m of its {MANIFEST} is not a positive number")
        return cls(producer=PRODUCER, version=version, **{key: found[key] for key in kinds})


class ForeignFile(ValueError):
    """The file was not written by us."""


def write(scene: Scene, path: Path, *, created: datetime | None = None) -> None:
    """Write a scene; the same scene and time give the same bytes. Says in the job's log who can read it."""
    glb = scene.glb
    manifest = Manifest(
        producer=PRODUCER,
        version=VERSION,
        created=(created or datetime.now(UTC)).isoformat(timespec="seconds"),
        name=scene.name,
        unit_m=scene.unit_m,
        scene=SCENE,
        scene_bytes=len(glb),
        scene_sha256=hashlib.sha256(glb).hexdigest(),
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in ((MANIFEST, manifest.to_json()), (SCENE, glb)):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, compresslevel=1)
    print(f"{path.name} {_NOTICE}. Export glb, gltf or obj for other programs.", flush=True)


def read(path: Path) -> Scene:
    """Read a container of ours; a file of Pixyz's own products is refused with a sentence."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = Manifest.from_json(_entry(archive, MANIFEST, MAX_MANIFEST_BYTES))
            glb = _entry(archive, manifest.scene, min(manifest.scene_bytes, MAX_SCENE_BYTES))
    except (ForeignFile, KeyError, zipfile.BadZipFile) as error:
        if not isinstance(error, ForeignFile) and _begins_as_ours(path):
            raise ValueError("the container is damaged or cut off") from error
        raise FormatError(
            f"{path.name} looks like a file of Pixyz's own products; reading it needs the Pixyz SDK, which is "
            "not installed here, or switched off by DISABLE_PIXYZ. Export it as glb, gltf or step there."
        ) from error
    if len(glb) != manifest.scene_bytes or hashlib.sha256(glb).hexdigest() != manifest.scene_sha256:
        raise ValueError("its scene is not the one that its manifest describes: the file is damaged")
    gltf.check(gltf.split(glb))
    return Scene(name=manifest.name, unit_m=manifest.unit_m, glb=glb)


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Unpack one entry, never more of it than its limit."""
    info = archive.getinfo(name)
    if info.flag_bits & 1:
        raise ForeignFile("its entries are encrypted")
    if info.file_size > limit:
        raise ValueError(f"{name} in it is larger than the {limit} bytes that are allowed or announced")
    if info.file_size > max(_RATIO_MATTERS_BYTES, MAX_RATIO * info.compress_size):
        raise ValueError(f"{name} in it unpacks to more than {MAX_RATIO} times its size: refused as a zip bomb")
    with archive.open(info) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{name} in it is larger than announced")
    return data


def _begins_as_ours(path: Path) -> bool:
    """Whether the file begins like ours, with a manifest: a damaged one still does."""
    with path.open("rb") as file:
        head = file.read(4096)
    return head[:4] == b"PK\x03\x04" and head[30 : 30 + len(MANIFEST)] == MANIFEST.encode()
