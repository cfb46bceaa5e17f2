"""The elements of a PLY file as arrays, whatever properties they have.

The header is checked against the size of the file before any memory is taken. Text becomes one array of numbers, and
is then read as if it were binary with 64-bit numbers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import number_text
from pixyz_worker.kernel.mapped_file import content_of

_LONGEST_HEADER = 1 << 20
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """One property of an element."""

    name: str
    """Its name."""
    kind: numpy.dtype[Any]
    """The type of its value, or of those of its list."""
    count_kind: numpy.dtype[Any] | None = None
    """Of a list, the type of the number of its values."""


@dataclass(kw_only=True, slots=True)
class Layout:
    """One element as the header announces it."""

    name: str
    """Its name: vertex, face."""
    count: int
    """How many rows it has."""
    properties: list[Property] = field(default_factory=list)
    """Its properties, in the order of the file."""


@dataclass(kw_only=True, slots=True)
class Header:
    """The header of a file."""

    order: str
    """< or > for binary numbers; empty for text."""
    comments: list[str] = field(default_factory=list)
    """Its comments, without the word."""
    layouts: list[Layout] = field(default_factory=list)
    """Its elements, in the order of the file."""
    size: int = 0
    """Its length in bytes."""


@dataclass(kw_only=True, slots=True, eq=False)
class Lists:
    """A property that has several values in each row."""

    values: NDArray[Any]
    """Those of all rows, one after the other."""
    counts: NDArray[numpy.int64]
    """How many each row has."""


@dataclass(kw_only=True, slots=True, eq=False)
class Element:
    """The rows of an element."""

    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Properties with one value a row, (n,)."""
    lists: dict[str, Lists] = field(default_factory=dict)
    """Properties that are lists."""
    kinds: dict[str, numpy.dtype[Any]] = field(default_factory=dict)
    """The types that the header gives those with one value, by name."""

    def column(self, name: str) -> NDArray[Any]:
        """One value of each row, (n,)."""
        return self.values[name]

    def columns(self, names: tuple[str, ...]) -> NDArray[Any] | None:
        """Several values of each row, (n, k); None unless it has all of them."""
        if not all(name in self.values for name in names):
            return None
        first = self.kinds[names[0]]
        kind = numpy.float32 if first == numpy.float32 else numpy.float64 if first.kind == "f" else first
        result = numpy.empty((len(self.values[names[0]]), len(names)), kind)
        for place, name in enumerate(names):
            result[:, place] = self.values[name]
        return result


def read_header(file: IO[bytes]) -> Header:
    """The header of an open file; ValueError says what is wrong with it."""
    text = file.read(_LONGEST_HEADER)
    if text[:3] != b"ply":
        raise ValueError("it does not begin with the word ply")
    end = text.find(b"end_header")
    if end < 0:
        raise ValueError("its header has no end")
    newline = text.find(b"\n", end)
    if text[end + 10 : end + 11] == b"\r" and newline != end + 11:
        newline = end + 10
    header = Header(order="?", size=newline + 1 if newline >= 0 else len(text))
    for line in text[:end].decode("utf-8", "replace").splitlines()[1:]:
        _take(header, line.strip())
    if header.order == "?":
        raise ValueError("its header does not say whether it is text or binary")
    return header


def read_elements(path: Path, header: Header) -> dict[str, Element]:
    """The elements of a file, by name; ValueError when it is shorter than its header says, or damaged."""
    size = path.stat().st_size - header.size
    for layout in header.layouts:
        _check_count(layout, size, text=not header.order)
    body, layouts = _body(path, header, size)
    elements, at = dict[str, Element](), 0
    for layout, announced in zip(layouts, header.layouts, strict=True):
        element, at = _read(layout, body, at)
        element.kinds = {entry.name: entry.kind for entry in announced.properties if entry.count_kind is None}
        if layout.count:
            elements[layout.name] = element
    return elements


