"""Which of several 3D files is the one to open: the top of an assembly, not one of its parts.

A file whose name stands in another one is a part of that: STEP names its external files, glTF, USD, X3D and COLLADA
theirs, and so do the assemblies of CAD systems.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

HEAD_BYTES, TAIL_BYTES = 4 << 20, 1 << 20
"""How much of a file is looked at, from its beginning and before its end."""
MAX_BYTES, MAX_NAMES = 256 << 20, 1 << 20
"""How much is looked at in all files together, and how many names in them."""

_MUTE = frozenset({".stl", ".ply", ".off", ".xyz"})
"""Files that name no others."""
_STEP = frozenset({".step", ".stp"})
_ASSEMBLIES = ("catproduct", "sldasm", "asm", "iam", "plmxml", "session")
_LONGEST = 255
_BEFORE_A_NAME = re.compile(r"[\"'<>()@|=,;?*\x00-\x1f]")
_STEP_LETTERS = re.compile(r"\\X2\\((?:[0-9A-Fa-f]{4})+)\\X0\\")
_JSON_LETTER = re.compile(r"\\u([0-9A-Fa-f]{4})")


def choose(folder: Path, files: Sequence[Path]) -> Path:
    """The one to open of some files, given as paths within a folder; always the same one of the same files.

    What is named in another file is passed over. Of the others, what can be read here comes first, then the
    shallowest, then scenes and assemblies before bare meshes, in the order of the table of formats, then names.
    """
    ranks = _Ranks(files)
    named = _Search(folder, files).named() if len(files) > 1 else frozenset()
    return min([path for path in files if path not in named] or files, key=ranks.key)


class _Ranks:
    """How good a file is as a root, by its extension."""

    def __init__(self, files: Sequence[Path]) -> None:
        from pixyz_worker.kernel.formats import SDK_ONLY, TABLE

        self._ranks: dict[str, tuple[bool, int]] = {}
        for number, entry in enumerate(entry for entry in TABLE if entry.reader):
            bare = "hierarchy" not in entry.survives
            self._ranks.update(dict.fromkeys(entry.extensions, (False, number + bare * len(TABLE))))
        if any(_extension(path) in SDK_ONLY for path in files):
            from pixyz_worker.kernel.sdk import genuine

            usable = genuine() is not None
            for extension in SDK_ONLY:
                self._ranks[extension] = (not usable, -2 if extension in _ASSEMBLIES else -1)

    def key(self, path: Path) -> tuple[bool, int, int, str]:
        """What comes first when files are sorted by it is the root."""
        unusable, rank = self._ranks.get(_extension(path), (True, 0))
        return unusable, len(path.parts), rank, path.as_posix()


@dataclass(slots=True)
class _Search:
    """Looks in files for the names of others."""

    folder: Path
    """Where the files are."""
    files: Sequence[Path]
    """Their paths in it."""
    bytes_left: int = MAX_BYTES
    """How much may still be read."""
    names_left: int = MAX_NAMES
    """How many names may still be looked up."""
    _by_name: dict[str, list[Path]] = field(default_factory=dict)
    _by_path: dict[str, Path] = field(default_factory=dict)

    def named(self) -> frozenset[Path]:
        """The files whose name stands in another one."""
        for path in self.files:
            self._by_name.setdefault(_same(path.name), []).append(path)
            self._by_path[_same(path.as_posix())] = path
        endings = b"|".join(sorted({re.escape(path.suffix[1:].encode("utf-8", "replace")) for path in self.files}))
        pattern = re.compile(rb"\.(?:" + endings + rb")(?![A-Za-z0-9_])", re.IGNORECASE)
        found: set[Path] = set()
        # Small ones first: an assembly that names its parts is smaller than they are.
        for path in sorted(self.files, key=lambda path: ((self.folder / path).stat().st_size, path.as_posix())):
            if path.suffix.lower() not in _MUTE and self.bytes_left > 0:
                for text in self._texts(path, pattern):
                    found.update(self._meant(text, path))
        return frozenset(found)

    def _texts(self, path: Path, pattern: re.Pattern[bytes]) -> Iterator[str]:
        """The texts in a file that end like the name of one of the files."""
        data = self._content(path)
        for match in islice(pattern.finditer(data), self.names_left):
            self.names_left -= 1
            yield data[max(0, match.start() - _LONGEST) : match.end()].decode("utf-8", "replace")

    def _content(self, path: Path) -> bytes:
        with (self.folder / path).open("rb") as file:
            data = file.read(min(HEAD_BYTES, self.bytes_left))
            if path.suffix.lower() in _STEP:
                # The header names the file itself, often as it was called when all of them were one.
                data = data[max(data.find(b"DATA;"), 0) :]
            size = file.seek(0, 2)
            if size > file.seek(min(size, HEAD_BYTES)):
                file.seek(max(HEAD_BYTES, size - TAIL_BYTES))
                data += b"\n" + file.read(TAIL_BYTES)
        self.bytes_left -= len(data)
        # Without its zeros, text of two bytes to a letter is plain text, as far as names are ASCII.
        return data.replace(b"\0", b"")

    def _meant(self, text: str, where: Path) -> list[Path]:
        """The files that a text in one of them may mean: that very path, else all with such a name."""
        tail = _BEFORE_A_NAME.split(_letters(text))[-1].replace("\\", "/").strip()
        for name in dict.fromkeys((tail, unquote(tail), tail.rpartition(" ")[2])):
            spelled = _same(name)
            beside = _joined(PurePosixPath(_same(where.parent.as_posix())), spelled)
            if (path := self._by_path.get(beside)) is not None:
                return [path] if path != where else []
            if found := self._by_name.get(spelled.rpartition("/")[2]):
                return [path for path in found if path != where]
        return []


def _letters(text: str) -> str:
    """A text with the letters that STEP, JSON and XML spell in ASCII."""
    text = _STEP_LETTERS.sub(lambda match: bytes.fromhex(match[1]).decode("utf-16-be", "replace"), text)
    return _JSON_LETTER.sub(lambda match: chr(int(match[1], 16)), text).replace("&amp;", "&")


def _same(name: str) -> str:
    """A name as file systems that do not care for case or the composition of letters see it."""
    return unicodedata.normalize("NFC", name).casefold()


def _joined(folder: PurePosixPath, name: str) -> str:
    """A path beside another one, without dots in it; it never leads further up than to the top."""
    parts: list[str] = []
    for part in (*folder.parts, *PurePosixPath(name.removeprefix("file:")).parts):
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _extension(path: Path) -> str:
    return path.suffix.lower()[1:]
