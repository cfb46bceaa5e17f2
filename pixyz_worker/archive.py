"""Input archives: unpack a .zip or .tar.gz that nobody vouches for, and find the 3D file in it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO

from pixyz_worker.exception import InvalidFile, PixyzFileNotFound, PixyzSecurityViolation

MAX_ENTRIES = 100_000
"""Files and folders that an archive may hold."""

MAX_BYTES = 64 * 1024**3
"""Bytes that an archive may unpack to."""

MAX_RATIO = 1000
"""How many times its own size an archive may unpack to, beyond RATIO_FREE_BYTES."""

RATIO_FREE_BYTES = 64 * 1024**2
"""Bytes that any archive may unpack to: small text compresses very well."""

_ENDINGS = (".zip", ".tar.gz", ".tgz")
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
    """The file to open among unpacked ones: `root_file`, else the first 3D file, the shallowest first."""
    if root_file:
        path = folder / _safe_name(root_file)
        if not path.is_file():
            raise PixyzFileNotFound(f"root_file is {root_file!r}, but {archive_name} has no such file")
        return path
    from pixyz_worker.kernel.formats import readable_extensions

    extensions = readable_extensions()
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    models = [path for path in files if path.suffix.lower()[1:] in extensions and not _is_hidden(path)]
    if not models:
        raise InvalidFile(f"there is no 3D file in {archive_name}; name the file to open in root_file")
    return folder / min(models, key=lambda path: (len(path.parts), path.as_posix()))


def _is_hidden(path: Path) -> bool:
    # macOS archives carry __MACOSX/._part.step beside part.step.
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _unpack(archive: Path, folder: Path) -> None:
    allowed = min(MAX_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * archive.stat().st_size))
    left = allowed
    with _readable(archive):
        for number, entry in enumerate(_entries(archive), start=1):
            if number > MAX_ENTRIES:
                raise PixyzSecurityViolation(f"{archive.name} has more than {MAX_ENTRIES} entries")
            target = folder / _safe_name(entry.name)
            if entry.content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with entry.content as source, target.open("wb") as copy:
                while chunk := source.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        message = f"{archive.name} unpacks to more than {allowed} bytes, the most it may"
                        raise PixyzSecurityViolation(message)
                    copy.write(chunk)


def _entries(archive: Path) -> Iterator[_Entry]:
    return _zip_entries(archive) if archive.name.lower().endswith(".zip") else _tar_entries(archive)


def _zip_entries(archive: Path) -> Iterator[_Entry]:
    from zipfile import ZipFile

    with ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise PixyzSecurityViolation(f"{archive.name} has a link in it: {info.filename!r}")
            content = None if info.is_dir() else file.open(info)
            yield _Entry(name=info.filename, content=content)


def _tar_entries(archive: Path) -> Iterator[_Entry]:
    import tarfile

    with tarfile.open(archive, "r:gz") as file:
        for info in file:
            if not (info.isfile() or info.isdir()):
                raise PixyzSecurityViolation(f"{archive.name} has a link in it: {info.name!r}")
            content = None if info.isdir() else file.extractfile(info)
            yield _Entry(name=info.name, content=content)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Tell all the ways in which an archive can be damaged as InvalidFile."""
    import tarfile
    import zipfile
    import zlib
    from gzip import BadGzipFile

    damage = (zipfile.BadZipFile, tarfile.TarError, zlib.error, BadGzipFile, EOFError)
    awkward = (RuntimeError, NotImplementedError, FileExistsError, NotADirectoryError, IsADirectoryError)
    try:
        yield
    except damage as error:
        raise InvalidFile(f"{archive.name} is not a whole archive: {error}") from error
    except awkward as error:  # a password, a compression that Python lacks, a file named as a folder
        raise InvalidFile(f"{archive.name} cannot be unpacked: {error}") from error


def _safe_name(name: str) -> str:
    """The name of an entry, once it is sure to stay inside; backslashes separate, as Windows writes them."""
    plain = name.replace("\\", "/")
    outside = plain.startswith("/") or ".." in plain.split("/") or PureWindowsPath(plain).drive
    if outside or "\0" in plain:
        raise PixyzSecurityViolation(f"the name {name!r} reaches outside its folder")
    return plain