def _take(header: Header, line: str) -> None:
    """Take in one line of a header."""
    words = line.split()
    match words:
        case ["format", order, *_] if order in _ORDERS:
            header.order = _ORDERS[order]
        case ["comment" | "obj_info", *_]:
            header.comments.append(line.partition(" ")[2].strip())
        case ["element", name, count] if count.isdecimal() and len(count) < 19:
            header.layouts.append(Layout(name=name, count=int(count)))
        case ["property", "list", counts, values, name] if header.layouts:
            entry = Property(name=name, kind=_kind(header, values), count_kind=_kind(header, counts))
            header.layouts[-1].properties.append(entry)
        case ["property", value, name] if header.layouts:
            header.layouts[-1].properties.append(Property(name=name, kind=_kind(header, value)))
        case []:
            pass
        case _:
            raise ValueError(f"its header has a line that makes no sense: {line[:80]!r}")


def _kind(header: Header, word: str) -> numpy.dtype[Any]:
    if word not in _TYPES:
        raise ValueError(f"its header names a type that there is not: {word[:40]!r}")
    return numpy.dtype((header.order.replace("?", "") or "=") + _TYPES[word])


def _check_count(layout: Layout, size: int, *, text: bool) -> None:
    """Refuse what cannot be in a file with so many bytes after its header."""
    kinds = [entry.count_kind or entry.kind for entry in layout.properties]
    least = 2 * len(kinds) if text else sum(kind.itemsize for kind in kinds)
    if layout.count * least > size + 1:
        raise ValueError(f"it announces {layout.count} times {layout.name}, more than it has bytes for")
    names = [entry.name for entry in layout.properties]
    if len(set(names)) != len(names):
        raise ValueError(f"its header names a property of {layout.name} twice")


def _body(path: Path, header: Header, size: int) -> tuple[NDArray[numpy.uint8], list[Layout]]:
    """The bytes after the header, and what is in them."""
    if not size:
        return numpy.empty(0, numpy.uint8), header.layouts
    if header.order:
        return content_of(path, header.size), header.layouts
    with path.open("rb") as file:
        file.seek(header.size)
        tokens = [number_text.parse(block) for block in number_text.blocks(file)]
    wide = numpy.dtype(numpy.float64)
    layouts = [
        Layout(
            name=layout.name,
            count=layout.count,
            properties=[
                Property(name=entry.name, kind=wide, count_kind=wide if entry.count_kind else None)
                for entry in layout.properties
            ],
        )
        for layout in header.layouts
    ]
    return numpy.concatenate(tokens).view(numpy.uint8), layouts


def _read(layout: Layout, body: NDArray[numpy.uint8], at: int) -> tuple[Element, int]:
    """The rows of an element that begin at some byte, and the byte after them."""
    if not layout.count or not layout.properties:
        return Element(), at
    if found := _read_even(layout, body, at):
        return found
    return _read_uneven(layout, body, at)


def _read_even(layout: Layout, body: NDArray[numpy.uint8], at: int) -> tuple[Element, int] | None:
    """The same when the lists of all rows are as long as those of the first; None when they are not."""
    fields: list[Any] = []
    sizes = dict[str, int]()
    first = at
    for place, entry in enumerate(layout.properties):
        if entry.count_kind is None:
            fields.append((f"value{place}", entry.kind))
            first += entry.kind.itemsize
            continue
        size = _count(body, first, entry.count_kind)
        first += entry.count_kind.itemsize + size * entry.kind.itemsize
        if first > len(body):
            raise ValueError("it ends before all that its header announces")
        sizes[f"value{place}"] = size
        fields += [(f"count{place}", entry.count_kind), (f"value{place}", entry.kind, (size,))]
    kind = numpy.dtype(fields)
    if at + layout.count * kind.itemsize > len(body):
        if not sizes:
            raise ValueError("it ends before all that its header announces")
        return None
    rows = numpy.frombuffer(body, kind, layout.count, at)
    if any((rows[name.replace("value", "count")] != size).any() for name, size in sizes.items()):
        return None
    element = Element()
    for place, entry in enumerate(layout.properties):
        values = rows[f"value{place}"]
        if entry.count_kind is None:
            element.values[entry.name] = values
        else:
            counts = numpy.full(layout.count, sizes[f"value{place}"], numpy.int64)
            element.lists[entry.name] = Lists(values=numpy.ascontiguousarray(values).reshape(-1), counts=counts)
    return element, at + layout.count * kind.itemsize


