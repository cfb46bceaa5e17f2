"""The first layout of our `.pxz`, which is still read: a zip of `manifest.json` and `scene.glb`."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from pixyz_worker import zip_reading
from pixyz_worker.kernel.formats.gltf import document as gltf
from pixyz_worker.kernel.formats.pxz.record import Record
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.scene import Scene
from pixyz_worker.kernel.sdk import PRODUCER

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_SCENE_BYTES = (1 << 32) - 1
MAX_RATIO = 200
"""An entry that unpacks to more than 16 MiB and this many times its packed size is a zip bomb."""
_RATIO_MATTERS_BYTES = 16 << 20


class ForeignFile(ValueError):
    """A file that is not one of ours."""


def read(path: Path) -> Scene:
    """Read such a file; ForeignFile when somebody else has made it, ValueError when it is damaged."""
    try:
        with zip_reading.opened(path, Limits.from_environment()) as archive:
            manifest = _manifest(_entry(archive, MANIFEST, MAX_MANIFEST_BYTES))
            size = manifest.number("scene_bytes", 0)
            glb = _entry(archive, manifest.text("scene"), int(min(size, MAX_SCENE_BYTES)))
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        if _begins_as_ours(path):
            raise ValueError("the container is damaged or cut off") from error
        raise ForeignFile(str(error)) from error
    if len(glb) != size or hashlib.sha256(glb).hexdigest() != manifest.text("scene_sha256"):
        raise ValueError("its scene is not the one that its manifest describes: the file is damaged")
    gltf.check(gltf.split(glb))
    return Scene(name=manifest.text("name"), unit_m=manifest.length("unit_m"), glb=glb, up="y")


def _manifest(text: bytes) -> Record:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ForeignFile(f"its {MANIFEST} is not JSON") from error
    if not isinstance(found, dict) or found.get("producer") != PRODUCER:
        raise ForeignFile(f"its {MANIFEST} does not name {PRODUCER}")
    if found.get("version") != 1:
        raise ValueError(f"its {MANIFEST} has version {str(found.get('version'))[:80]!r}, made by a newer release")
    return Record(found, MANIFEST)


def _entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Unpack one entry, never more of it than its limit."""
    info = archive.getinfo(name)
    if info.flag_bits & 1:
        raise ForeignFile("its entries are encrypted")
    if info.file_size > limit:
        raise ValueError(f"{name} in it is larger than the {limit} bytes that are allowed or announced")
    if info.file_size > max(_RATIO_MATTERS_BYTES, MAX_RATIO * info.compress_size):
        raise ValueError(f"{name} in it unpacks to more than {MAX_RATIO} times its size: refused as a zip bomb")
    return zip_reading.entry_bytes(archive, info)


def _begins_as_ours(path: Path) -> bool:
    """Whether the file begins like ours, with a manifest: a damaged one still does."""
    with path.open("rb") as file:
        head = file.read(30 + len(MANIFEST))
    return head[:4] == b"PK\x03\x04" and head[30:] == MANIFEST.encode()
