"""The rows of a `.pxz`: what lies in its Arrow file, without what it means.

The file is Arrow's IPC file format, uncompressed (https://arrow.apache.org/docs/format/Columnar.html, "IPC File
Format"): any Arrow library opens it. Arrays of more than a few MiB are written and read without a copy; what is read
are views of the file, which stays mapped as long as one of them is used.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
from numpy.typing import NDArray

from pixyz_worker.kernel.mapped_file import content_of

_MAGIC = b"ARROW1"
_HEAD_BYTES = 8
_ALONE_BYTES = 4 << 20
"""Rows are put together into a batch until they have so many bytes; a larger one is alone in its batch, uncopied."""
_DAMAGED = "the container is damaged or cut off"


def _list_of(kind: pa.DataType) -> pa.DataType:
    return pa.large_list(pa.field("item", kind, nullable=False))


LISTS: dict[str, type[numpy.generic]] = {
    "positions": numpy.float32,
    "triangles": numpy.uint32,
    "normals": numpy.float32,
    "uvs": numpy.float32,
    "colours": numpy.uint8,
    "triangle_materials": numpy.uint16,
    "times": numpy.float32,
    "values": numpy.float32,
    "matrices": numpy.float64,
}
"""The columns that hold numbers, a list in each row, and their kind."""

SCHEMA = pa.schema(
    [
        pa.field("kind", pa.utf8(), nullable=False),
        pa.field("name", pa.utf8()),
        *(pa.field(name, _list_of(pa.from_numpy_dtype(kind))) for name, kind in LISTS.items()),
        pa.field("data", pa.large_binary()),
    ]
)
"""The columns."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Row:
    """One row: a mesh, an image, the tree..."""

    kind: str
    """What it is."""
    name: str = ""
    """A name for people who look into the file; what counts is in the tree."""
    lists: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Numbers by column, of any shape when written and flat when read; columns that are not there are null."""
    data: bytes | memoryview | None = None
    """Bytes that are something in themselves."""

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return sum(array.nbytes for array in self.lists.values()) + len(self.data or b"")


def write_rows(path: Path, rows: Iterable[Row], metadata: dict[str, str]) -> None:
    """Write rows into a new file; the same rows and metadata give the same bytes."""
    options = pa.ipc.IpcWriteOptions(compression=None)
    schema = SCHEMA.with_metadata(metadata)
    with pa.OSFile(os.fsencode(path), "wb") as file, pa.ipc.new_file(file, schema, options=options) as writer:
        for group in _groups(rows):
            columns = [_texts([row.kind for row in group]), _texts([row.name for row in group])]
            columns += [_lists(name, [row.lists.get(name) for row in group]) for name in LISTS]
            columns.append(_blobs([row.data for row in group]))
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row in rows:
        if group and size + row.size > _ALONE_BYTES:
            yield group
            group, size = [], 0
        group.append(row)
        size += row.size
    if group:
        yield group


def _texts(texts: list[str]) -> pa.Array:
    return pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.utf8())


def _lists(name: str, arrays: list[NDArray[Any] | None]) -> pa.Array:
    kind = SCHEMA.field(name).type
    if all(array is None for array in arrays):
        return pa.nulls(len(arrays), kind)
    flat = [None if array is None else numpy.ascontiguousarray(array, LISTS[name]).reshape(-1) for array in arrays]
    there = [array for array in flat if array is not None]
    whole = there[0] if len(there) == 1 else numpy.concatenate(there)
    values = pa.Array.from_buffers(kind.value_type, len(whole), [None, pa.py_buffer(whole)])
    return pa.LargeListArray.from_arrays(_offsets(flat), values, type=kind, mask=_missing(flat))


def _blobs(blobs: list[bytes | memoryview | None]) -> pa.Array:
    there = [blob for blob in blobs if blob is not None]
    whole = there[0] if len(there) == 1 else b"".join(there)
    empty = numpy.array([blob is None for blob in blobs])
    validity = pa.py_buffer(numpy.packbits(~empty, bitorder="little"))
    buffers = [validity, pa.py_buffer(_offsets(blobs).to_numpy()), pa.py_buffer(whole)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(blobs), buffers, int(empty.sum()))


def _offsets(items: list[Any]) -> pa.Array:
    sizes = [0, *(0 if item is None else len(item) for item in items)]
    return pa.array(numpy.cumsum(sizes, dtype=numpy.int64), pa.int64())


def _missing(items: list[Any]) -> pa.Array:
    return pa.array([item is None for item in items], pa.bool_())


def is_arrow(path: Path) -> bool:
    """Whether a file begins as Arrow's IPC files do."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


