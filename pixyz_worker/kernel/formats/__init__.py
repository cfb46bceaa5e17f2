"""3D file formats: the table of them (table.py), and a module for each reader and writer, loaded when used."""

from pixyz_worker.kernel.formats.table import (
    EXTRAS,
    SDK_ONLY,
    TABLE,
    Format,
    Trait,
    find,
    is_here,
    lack_of,
    readable_extensions,
    writable_extensions,
)

__all__ = [
    "EXTRAS",
    "SDK_ONLY",
    "TABLE",
    "Format",
    "Trait",
    "find",
    "is_here",
    "lack_of",
    "readable_extensions",
    "writable_extensions",
]
