"""What a zip unpacks to, measured before a library unpacks it."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from pixyz_worker import zip_reading
from pixyz_worker.kernel.limits import Limits

_CHUNK = 1 << 20
_LOCAL = struct.Struct("<4s5HIIIHH")


def check(path: Path) -> None:
    """Refuse a zip bomb with a ValueError: too many entries, or more bytes than the limits for archives allow.

    Entries are unpacked for that, as what they say of their size need not be true, but their bytes are not kept.
    """
    limits = Limits.from_environment()
    try:
        with zip_reading.opened(path, limits) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, EOFError) as error:
        raise ValueError(f"it is no zip archive, or a damaged one: {error}") from error
    left = allowed = limits.unpacked_bytes(path.stat().st_size)
    with path.open("rb") as file:
        for entry in entries:
            left -= _size(file, entry, left)
            if left < 0:
                settings = "MAX_ARCHIVE_BYTES, _RATIO"
                raise ValueError(f"it unpacks to more than {int(allowed)} bytes, the most it may ({settings})")


def _size(file: IO[bytes], entry: zipfile.ZipInfo, most: float) -> int:
    """How many bytes an entry unpacks to; `most` and a little more when it is more than that."""
    if entry.compress_type == zipfile.ZIP_STORED:
        return max(entry.file_size, entry.compress_size)
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"its entry {entry.filename!r} is compressed in a way that is not known here")
    file.seek(entry.header_offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        raise ValueError("it is a damaged zip archive: an entry is not where it should be")
    fields = _LOCAL.unpack(head)
    file.seek(entry.header_offset + _LOCAL.size + fields[-2] + fields[-1])
    unpacker, size = zlib.decompressobj(-15), 0
    try:
        while not unpacker.eof and size <= most and (chunk := unpacker.unconsumed_tail or file.read(_CHUNK)):
            size += len(unpacker.decompress(chunk, _CHUNK))
    except zlib.error as error:
        raise ValueError(f"its entry {entry.filename!r} is damaged") from error
    return size
