"""Our own `.pxz`: everything of a scene in one Arrow file, which is mapped into memory instead of being read.

It has the extension of the Pixyz SDK's own format, because scripts ask for it by default, and nothing else of it:
the file's metadata names its producer, and a file without that is taken for one of Pixyz's products and refused.

    metadata    pixyz.producer, pixyz.version, pixyz.created (ISO 8601 in UTC)
    row scene   data: JSON of the tree, which refers to the other rows by their number among those of their kind
    row glb     data: the GLB that the scene came as; then it is the only other row
    rows matrices (one), mesh, brep, image, keys

docs/formats.md describes it in full; pxz_tree.py writes the JSON, pxz_restoring.py reads it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pixyz_worker.console import say
from pixyz_worker.exception import FormatError
from pixyz_worker.kernel.formats.pxz import zip_layout as pxz_zip
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene
from pixyz_worker.kernel.sdk import PRODUCER

VERSION = 2
"""Of the layout; version 1 was a zip. A reader refuses a newer one."""
PRODUCER_KEY, VERSION_KEY, CREATED_KEY = "pixyz.producer", "pixyz.version", "pixyz.created"
_NOTICE = "is a scene container of Pixyz on Ray: Pixyz's own products cannot read it"


def write(scene: Scene, path: Path, *, created: datetime | None = None, quiet: bool = False) -> None:
    """Write a scene, and say that Pixyz's products cannot read it.

    The arrays are written from where they are, without a copy. A scene that is an untouched GLB is stored as that
    GLB, and not taken apart. The same scene and time give the same bytes.
    """
    from pixyz_worker.kernel.formats.pxz.rows import write_rows
    from pixyz_worker.kernel.formats.pxz.tree import rows_of

    written = (created or datetime.now(UTC)).isoformat(timespec="seconds")
    metadata = {PRODUCER_KEY: PRODUCER, VERSION_KEY: str(VERSION), CREATED_KEY: written}
    write_rows(path, rows_of(scene), metadata)
    if not quiet:
        say(f"{path.name} {_NOTICE}. Export glb, gltf or obj for other programs.")


def read(path: Path, options: ReadOptions) -> Scene:
    """Open a container of ours; a file of Pixyz's own products is refused with a sentence.

    The arrays of the scene are views of the file. Lengths and the unit are in it: no option changes anything.
    """
    from pixyz_worker.kernel.formats.pxz.rows import is_arrow

    if is_arrow(path):
        return _read_arrow(path)
    try:
        return pxz_zip.read(path)
    except pxz_zip.ForeignFile as error:
        raise _foreign(path) from error


def _read_arrow(path: Path) -> Scene:
    from pixyz_worker.kernel.formats.pxz.restoring import scene_of
    from pixyz_worker.kernel.formats.pxz.rows import Table

    table = Table(path)
    found = table.metadata
    if found.get(PRODUCER_KEY) != PRODUCER:
        raise _foreign(path)
    version = found.get(VERSION_KEY, "")
    if not version.isdecimal() or not version.isascii():
        raise ValueError("its metadata has no version of its layout")
    if len(version) > 9 or int(version) > VERSION:
        raise ValueError(f"it has layout {version[:20]}, made by a newer release: update this one")
    return scene_of(table.rows())


def _foreign(path: Path) -> FormatError:
    return FormatError(
        f"{path.name} looks like a file of Pixyz's own products; reading it needs the Pixyz SDK, which is "
        "not installed here, or switched off by DISABLE_PIXYZ. Export it as glb, gltf or step there."
    )
