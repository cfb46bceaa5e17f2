"""USD, read in a process of its own: text (usda), crate (usdc), either of them (usd) and packages (usdz).

This module loads nothing heavy; what needs usd-core is in usd_stage, usd_tree, usd_geometry and usd_looks, which the
child process alone imports.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from pixyz_worker import zip_reading
from pixyz_worker.kernel import isolation
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.kernel.options import ReadOptions
from pixyz_worker.kernel.scene import Scene

SHAPE_OF_PARENT, PART = "pixyzShapeOfParent", "pixyzPart"
"""Keys of custom data by which our writer tells our reader what USD has no place for."""
_ZIP = b"PK\x03\x04"
_HEADS = (b"#usda ", b"PXR-USDC", _ZIP)


def read(path: Path, options: ReadOptions) -> Scene:
    """Read a USD file in a child process; FormatError says what is wrong with it."""
    return isolation.read(f"{__name__}:parse", path, options)


def parse(path: Path, options: ReadOptions) -> Scene:
    """Read a USD file in this process.

    Raises ValueError with a reason: the file is not USD, damaged, refers to files outside its folder or to itself.
    """
    check(path)
    from pixyz_worker.kernel.formats.usd import stage as usd_stage
    from pixyz_worker.kernel.formats.usd import tree as usd_tree

    return usd_tree.scene_of(usd_stage.open_stage(path), path, options)


def check(path: Path) -> None:
    """Look at the first bytes, and at the table of contents of a package, before native code does.

    A package (USDZ, https://openusd.org/release/spec_usdz.html) is a zip whose entries are neither compressed nor
    encrypted, so nothing in it can unpack to more than the file's size.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if not head.startswith(_HEADS):
        raise ValueError("it begins neither as USD text, nor as USD crate, nor as a USDZ package")
    if not head.startswith(_ZIP):
        return
    try:
        with zip_reading.opened(path, Limits.from_environment()) as package:
            entries = package.infolist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError("the package is damaged or cut off") from error
    size = path.stat().st_size
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"{entry.filename} in the package is compressed or encrypted, which USDZ does not allow")
        if entry.file_size != entry.compress_size or entry.header_offset + entry.file_size > size:
            raise ValueError(f"{entry.filename} in the package is not as long as announced")
