"""Read an untrusted zip archive: its central directory and each entry take a bounded amount of memory.

`zipfile` reads the central directory whole, at whatever size the end record gives; it unpacks BZIP2 and LZMA entries
without a limit, and deflate entries up to the size of a read, even if the entry declares less.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pixyz_worker.exception import UnsafeFile
from pixyz_worker.kernel.limits import Limits

_CHUNK = 1 << 20
_PACKED_CHUNK = 1 << 14
_TABLE_BYTES = 32 << 20
_TABLE_BYTES_PER_ENTRY = 320
_MAX_DICTIONARY_BYTES = 64 << 20
_LOCAL = struct.Struct("<4s5HIIIHH")
_RECORD = struct.Struct("<4s24x3H12x")


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading.

    Raises:
        UnsafeFile: its central directory is larger, or has more entries, than allowed (MAX_ARCHIVE_ENTRIES), or entries
            overlap.
        zipfile.BadZipFile, EOFError, ValueError: it is damaged.
    """
    with _TableReader(path, limits) as file, zipfile.ZipFile(file) as archive:
        _refuse_overlaps(path.name, archive)
        yield archive


def entry_bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return an entry's content, at most the size that it declares.

    Raises:
        UnsafeFile: its compression needs too much memory.
        zipfile.BadZipFile, EOFError, zlib.error, ValueError: it is damaged.
    """
    with open_entry(archive, entry) as file:
        parts = []
        while chunk := file.read(_CHUNK):
            parts.append(chunk)
    return b"".join(parts)


def open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    """Return a file to read an entry from; a read takes at most twice its size in memory.

    Raises:
        UnsafeFile: its compression needs too much memory.
        zipfile.BadZipFile, NotImplementedError, RuntimeError: it cannot be read.
    """
    if entry.compress_type not in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        return archive.open(entry)
    archive.open(entry).close()  # checks the entry's own header
    return io.BufferedReader(_Unpacked(archive, entry), _CHUNK)


class _TableReader(io.FileIO):
    """Input of `zipfile`, in which no read may be larger than the limit of a central directory."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(path, "rb")
        self._archive = path.name
        self._entries = limits.max_archive_entries
        self._most = max(_TABLE_BYTES, _TABLE_BYTES_PER_ENTRY * self._entries) if self._entries else None
        self._size = path.stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        """Read a piece.

        Raises:
            UnsafeFile: it is larger than allowed, or a table with too many entries.
        """
        if size is None or size < 0:
            size = self._size
        wanted = min(size, max(0, self._size - self.tell()))
        if self._most is not None and wanted > self._most:
            raise UnsafeFile(
                f"{self._archive} has a table of contents of {wanted} bytes, and {self._most} are the most that are "
                "read (MAX_ARCHIVE_ENTRIES)."
            )
        data = super().read(wanted)
        if self._entries and data.startswith(b"PK\x01\x02"):
            self._count(data)
        return data

    def _count(self, table: bytes) -> None:
        place = number = 0
        while place + _RECORD.size <= len(table):
            head, *lengths = _RECORD.unpack_from(table, place)
            if head != b"PK\x01\x02":
                return
            number += 1
            if number > self._entries:
                most = f"{self._entries} entries, the most it may have (MAX_ARCHIVE_ENTRIES)"
                raise UnsafeFile(f"{self._archive} has more than {most}.")
            place += _RECORD.size + sum(lengths)


class _Unpacked(io.RawIOBase):
    """Content of a BZIP2 or LZMA entry, unpacked while it is read."""

    def __init__(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        assert archive.fp is not None
        self._name = entry.filename[:200]
        self._packed = archive.fp
        self._place = _content_place(archive.fp, entry)
        self._left = entry.compress_size
        self._announced = entry.file_size
        self._wanted_crc = entry.CRC
        self._crc = 0
        self._unpacker = self._lzma() if entry.compress_type == zipfile.ZIP_LZMA else self._bzip2()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack the next piece into a buffer; return its bytes, 0 at the end.

        Raises:
            zipfile.BadZipFile: the entry is cut off, or is not what it announces.
        """
        most = min(len(buffer), self._announced)
        data = b""
        while most and not data and not self._unpacker.eof:
            piece = self._read(_PACKED_CHUNK) if self._unpacker.needs_input else b""
            if not piece and self._unpacker.needs_input:
                break
            data = self._unpacker.decompress(piece, most)
        self._announced -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        if not data and (self._announced or self._crc != self._wanted_crc):
            raise zipfile.BadZipFile(f"{self._name!r} is not what its header announces")
        buffer[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        self._packed.seek(self._place)
        data = self._packed.read(min(size, self._left))
        self._place += len(data)
        self._left -= len(data)
        return data

    @staticmethod
    def _bzip2() -> Any:
        import bz2

        return bz2.BZ2Decompressor()

    def _lzma(self) -> Any:
        import lzma

        head = self._read(9)
        # APPNOTE 5.8.8: version, size of the properties, which are a byte and the size of the dictionary.
        if len(head) < 9 or head[2:4] != b"\x05\x00" or head[4] >= 9 * 5 * 5:
            raise zipfile.BadZipFile(f"the LZMA header of {self._name!r} makes no sense")
        dictionary = int.from_bytes(head[5:9], "little")
        if dictionary > _MAX_DICTIONARY_BYTES:
            raise UnsafeFile(
                f"{self._name!r} is compressed with an LZMA dictionary of {dictionary} bytes, more than the "
                f"{_MAX_DICTIONARY_BYTES} that are accepted. Pack it with deflate."
            )
        rest, lc = divmod(head[4], 9)
        pb, lp = divmod(rest, 5)
        properties = {"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": max(dictionary, 4096)}
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[properties])


def _content_place(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    file.seek(entry.header_offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"{entry.filename[:200]!r} is not where it should be")
    *_, name, extra = _LOCAL.unpack(head)
    return entry.header_offset + _LOCAL.size + int(name) + int(extra)


def _refuse_overlaps(name: str, archive: zipfile.ZipFile) -> None:
    end = 0
    for entry in sorted(archive.infolist(), key=lambda one: one.header_offset):
        if entry.header_offset < end:
            raise UnsafeFile(f"{name} has entries that share bytes, such as {entry.filename[:200]!r}: a zip bomb.")
        end = entry.header_offset + _LOCAL.size + entry.compress_size
