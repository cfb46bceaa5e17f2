"""The lines of an OBJ file as arrays: positions, texture coordinates, normals, and the corners of its faces.

The file is taken some megabytes at a time; lines of one kind are cut out together, and their numbers parsed together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from pixyz_worker.kernel.formats.shared import number_text

State = tuple[str, str, str]
"""Object, group and material that faces belong to."""

_CONTINUED = re.compile(rb"\\[ \t]*\r?\n")
_INDENTED = re.compile(rb"(?<=\n)[ \t]+")
_COMMENT = re.compile(rb"#[^\n]*")
_UNIT_COMMENTS = 200


@dataclass(kw_only=True, slots=True, eq=False)
class Lines:
    """What a whole file says."""

    positions: NDArray[Any]
    """All vertices, (n, 3) float64."""
    colours: NDArray[Any] | None
    """Their colours from 0 to 1, (n, 3), not a number where a vertex has none; None when none has."""
    uvs: NDArray[numpy.float32]
    """All texture coordinates, (k, 2), v upwards."""
    normals: NDArray[numpy.float32]
    """All normals, (k, 3)."""
    corners: NDArray[numpy.int32]
    """Of each corner of each face its vertex, texture coordinates and normal, (c, 3); -1 for none."""
    counts: NDArray[numpy.int32]
    """How many corners each face has, (f,)."""
    states: NDArray[numpy.int32]
    """Of each face, its place in `named`, (f,)."""
    named: list[State]
    """The objects, groups and materials that faces belong to, each once."""
    libraries: list[str]
    """The files that hold its materials, as the file names them."""
    comments: list[str]
    """The first comments."""


def read_lines(path: Path) -> Lines:
    """Take a whole file in; ValueError says what is wrong with it."""
    reader = _Reader()
    with path.open("rb") as file:
        for block in number_text.blocks(file):
            if b"\0" in block.rstrip(b"\0"):
                raise ValueError("it is no text: there are zero bytes in it")
            reader.pending += block
            if block.rstrip(b"\r\n").endswith(b"\\"):
                continue  # the line goes on in the next block
            reader.take(reader.pending)
            reader.pending = b""
    reader.take(reader.pending)
    return reader.lines()


@dataclass(kw_only=True, slots=True, eq=False)
class _Reader:
    """Blocks of lines that were taken in so far."""

    pending: bytes = b""
    values: dict[str, list[NDArray[Any]]] = field(default_factory=lambda: {"v": [], "vt": [], "vn": []})
    totals: dict[str, int] = field(default_factory=lambda: {"v": 0, "vt": 0, "vn": 0})
    corners: list[NDArray[numpy.int32]] = field(default_factory=list)
    counts: list[NDArray[numpy.int32]] = field(default_factory=list)
    states: list[NDArray[numpy.int32]] = field(default_factory=list)
    state: State = ("", "", "")
    named: dict[State, int] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def take(self, text: bytes) -> None:
        """Take in whole lines."""
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\\" in text:
            text = _CONTINUED.sub(b" ", text)
        text = b"\n" + text + b"\n"
        if b"\n " in text or b"\n\t" in text:
            text = _INDENTED.sub(b"", text)
        data = numpy.frombuffer(text, numpy.uint8)
        ends = numpy.flatnonzero(data == 10)
        starts, ends = ends[:-1] + 1, ends[1:]
        first, second = data[starts], data[numpy.minimum(starts + 1, len(data) - 1)]
        third = data[numpy.minimum(starts + 2, len(data) - 1)]
        before = dict(self.totals)
        is_v = (first == ord("v")) & (second <= 32) & (second != 10)
        kinds = {
            "v": is_v,
            "vt": (first == ord("v")) & (second == ord("t")) & (third <= 32),
            "vn": (first == ord("v")) & (second == ord("n")) & (third <= 32),
        }
        for name, chosen in kinds.items():
            if chosen.any():
                self._take_values(name, _cut(data, starts, ends, chosen, len(name)), int(chosen.sum()))
        others = numpy.isin(first, numpy.frombuffer(b"gomu#", numpy.uint8))
        state_lines, state_numbers = self._take_words(text, starts, ends, numpy.flatnonzero(others))
        is_f = (first == ord("f")) & (second <= 32) & (second != 10)
        if is_f.any():
            rows = numpy.flatnonzero(is_f)
            self.states.append(state_numbers[numpy.searchsorted(state_lines, rows, side="right")])
            seen = {name: (before[name], chosen) for name, chosen in kinds.items()}
            self._take_faces(_cut(data, starts, ends, is_f, 1), rows, seen)

    def lines(self) -> Lines:
        """Everything that was taken in."""
        rows = self.values["v"]
        painted = any(block.shape[1] >= 6 for block in rows)
        return Lines(
            positions=_stacked([block[:, :3] for block in rows], numpy.float64, 3),
            colours=_stacked([_colours(block) for block in rows], numpy.float64, 3) if painted else None,
            uvs=_stacked(self.values["vt"], numpy.float32, 2),
            normals=_stacked(self.values["vn"], numpy.float32, 3),
            corners=_stacked(self.corners, numpy.int32, 3),
            counts=numpy.concatenate([*self.counts, numpy.empty(0, numpy.int32)]),
            states=numpy.concatenate([*self.states, numpy.empty(0, numpy.int32)]),
            named=list(self.named),
            libraries=self.libraries,
            comments=self.comments,
        )

    def _take_values(self, name: str, text: bytes, count: int) -> None:
        text = _COMMENT.sub(b"", text) if b"#" in text else text
        values = number_text.parse(text)
        width = len(values) // count
        usual = {"v": (3,), "vt": (2, 3), "vn": (3,)}[name]
        if len(values) != width * count or width not in usual:
            values = _even(text, 3 if name != "vt" else 2)
        rows = values.reshape(count, -1)
        self.totals[name] += count
        if name == "v":
            self.values[name].append(rows)
        else:
            self.values[name].append(rows[:, : 2 if name == "vt" else 3].astype(numpy.float32))

    def _take_words(
        self, text: bytes, starts: NDArray[Any], ends: NDArray[Any], chosen: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[numpy.int32]]:
        """Lines of names. Gives the lines after which another state holds, and the states: one more than lines."""
        at, numbers = list[int](), [self._number()]
        for line in chosen.tolist():
            word, _, rest = text[starts[line] : ends[line]].partition(b" ")
            if word[:1] == b"#":
                if len(self.comments) < _UNIT_COMMENTS:
                    self.comments.append((word + b" " + rest).decode("utf-8", "replace"))
                continue
            if b"\t" in word:
                word, _, rest = (word + b" " + rest).partition(b"\t")
            name = rest.decode("utf-8", "replace").strip()
            if word == b"mtllib":
                self.libraries.append(name)
                continue
            place = {b"o": 0, b"g": 1, b"usemtl": 2}.get(word)
            if place is None:
                continue
            kept = ("", "", self.state[2]) if place == 0 else self.state
            self.state = (*kept[:place], name, *kept[place + 1 :])  # type: ignore[assignment]
            at.append(line)
            numbers.append(self._number())
        return numpy.array(at, numpy.int64), numpy.array(numbers, numpy.int32)

    def _number(self) -> int:
        return self.named.setdefault(self.state, len(self.named))

    def _take_faces(self, text: bytes, lines: NDArray[Any], seen: dict[str, tuple[int, NDArray[Any]]]) -> None:
        text = _COMMENT.sub(b"", text) if b"#" in text else text
        counts, corners = _corners(text, len(lines))
        for column, name in enumerate(("v", "vt", "vn")):
            numbers = corners[:, column]
            if name == "v" and (numbers == 0).any():
                raise ValueError("its triangles refer to vertices that are not there")
            if (numbers < 0).any():
                first, chosen = seen[name]
                so_far = first + numpy.cumsum(chosen)[lines]
                relative = numbers < 0
                numbers[relative] += numpy.repeat(so_far, counts)[relative] + 1
                if (numbers[relative] <= 0).any():
                    raise ValueError("its triangles refer to vertices that are not there")
        if corners.max(initial=0) >= 1 << 31:
            raise ValueError("its triangles refer to vertices that are not there")
        self.corners.append((corners - 1).astype(numpy.int32))
        self.counts.append(counts.astype(numpy.int32))


def _cut(
    data: NDArray[numpy.uint8], starts: NDArray[Any], ends: NDArray[Any], chosen: NDArray[Any], head: int
) -> bytes:
    """Some lines, without their first characters, each with its end."""
    steps = numpy.zeros(len(data) + 1, numpy.int8)
    steps[starts[chosen] + head] = 1
    steps[ends[chosen] + 1] -= 1
    kept: bytes = data[numpy.cumsum(steps[:-1], dtype=numpy.int8).view(bool)].tobytes()
    return kept


def _even(text: bytes, width: int) -> NDArray[Any]:
    """The numbers of lines of different lengths, all made as long as the longest; colours that are missing are nan."""
    rows = [line.split()[:8] for line in text.split(b"\n")[:-1]]
    if any(len(row) < width for row in rows):
        raise ValueError("some of its vertices have too few numbers")
    # A fourth number is a weight, seven are a weight or an opacity beside the colour; both are left out.
    size = 6 if width == 3 and any(len(row) >= 6 for row in rows) else width
    rows = [row[:size] + [b"nan"] * (size - len(row)) if len(row) >= size else row[:width] for row in rows]
    full = [row + [b"nan"] * (size - len(row)) for row in rows]
    return number_text.parse(b" ".join(value for row in full for value in row))


def _colours(rows: NDArray[Any]) -> NDArray[Any]:
    return rows[:, 3:6] if rows.shape[1] >= 6 else numpy.full((len(rows), 3), numpy.nan)


def _corners(text: bytes, count: int) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """How many corners each face has, and their three numbers, 0 where one is missing: (c, 3)."""
    data = numpy.frombuffer(text, numpy.uint8)
    ends = numpy.flatnonzero(data == 10)
    line_starts = numpy.append(0, ends[:-1] + 1)
    slash = data == ord("/")
    double = numpy.zeros(len(data), bool)
    double[1:] = slash[1:] & slash[:-1]
    tokens = number_text.words_of_lines(text)
    slashes = number_text.count_in_lines(slash, line_starts)
    doubles = number_text.count_in_lines(double, line_starts)
    # Whether corners are v, v/vt, v//vn or v/vt/vn, as 0 to 3; -1 when they are not all the same.
    kind = numpy.full(count, -1)
    kind[(slashes == 0)] = 0
    kind[(slashes == tokens) & (doubles == 0)] = 1
    kind[(slashes == 2 * tokens) & (doubles == tokens)] = 2
    kind[(slashes == 2 * tokens) & (doubles == 0)] = 3
    widths = numpy.array([1, 2, 2, 3, 0])[kind]
    values = number_text.parse(text.replace(b"/", b" "), numpy.int64)
    if (kind < 0).any() or len(values) != int((widths * tokens).sum()):
        return _mixed_corners(text)
    result = numpy.zeros((int(tokens.sum()), 3), numpy.int64)
    if (kind == kind[0]).all():
        columns = [[0], [0, 1], [0, 2], [0, 1, 2]][kind[0]]
        result[:, columns] = values.reshape(-1, len(columns))
        return tokens, result
    kind, widths = numpy.repeat(kind, tokens), numpy.repeat(widths, tokens)
    at = numpy.cumsum(widths) - widths
    result[:, 0] = values[at]
    has_uv, has_normal = (kind & 1) > 0, kind >= 2
    result[has_uv, 1] = values[at[has_uv] + 1]
    result[has_normal, 2] = values[at[has_normal] + widths[has_normal] - 1]
    return tokens, result


def _mixed_corners(text: bytes) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """The same, corner by corner, for faces whose corners are written in different ways."""
    counts, corners = list[int](), list[list[int]]()
    for line in text.split(b"\n")[:-1]:
        tokens = line.split()
        counts.append(len(tokens))
        for token in tokens:
            try:
                numbers = [int(part) if part else 0 for part in token.split(b"/")[:3]]
            except ValueError:
                raise ValueError("there is something else where numbers should be") from None
            corners.append(numbers + [0] * (3 - len(numbers)))
    return numpy.array(counts, numpy.int64), numpy.array(corners, numpy.int64).reshape(-1, 3)


def _stacked(blocks: list[NDArray[Any]], kind: Any, width: int) -> NDArray[Any]:
    return numpy.concatenate(blocks).astype(kind, copy=False) if blocks else numpy.empty((0, width), kind)
