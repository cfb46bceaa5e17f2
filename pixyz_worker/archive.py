"""Input archives: unpack a .zip or .tar.gz that nobody vouches for, and find the 3D file in it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, TYPE_CHECKING

from pixyz_worker import file_names
from pixyz_worker.exception import InvalidFile, PixyzFileNotFound, PixyzSecurityViolation, UnsafeFile

if TYPE_CHECKING:
    from pixyz_worker.kernel.limits import Limits

MAX_DEPTH = 100
"""How deep folders may lie within each other in an archive."""

_ENDINGS = (".zip", ".tar.gz", ".tgz", ".tar")
_INNER_ENDINGS = (*_ENDINGS, ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst")
_BAD_NAME = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})
_CHUNK = 1024**2


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One member of an archive."""

    name: str
    """Its name, as the archive says it."""

    content: IO[bytes] | None
    """What to read it from; None for a folder."""


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that is unpacked for scripts."""
    return path.name.lower().endswith(_ENDINGS)


def extract(archive: Path, folder: Path) -> None:
    """Unpack `archive` into `folder`, which appears only when it is complete.

    A second task that wants the same folder finds it there, or makes it at the same time: the first wins.
    """
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.{os.urandom(4).hex()}.partial")
    partial.mkdir(parents=True)
    try:
        _unpack(archive, partial)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def find_root_file(folder: Path, root_file: str | None, archive_name: str) -> Path:
    """The file to open among unpacked ones: `root_file`, else the top of the assembly, as root_file.choose finds it.

    Raises PixyzFileNotFound when there is no `root_file`, and InvalidFile when there is no 3D file at all.
    """
    if root_file:
        if problem := _problem_of(root_file):
            raise PixyzSecurityViolation(f"root_file is {root_file[:200]!r}, which {problem}.")
        path = folder / _plain(root_file)
        if not path.is_file():
            raise PixyzFileNotFound(f"root_file is {root_file!r}, but {archive_name} has no such file.")
        return path
    from pixyz_worker.kernel.formats import SDK_ONLY, readable_extensions
    from pixyz_worker.root_file import choose

    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    files = [path for path in files if not _is_hidden(path)]
    extensions = readable_extensions() | SDK_ONLY.keys()
    if models := [path for path in files if path.suffix.lower()[1:] in extensions]:
        return folder / choose(folder, models)
    if inner := sorted(path.as_posix() for path in files if path.name.lower().endswith(_INNER_ENDINGS)):
        raise InvalidFile(
            f"There is no 3D file in {archive_name}, but an archive, {inner[0]}: archives within archives are not "
            "unpacked; pack the files themselves."
        )
    raise InvalidFile(f"There is no 3D file in {archive_name}; name the file to open in root_file.")


def _is_hidden(path: Path) -> bool:
    # macOS archives carry __MACOSX/._part.step beside part.step.
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _unpack(archive: Path, folder: Path) -> None:
    from pixyz_worker.kernel.limits import Limits

    limits = Limits.from_environment()
    names: dict[str, str] = {}
    folders, files = {folder}, 0
    left = allowed = limits.unpacked_bytes(archive.stat().st_size)
    with _readable(archive):
        for number, entry in enumerate(_entries(archive, limits, allowed), start=1):
            _check_count(archive, number, limits)
            if problem := _problem_of(entry.name):
                raise UnsafeFile(f"{archive.name} has the name {entry.name[:200]!r} in it, which {problem}.")
            plain = _plain(entry.name).rstrip("/")
            if problem := file_names.problem_of(plain):
                raise InvalidFile(f"{archive.name} has the name {entry.name[:200]!r} in it, which {problem}.")
            target = folder / plain
            other = names.setdefault(file_names.folded(plain), plain)
            if other != plain and target.exists():
                two = f"{other[:200]!r} and {plain[:200]!r}"
                raise InvalidFile(f"{archive.name} has the names {two} in it, which are one file on this system.")
            # An entry may bring a hundred folders that have none of their own.
            _make_folders(target if entry.content is None else target.parent, folders)
            files += entry.content is not None
            _check_count(archive, files + len(folders) - 1, limits)
            if entry.content is None:
                continue
            with entry.content as source, target.open("wb") as copy:
                while chunk := source.read(_CHUNK):
                    left -= len(chunk)
                    _check_bytes(archive, allowed - left, allowed)
                    copy.write(chunk)


def _make_folders(wanted: Path, there: set[Path]) -> None:
    """Make a folder and those above it, and add them to those that are there."""
    missing = []
    while wanted not in there:
        missing.append(wanted)
        wanted = wanted.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        there.add(path)


def _check_count(archive: Path, count: int, limits: Limits) -> None:
    if limits.max_archive_entries and count > limits.max_archive_entries:
        most = f"{limits.max_archive_entries} entries, the most it may have (MAX_ARCHIVE_ENTRIES)"
        raise UnsafeFile(f"{archive.name} has more than {most}.")


def _check_bytes(archive: Path, count: int | float, allowed: float) -> None:
    if count > allowed:
        setting = "MAX_ARCHIVE_BYTES, MAX_ARCHIVE_RATIO"
        raise UnsafeFile(f"{archive.name} unpacks to more than {int(allowed)} bytes, the most it may ({setting}).")


def _entries(archive: Path, limits: Limits, allowed: float) -> Iterator[_Entry]:
    if archive.name.lower().endswith(".zip"):
        return _zip_entries(archive, limits, allowed)
    return _tar_entries(archive, allowed)


def _zip_entries(archive: Path, limits: Limits, allowed: float) -> Iterator[_Entry]:
    from pixyz_worker import zip_reading

    with zip_reading.opened(archive, limits) as file:
        # What a zip announces is believed when it is too much; what it really holds is counted too.
        _check_count(archive, len(file.infolist()), limits)
        _check_bytes(archive, sum(info.file_size for info in file.infolist()), allowed)
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnsafeFile(f"{archive.name} has a link in it: {info.filename[:200]!r}.")
            if info.flag_bits & 1:
                raise InvalidFile(f"{archive.name} is locked with a password, which nobody can give here.")
            content = None if info.is_dir() else zip_reading.open_entry(file, info)
            yield _Entry(name=info.filename, content=content)


def _tar_entries(archive: Path, allowed: float) -> Iterator[_Entry]:
    from pixyz_worker import tar_reading
    from pixyz_worker.kernel.limits import FREE_BYTES

    # Small files have headers and padding of many times their size.
    with tar_reading.opened(archive, allowed + FREE_BYTES) as file:
        for info, content in file.members():
            if not (info.isfile() or info.isdir()):
                raise UnsafeFile(f"{archive.name} has a link or a device in it: {info.name[:200]!r}.")
            yield _Entry(name=info.name, content=content)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Tell all the ways in which an archive can be damaged as InvalidFile."""
    import lzma
    import struct
    import tarfile
    import zipfile
    import zlib
    from gzip import BadGzipFile

    # ValueError and the like: numbers and names in headers that make no sense.
    numbers = (ValueError, OverflowError, struct.error)
    damage = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, BadGzipFile, EOFError, *numbers)
    awkward = (RuntimeError, NotImplementedError, FileExistsError, NotADirectoryError, IsADirectoryError)
    try:
        yield
    except damage as error:
        raise InvalidFile(f"{archive.name} is not a whole archive: {_told(error)}.") from error
    except awkward as error:  # a compression that Python lacks, a file named as a folder
        raise InvalidFile(f"{archive.name} cannot be unpacked: {_told(error)}.") from error
    except OSError as error:
        if error.errno not in _BAD_NAME:
            raise
        raise InvalidFile(f"{archive.name} has a name in it that cannot be a file's here: {error.strerror}.") from error


def _told(error: Exception) -> str:
    """What went wrong, in a few words of one line; of a path, the name that the archive has for it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({Path(str(error.filename)).name})" if error.filename else error.strerror
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:300].rstrip(".")


def _problem_of(name: str) -> str | None:
    """Why nothing may be unpacked under a name; None when it is sure to stay inside."""
    plain = _plain(name)
    outside = plain.startswith("/") or ".." in plain.split("/") or PureWindowsPath(plain).drive
    if outside or "\0" in plain:
        return "reaches outside its folder"
    return f"lies deeper than {MAX_DEPTH} folders" if plain.count("/") > MAX_DEPTH else None


def _plain(name: str) -> str:
    """A name with the separators of this system; Windows writes backslashes."""
    return name.replace("\\", "/")
