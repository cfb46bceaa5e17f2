"""Numbers as text, in bulk: columns of arrays as lines, and lines as arrays.

Arrow turns numbers into text several times faster than Python does, and writes the shortest text that gives the same
number again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

_LINES = 1 << 17
"""Lines that are put together at a time."""

_BLOCK = 1 << 24
_LONGEST = 1 << 26


def write_lines(file: IO[bytes], columns: Sequence[Any]) -> None:
    """Write columns as lines, with a blank between them.

    A column is an array of numbers, (n,), an Arrow array, or a text that stands on every line; one of them at least
    is an array.
    """
    count = next(len(column) for column in columns if not isinstance(column, str))
    style = pyarrow.csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none", batch_size=8192)
    for start in range(0, count, _LINES):
        end = min(start + _LINES, count)
        block = [_block(column, start, end) for column in columns]
        table = pyarrow.Table.from_arrays(block, names=[str(number) for number in range(len(block))])
        pyarrow.csv.write_csv(table, file, style)


def parse(text: bytes, kind: Any = numpy.float64) -> NDArray[Any]:
    """The numbers of a text, with any white space between them; ValueError when there is something else in it."""
    # numpy warns of what is not a number, and will raise ValueError one day.
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return numpy.fromstring(text, dtype=kind, sep=" ") if text.strip() else numpy.empty(0, kind)
        except (DeprecationWarning, ValueError):
            raise ValueError("there is something else where numbers should be") from None


def words_of_lines(text: bytes) -> NDArray[numpy.int64]:
    """How many words each line has, (n,); the last line needs no end."""
    data = numpy.frombuffer(text, numpy.uint8)
    blank = data <= 32
    begins = ~blank
    begins[1:] &= blank[:-1]
    starts = numpy.append(0, numpy.flatnonzero(data[:-1] == 10) + 1)
    return count_in_lines(begins, starts)


def count_in_lines(flags: NDArray[numpy.bool_], starts: NDArray[numpy.int64]) -> NDArray[numpy.int64]:
    """How many flags are set in each line, (n,), of those for the characters of a text; given where lines begin."""
    places = numpy.flatnonzero(flags)
    bounds = numpy.append(numpy.searchsorted(places, starts), len(places))
    counts: NDArray[numpy.int64] = numpy.diff(bounds)
    return counts


def blocks(file: IO[bytes], mark: bytes = b"\n") -> Iterator[bytes]:
    """The text of a file, a few megabytes at a time, each block but the last ending with a mark.

    Raises ValueError when the next mark is too far away: then this is no such file.
    """
    rest = b""
    while block := file.read(_BLOCK):
        whole, end, rest = (rest + block).rpartition(mark)
        if len(rest) > _LONGEST:
            raise ValueError(f"there is no {mark.decode().strip() or 'end of a line'!r} for {_LONGEST >> 20} MiB")
        if end:
            yield whole + end
    if rest:
        yield rest


def _block(column: Any, start: int, end: int) -> Any:
    if isinstance(column, str):
        return pyarrow.repeat(column, end - start)
    if isinstance(column, numpy.ndarray):
        return pyarrow.array(numpy.ascontiguousarray(column[start:end]))
    return column.slice(start, end - start)
