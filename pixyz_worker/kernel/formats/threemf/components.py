"""How objects of a 3MF package consist of others, looked at before lib3mf is: it follows every way through them."""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from pathlib import Path

from pixyz_worker import zip_reading
from pixyz_worker.kernel.formats.shared.roots import check_unfolding
from pixyz_worker.kernel.limits import Limits

_Key = tuple[str, str]
"""A file of the package and the number of an object in it."""
_ATTRIBUTE = re.compile(rb'([\w:.-]+)\s*=\s*(?:"([^"]*)"|\'([^\']*)\')')
_ENTRY_END = b">"


def check(path: Path) -> None:
    """Refuse, with a ValueError, objects that consist of themselves, or of so many others that no memory holds them.

    A package without a model is refused too, in plainer words than lib3mf has.
    """
    below: dict[_Key, list[_Key]] = {}
    tops: list[_Key] = []
    try:
        with zip_reading.opened(path, Limits.from_environment()) as archive:
            names = {_plain(name) for name in archive.namelist()}
            if "/_rels/.rels" not in names or not any(name.endswith(".model") for name in names):
                raise ValueError("it is a zip archive without a 3D model of this format")
            for entry in archive.infolist():
                if entry.filename.lower().endswith(".model"):
                    _look(_plain(entry.filename), zip_reading.entry_bytes(archive, entry), below, tops)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"it is a damaged zip archive: {error}") from error
    check_unfolding(tops, lambda key: below.get(key, []))


def _look(name: str, data: bytes, below: dict[_Key, list[_Key]], tops: list[_Key]) -> None:
    """Note the components of the objects in one file, and what is built of them."""
    place = data.find(b"component")
    while place >= 0:
        tag = _tag(data, place, b"component")
        start = _before(data, place, b"object") if tag else -1
        if tag and start >= 0:
            owner = (name, _tag(data, start, b"object").get("id", ""))
            below.setdefault(owner, []).append(_target(name, tag))
        place = data.find(b"component", place + 9)
    place = data.find(b"item")
    while place >= 0:
        if tag := _tag(data, place, b"item"):
            tops.append(_target(name, tag))
        place = data.find(b"item", place + 4)


def _before(data: bytes, place: int, kind: bytes) -> int:
    """Where the last element of a kind before a place has its name; -1 if there is none."""
    found = data.rfind(kind, 0, place)
    while found >= 0 and "id" not in _tag(data, found, kind):
        found = data.rfind(kind, 0, found)
    return found


def _tag(data: bytes, place: int, kind: bytes) -> dict[str, str]:
    """The attributes of the start tag whose name is at a place, without their prefixes; none if it is no start tag."""
    before, after = data[max(place - 64, 0) : place], data[place + len(kind) : place + len(kind) + 1]
    opened = before.rpartition(b"<")[2]
    if not after.isspace() or b"<" not in before or (opened and not re.fullmatch(rb"[\w.-]+:", opened)):
        return {}
    text = data[place + len(kind) : data.find(_ENTRY_END, place)]
    found = ((key.rpartition(b":")[2], one or other) for key, one, other in _ATTRIBUTE.findall(text))
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in found}


def _target(name: str, tag: dict[str, str]) -> _Key:
    """The object that a component or an item refers to, in its own file if it names no other."""
    return (_plain(tag["path"]) if "path" in tag else name, tag.get("objectid", ""))


def _plain(path: str) -> str:
    return posixpath.normpath("/" + path).lower()
