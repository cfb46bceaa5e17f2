"""What an FBX file says beside its tree: unit, axis, animations and the pictures in it.

Binary and text files of versions 6 and 7 are understood. Only the records that matter are looked at, the others are
stepped over, and nothing is believed that does not fit into the file.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from pixyz_worker.kernel.formats.fbx.records import MAGIC
from pixyz_worker.kernel.scene import Axis

_SIZES = {"C": 1, "B": 1, "Y": 2, "I": 4, "F": 4, "L": 8, "D": 8}
_LAYOUTS = {"C": "<b", "B": "<b", "Y": "<h", "I": "<i", "F": "<f", "L": "<q", "D": "<d"}
_AXES: tuple[Axis, ...] = ("x", "y", "z")
_ARRAYS = dict(zip(b"bcifld", (1, 1, 4, 4, 8, 8), strict=True))
_DENSEST = 1032
"""How many bytes one byte of deflate can stand for, at most."""
_DEEPEST = 16
_WIDE_SINCE = 7500
_NUMBER = re.compile(rb'^\s*(?:P|Property):\s*"(UnitScaleFactor|UpAxis|UpAxisSign)"[^\n]*,\s*([-+.\deE]+)\s*$', re.M)
_STACK = re.compile(rb'^\s*AnimationStack:\s*-?\d+\s*,\s*"(?:AnimStack::)?([^"\n]*)"', re.M)
_VIDEO = re.compile(rb'^\s*Video:\s*(?:-?\d+\s*,\s*)?"[^"\n]*"', re.M)
_FILE = re.compile(rb'^\s*(?:RelativeFilename|Filename):\s*"([^"\n]*)"', re.M | re.I)
_CONTENT = re.compile(rb'^\s*Content:\s*,?\s*((?:"[A-Za-z0-9+/=\s]*"\s*,?\s*)+)', re.M)


@dataclass(eq=False, kw_only=True, slots=True)
class FbxFacts:
    """What a file says of itself."""

    unit_m: float | None = None
    """Metres in one of its units; None when it does not say."""
    up: Axis | None = None
    """The axis that points up; None when it does not say, or when that axis points down."""
    animations: list[str] = field(default_factory=list)
    """The names of its animations."""
    images: dict[str, bytes] = field(default_factory=dict)
    """The pictures in it, by the lower-case name of their file without a folder."""

    def note(self, name: str, number: float) -> None:
        """Take in one of the numbers of the global settings."""
        if name == "UnitScaleFactor" and 0 < number < float("inf"):
            self.unit_m = number * 0.01
        elif name == "UpAxis" and number in (0, 1, 2):
            self.up = _AXES[int(number)]
        elif name == "UpAxisSign" and number < 0:
            self.up = None

    def keep(self, paths: list[str], data: bytes) -> None:
        """Take in a picture under every name that is told of it."""
        for path in paths:
            if data and (name := file_name(path)):
                self.images.setdefault(name, data)


def facts(data: bytes) -> FbxFacts:
    """The facts of a whole file; ValueError when it is no FBX file, or cut off."""
    if data.startswith(MAGIC[:20]):
        return _binary(data)
    if b"FBXHeaderExtension" in data[:65536] or b"; FBX" in data[:1024]:
        return _text(data)
    raise ValueError(f"it does not begin as FBX files do but with {data[:8]!r}")


def file_name(path: str) -> str:
    """The lower-case name of a file, without its folders."""
    return PurePosixPath(path.replace("\\", "/")).name.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Head:
    """The beginning of a binary record."""

    name: str
    values: int
    """Where its values begin."""
    count: int
    """How many values it has."""
    inside: int
    """Where the records in it begin."""
    end: int
    """Where it ends."""


def _binary(data: bytes) -> FbxFacts:
    if len(data) < 27:
        raise ValueError("it ends within its header")
    wide = struct.unpack_from("<I", data, 23)[0] >= _WIDE_SINCE
    found = FbxFacts()
    pending = [(record, 0) for record in _heads(data, 27, len(data), wide)]
    while pending:
        record, depth = pending.pop()
        _check_array(data, record)
        if record.name == "AnimationStack":
            found.animations.append(_plain(next((v for v in _values(data, record) if isinstance(v, str)), "")))
        elif record.name == "Video":
            _look_at_video(data, record, wide, found)
        elif record.name == "GlobalSettings":
            _look_at_settings(data, record, wide, found)
        if depth < _DEEPEST:
            pending += [(child, depth + 1) for child in _heads(data, record.inside, record.end, wide)]
    found.animations.reverse()
    return found


def _check_array(data: bytes, record: _Head) -> None:
    """Refuse an array that announces more than the bytes that are there can be."""
    if not record.count or record.values + 13 > record.inside or data[record.values] not in _ARRAYS:
        return
    count, packed, length = struct.unpack_from("<III", data, record.values + 1)
    most = length * _DENSEST + 64 if packed else length
    if count * _ARRAYS[data[record.values]] > most or length > record.inside - record.values:
        raise ValueError(f"it is damaged: {count} values are announced where {length} bytes are")


def _heads(data: bytes, start: int, end: int, wide: bool) -> Iterator[_Head]:
    """The records that follow each other, up to the empty one."""
    layout, size = ("<QQQ", 24) if wide else ("<III", 12)
    while start + size + 1 <= end:
        stop, count, length = struct.unpack_from(layout, data, start)
        if stop == 0:
            return
        values = start + size + 1 + data[start + size]
        if not values + length <= stop <= end:
            raise ValueError("it is damaged or cut off: a record reaches beyond its end")
        name = data[start + size + 1 : values].decode("ascii", "replace")
        yield _Head(name=name, values=values, count=count, inside=values + length, end=stop)
        start = stop


def _look_at_settings(data: bytes, settings: _Head, wide: bool, found: FbxFacts) -> None:
    for group in _heads(data, settings.inside, settings.end, wide):
        if group.name in ("Properties70", "Properties60"):
            for record in _heads(data, group.inside, group.end, wide):
                values = _values(data, record)
                if values and isinstance(values[0], str) and isinstance(values[-1], (int, float)):
                    found.note(values[0], float(values[-1]))


def _look_at_video(data: bytes, video: _Head, wide: bool, found: FbxFacts) -> None:
    paths, content = [], b""
    for record in _heads(data, video.inside, video.end, wide):
        values = _values(data, record)
        if record.name in ("Filename", "FileName", "RelativeFilename") and values and isinstance(values[0], str):
            paths.append(values[0])
        elif record.name == "Content" and values and isinstance(values[0], bytes):
            content = values[0]
    found.keep(paths, content)


def _values(data: bytes, record: _Head) -> list[Any]:
    """The values of a record up to the first array, which no fact needs."""
    found: list[Any] = []
    place = record.values
    while len(found) < record.count and place < record.inside:
        code = chr(data[place])
        place += 1
        if code in _SIZES and place + _SIZES[code] <= record.inside:
            found.append(struct.unpack_from(_LAYOUTS[code], data, place)[0])
            place += _SIZES[code]
        elif code in "SR" and place + 4 <= record.inside:
            (length,) = struct.unpack_from("<I", data, place)
            value = data[place + 4 : min(place + 4 + length, record.inside)]
            found.append(value.decode("utf-8", "replace") if code == "S" else value)
            place += 4 + length
        else:
            break
    return found


def _plain(name: str) -> str:
    """A name without its class."""
    return name.split("\x00\x01")[0]


def _text(data: bytes) -> FbxFacts:
    found = FbxFacts()
    for name, number in _NUMBER.findall(data):
        try:
            found.note(name.decode("ascii"), float(number))
        except ValueError:
            continue
    found.animations += [name.decode("utf-8", "replace") for name in _STACK.findall(data)]
    starts = [match.start() for match in _VIDEO.finditer(data)]
    for start, end in pairwise([*starts, len(data)]):
        content = _CONTENT.search(data, start, end)
        paths = [path.decode("utf-8", "replace") for path in _FILE.findall(data, start, end)]
        if content:
            found.keep(paths, _base64(content.group(1)))
    return found


def _base64(text: bytes) -> bytes:
    try:
        return b"".join(base64.b64decode(re.sub(rb"\s", b"", piece)) for piece in text.split(b'"')[1::2])
    except binascii.Error:
        return b""