class Table:
    """An Arrow file that is mapped into memory; ValueError when it is damaged, or cut off."""

    def __init__(self, path: Path) -> None:
        self._map = pa.py_buffer(content_of(path))
        content = memoryview(self._map)
        if bytes(content[: len(_MAGIC)]) != _MAGIC or bytes(content[-len(_MAGIC) :]) != _MAGIC:
            raise ValueError(_DAMAGED)
        # The file format is the stream format between a head and a footer. Read as a stream, each batch can be looked
        # at before anything is made of it.
        self._messages = pa.ipc.MessageReader.open_stream(pa.BufferReader(self._map.slice(_HEAD_BYTES)))
        try:
            message = self._messages.read_next_message()
            if message.type != "schema":  # Arrow would take its bytes for one, and crash
                raise ValueError(_DAMAGED)
            self._schema = pa.ipc.read_schema(message)
        except (pa.ArrowException, OSError, ValueError, StopIteration) as error:
            raise ValueError(_DAMAGED) from error

    @property
    def metadata(self) -> dict[str, str]:
        """What is noted in the file about all of it."""
        found = self._schema.metadata or {}
        return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in found.items()}

    def rows(self) -> Iterator[Row]:
        """Its rows, in order, once; their arrays are views of the file, and read-only."""
        if not self._schema.equals(SCHEMA):
            raise ValueError("its columns are not those of a scene")
        while True:
            try:
                message = self._messages.read_next_message()
            except StopIteration:
                return
            except (pa.ArrowException, OSError, ValueError) as error:
                raise ValueError(_DAMAGED) from error
            yield from _rows_of(self._batch(message))

    def _batch(self, message: pa.Message) -> pa.RecordBatch:
        try:
            if message.type != "record batch" or _is_compressed(message.metadata):
                raise ValueError("it holds something else than plain rows")
            batch = pa.ipc.read_record_batch(message, self._schema)
            batch.validate(full=True)
            if any(column.null_count for column in (batch.column("kind"), *_items(batch))):
                raise ValueError("some of its numbers are missing")
        except (pa.ArrowException, OSError, struct.error) as error:
            raise ValueError(_DAMAGED) from error
        return batch


def _is_compressed(metadata: pa.Buffer) -> bool:
    """Whether the body of a record batch is compressed: it would be unpacked to whatever size it announces.

    The message is a flatbuffer (Arrow's format/Message.fbs): Message.header is field 2, RecordBatch.compression is
    field 3. Arrow has verified its offsets when it read the message.
    """
    text = metadata.to_pybytes()
    start = struct.unpack_from("<I", text)[0]
    header = _field(text, start, 2)
    if not header:
        raise ValueError("it holds something else than plain rows")
    return bool(_field(text, header + struct.unpack_from("<I", text, header)[0], 3))


def _field(text: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table lies; 0 when it is not there."""
    names = table - struct.unpack_from("<i", text, table)[0]
    place = 4 + 2 * number
    if place + 2 > struct.unpack_from("<H", text, names)[0]:
        return 0
    offset = struct.unpack_from("<H", text, names + place)[0]
    return table + int(offset) if offset else 0


def _items(batch: pa.RecordBatch) -> list[pa.Array]:
    return [batch.column(name).values for name in LISTS]


def _rows_of(batch: pa.RecordBatch) -> Iterator[Row]:
    kinds, names = batch.column("kind").to_pylist(), batch.column("name").to_pylist()
    lists = {name: _views(batch.column(name)) for name in LISTS if batch.column(name).null_count < len(batch)}
    blobs = _blob_views(batch.column("data"))
    for number, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        there = {column: view for column, views in lists.items() if (view := views[number]) is not None}
        yield Row(kind=kind, name=name or "", lists=there, data=blobs[number])


def _views(column: pa.Array) -> list[NDArray[Any] | None]:
    values = column.values.to_numpy(zero_copy_only=True)
    offsets = column.offsets.to_numpy(zero_copy_only=True).tolist()
    return [
        values[start:end] if valid else None
        for start, end, valid in zip(offsets[:-1], offsets[1:], column.is_valid().to_pylist(), strict=True)
    ]


def _blob_views(column: pa.Array) -> list[memoryview | None]:
    return [memoryview(blob.as_buffer()) if blob.is_valid else None for blob in column]
