"""Records of an FBX file: named lists of values, nested; how they are written as binary FBX.

The layout has never been published by its owner; this follows the description of the Blender developers ("FBX binary
file format specification", code.blender.org, 2013). Version 7.4 counts bytes with 32 bits; what does not fit is
written as 7.5, which counts them with 64.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import numpy

MAGIC = b"Kaydara FBX Binary  \x00\x1a\x00"
_FOOTER_ID = bytes.fromhex("fabcab09d0c8d466b176fb831cf7267e")
_FOOTER_END = bytes.fromhex("f85a8c6adef5d97eece90ce3758f290b")
_ARRAY_CODES = {"float64": b"d", "float32": b"f", "int32": b"i", "int64": b"l"}
_WORTH_PACKING = 128
_MAX_ARRAY = 0xFFFFFFFF
_MAX_NARROW = 0xFFFFFFFF


class Long(int):
    """A whole number that is written with 64 bits; other whole numbers take 32."""


@dataclass(eq=False, kw_only=True, slots=True)
class Record:
    """One record."""

    name: str
    """What it is, in ASCII."""
    values: list[Any] = field(default_factory=list)
    """Its values: bool, int, Long, float, str, bytes, or a numpy array of one dimension."""
    children: list[Record] = field(default_factory=list)
    """The records in it."""

    def add(self, name: str, *values: Any) -> Record:
        """Put a record into this one, and return it."""
        child = Record(name=name, values=list(values))
        self.children.append(child)
        return child

    def find(self, name: str) -> Record | None:
        """The first record in it of that name."""
        return next((child for child in self.children if child.name == name), None)

    def every(self, name: str) -> Iterator[Record]:
        """All records in it of that name."""
        return (child for child in self.children if child.name == name)

    def value(self, place: int, kind: type, default: Any = None) -> Any:
        """The value at a place if it is of that kind."""
        found = self.values[place] if place < len(self.values) else None
        return found if isinstance(found, kind) else default


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Block:
    """A record whose values are bytes already."""

    name: bytes
    values: list[bytes]
    children: list[_Block]
    wide: bool

    @property
    def head(self) -> int:
        return (25 if self.wide else 13) + len(self.name)

    @property
    def closed(self) -> bool:
        """Whether an empty record ends it: whenever it holds records, or nothing at all."""
        return bool(self.children or not self.values)

    def size(self) -> int:
        inner = sum(len(value) for value in self.values) + sum(child.size() for child in self.children)
        return self.head + inner + ((25 if self.wide else 13) if self.closed else 0)


def write(records: list[Record], file: IO[bytes]) -> int:
    """Write the records as one file, and return its version: 7400, or 7500 where 32 bits do not count its bytes."""
    blocks = [_block(record, wide=False) for record in records]
    start = len(MAGIC) + 4
    wide = start + sum(block.size() for block in blocks) > _MAX_NARROW
    if wide:
        blocks = [_block(record, wide=True) for record in records]
    version = 7500 if wide else 7400
    file.write(MAGIC + struct.pack("<I", version))
    for block in blocks:
        start = _put(block, start, file)
    file.write(bytes(25 if wide else 13) + _FOOTER_ID + bytes(4))
    place = file.tell()
    file.write(bytes((16 - place % 16) or 16) + struct.pack("<I", version) + bytes(120) + _FOOTER_END)
    return version


def _put(block: _Block, start: int, file: IO[bytes]) -> int:
    """Write one record that begins at a place of the file; where it ends. Records are nested a few levels deep."""
    end = start + block.size()
    values = sum(len(value) for value in block.values)
    counts = struct.pack("<QQQ" if block.wide else "<III", end, len(block.values), values)
    file.write(counts + bytes([len(block.name)]) + block.name)
    file.writelines(block.values)
    inside = start + block.head + values
    for child in block.children:
        inside = _put(child, inside, file)
    if block.closed:
        file.write(bytes(25 if block.wide else 13))
    return end


def _block(record: Record, *, wide: bool) -> _Block:
    return _Block(
        name=record.name.encode("ascii"),
        values=[_encoded(value) for value in record.values],
        children=[_block(child, wide=wide) for child in record.children],
        wide=wide,
    )


def _encoded(value: Any) -> bytes:
    if isinstance(value, numpy.ndarray):
        return _encoded_array(value)
    if isinstance(value, bool):
        return b"C" + bytes([value])
    if isinstance(value, Long):
        return b"L" + struct.pack("<q", value)
    if isinstance(value, int):
        return b"I" + struct.pack("<i", value)
    if isinstance(value, float):
        return b"D" + struct.pack("<d", value)
    data = value.encode("utf-8") if isinstance(value, str) else bytes(value)
    if len(data) > _MAX_ARRAY:
        raise ValueError("a text or picture is too large for this format")
    return (b"S" if isinstance(value, str) else b"R") + struct.pack("<I", len(data)) + data


def _encoded_array(values: Any) -> bytes:
    plain = numpy.ascontiguousarray(values)
    code = _ARRAY_CODES[plain.dtype.name]
    data = plain.astype(plain.dtype.newbyteorder("<"), copy=False).tobytes()
    packed = zlib.compress(data, 1) if len(data) > _WORTH_PACKING else data
    if max(len(packed), len(plain)) > _MAX_ARRAY:
        raise ValueError("a mesh is too large for this format")
    return code + struct.pack("<III", len(plain), len(data) > _WORTH_PACKING, len(packed)) + packed