def _read_uneven(layout: Layout, body: NDArray[numpy.uint8], at: int) -> tuple[Element, int]:
    """The same row by row, for lists of different lengths."""
    lists = [place for place, entry in enumerate(layout.properties) if entry.count_kind is not None]
    steps, gap = [], 0
    for entry in layout.properties:
        if entry.count_kind is None:
            gap += entry.kind.itemsize
        else:
            order = "<" if entry.count_kind.str[0] == "|" else entry.count_kind.str[0]
            steps.append((gap, struct.Struct(order + entry.count_kind.char), entry.kind.itemsize))
            gap = 0
    starts, counts = numpy.empty((2, layout.count, len(lists)), numpy.int64)
    buffer = memoryview(body)  # type: ignore[arg-type]
    try:
        for row in range(layout.count):
            for column, (before, count_of, width) in enumerate(steps):
                size = int(count_of.unpack_from(buffer, at + before)[0])
                if size < 0:
                    raise ValueError("one of its lists has fewer than no values")
                at += before + count_of.size
                starts[row, column], counts[row, column] = at, size
                at += size * width
            at += gap
    except (struct.error, OverflowError):
        raise ValueError("it ends before all that its header announces") from None
    if at > len(body):
        raise ValueError("it ends before all that its header announces")
    return _gathered(layout, body, starts, counts), at


def _gathered(
    layout: Layout, body: NDArray[numpy.uint8], starts: NDArray[numpy.int64], counts: NDArray[numpy.int64]
) -> Element:
    """The values of rows whose lists begin at some bytes and have some lengths, (n, number of lists) each."""
    element, column = Element(), 0
    first = next(place for place, entry in enumerate(layout.properties) if entry.count_kind is not None)
    head = layout.properties[first].count_kind
    assert head is not None
    before = sum(entry.kind.itemsize for entry in layout.properties[:first]) + head.itemsize
    place = starts[:, 0] - before
    for entry in layout.properties:
        if entry.count_kind is None:
            element.values[entry.name] = _items(body, place, entry.kind)
            place = place + entry.kind.itemsize
            continue
        sizes = counts[:, column]
        ends = numpy.cumsum(sizes)
        within = numpy.arange(int(ends[-1])) - numpy.repeat(ends - sizes, sizes)
        items = numpy.repeat(starts[:, column], sizes) + within * entry.kind.itemsize
        element.lists[entry.name] = Lists(values=_items(body, items, entry.kind), counts=sizes.copy())
        place = starts[:, column] + sizes * entry.kind.itemsize
        column += 1
    return element


def _items(body: NDArray[numpy.uint8], places: NDArray[numpy.int64], kind: numpy.dtype[Any]) -> NDArray[Any]:
    """Values that begin at some bytes."""
    result = numpy.empty((len(places), kind.itemsize), numpy.uint8)
    for byte in range(kind.itemsize):
        result[:, byte] = body[places + byte]
    return result.reshape(-1).view(kind)


def _count(body: NDArray[numpy.uint8], at: int, kind: numpy.dtype[Any]) -> int:
    if at + kind.itemsize > len(body):
        raise ValueError("it ends before all that its header announces")
    value = float(body[at : at + kind.itemsize].view(kind)[0])
    if not 0 <= value < 1 << 40:
        raise ValueError("one of its lists has a length that makes no sense")
    return int(value)
