"""A job's files on the share: `SHARE_PATH/{uuid}/{script,inputs,outputs,archives}`, its log and its outcome markers.

A name that comes from a caller passes `plain_name` or `open_output`. A running script may replace any of these files
and folders by links, FIFOs or devices: whoever reads them opens them through confined_files.py.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from pixyz_ray.confined_files import (
    FileTooLarge,
    list_inside,
    made_folder,
    open_file,
    open_folder,
    open_inside,
    read_file,
    write_file,
)
from pixyz_worker.exception import InvalidFile, PixyzFileNotFound, PixyzSecurityViolation
from pixyz_worker.values import NotJson

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of the errors that say that there is no room left."""
_LATER_OUTPUTS = re.compile(r"\.outputs-([0-9]{1,6})")
_LATER_VALUE = re.compile(r"\.value-([0-9]{1,6})\.pickle")
_MAX_NAME_BYTES = 200
_TAIL_BYTES = 8192
_TAIL_LINES = 20
_MAX_OUTPUTS = 1_000_000
MAX_OUTCOME_BYTES = 128 * 2**20
"""Default limit in bytes for reading an outcome."""
_NO_FILE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO, errno.ENAMETOOLONG}
)
"""Errors that say that a path is not a regular file below real folders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedFile:
    """A regular file that is open for reading; its owner closes it."""

    descriptor: int
    """File descriptor."""
    name: str
    """Its own name, without a folder."""
    status: os.stat_result
    """Result of fstat when it was opened."""

    @property
    def path(self) -> str:
        """A path that opens this same file while the descriptor is open, even if it was renamed or replaced."""
        return f"/dev/fd/{self.descriptor}"

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


@dataclass(frozen=True)
class JobFolder:
    """The files of one job. Making the value touches nothing on disk."""

    share: Path
    """SHARE_PATH."""
    uuid: str
    """The job's identity; only its canonical form is accepted."""

    def __post_init__(self) -> None:
        if not is_uuid(self.uuid):
            raise PixyzSecurityViolation(f"{self.uuid!r} is not the id of a job")

    @cached_property
    def name(self) -> str:
        """The job's folder as text: to put a Path together takes longer than many a system call."""
        return f"{self.share}/{self.uuid}"

    @cached_property
    def path(self) -> Path:
        """The job's folder."""
        return self.share / self.uuid

    @cached_property
    def script(self) -> Path:
        """Folder of the script."""
        return self.path / "script"

    @cached_property
    def inputs(self) -> Path:
        """Folder of the uploaded input."""
        return self.path / "inputs"

    @property
    def outputs(self) -> Path:
        """Folder of the outputs: those of the last attempt that has begun."""
        return self.path / self.outputs_of(max([1, *self._attempts()]))

    def outputs_of(self, attempt: int) -> str:
        """Return the name of the folder that an attempt writes into.

        Each has its own, so that one that was given up for lost, and still runs, cannot touch what comes after it.
        """
        return "outputs" if attempt == 1 else f".outputs-{attempt}"

    def _attempts(self) -> Iterator[int]:
        with suppress(OSError), os.scandir(self.name) as entries:
            yield from (int(found[1]) for entry in entries if (found := _LATER_OUTPUTS.fullmatch(entry.name)))

    @cached_property
    def archives(self) -> Path:
        """Folder of the packed outputs."""
        return self.path / "archives"

    @cached_property
    def archive(self) -> Path:
        """Zip file of all outputs, there once it is whole."""
        return self.archives / "outputs.zip"

    @cached_property
    def log(self) -> Path:
        """What the script printed, over all attempts."""
        return self.path / "job.log"

    @cached_property
    def lock(self) -> Path:
        """Held by the worker that runs the job, in part by those of its graphs' nodes: no two attempts overlap."""
        return self.path / ".lock"

    def marker(self, attempt: int) -> Path:
        """Return the file that a worker leaves when an attempt has ended."""
        return self.path / f"outcome-{attempt}.json"

    def write_outcome(self, attempt: int, outcome: str) -> None:
        """Persist an attempt's outcome, given as JSON, atomically (temporary file, then rename)."""
        write_file(self.name, self.marker(attempt).name, outcome.encode("ascii"))

    def read_outcome(self, attempt: int, max_bytes: int = MAX_OUTCOME_BYTES) -> dict[str, Any] | None:
        """Return the outcome that a worker wrote for an attempt; None if there is none that is usable."""
        try:
            outcome = json.loads(read_file(self.name, self.marker(attempt).name, max_bytes=max_bytes))
        except (ValueError, RecursionError):
            return None
        except OSError as error:
            if error.errno in _NO_FILE or isinstance(error, FileTooLarge):
                return None
            raise
        return outcome if isinstance(outcome, dict) else None

    def stage(self, script: str, source: bytes) -> None:
        """Make all that a job's worker will find, and write its script; who reads it checks its digest."""
        for folder in (self.path, self.script, self.inputs, self.path / self.outputs_of(1)):
            with suppress(FileExistsError):
                folder.mkdir()
        (self.script / script).write_bytes(source)
        for file in (self.lock, self.log):
            file.touch()

    def make(self, *, compute_only: bool) -> None:
        """Make what a node of a graph needs when it runs; its script is in the folder of the job above it."""
        folder = self.name
        for path in (folder,) if compute_only else (folder, f"{folder}/inputs", f"{folder}/outputs"):
            with suppress(FileExistsError):
                os.mkdir(path)  # noqa: PTH102 - in the way of every node

    def value_of(self, attempt: int) -> Path:
        """Return where the value of an attempt is kept, pickled, that is no JSON.

        Each has its own, as with outputs.
        """
        return self.path / ("value.pickle" if attempt == 1 else f".value-{attempt}.pickle")

    @property
    def value(self) -> Path:
        """The kept value of the last attempt that has one."""
        with suppress(OSError), os.scandir(self.name) as entries:
            found = [int(later[1]) for entry in entries if (later := _LATER_VALUE.fullmatch(entry.name))]
            return self.value_of(max([1, *found]))
        return self.value_of(1)

    def keep_value(self, value: Any, attempt: int = 1) -> None:
        """Leave a value for whoever wants it later; half of it, after a crash, counts as nothing.

        Raises:
            NotJson: it cannot be pickled either.
        """
        import cloudpickle

        draft = self.path / f".value-{os.urandom(4).hex()}"
        try:
            with draft.open("wb") as file:
                cloudpickle.dump(value, file, protocol=5)
            draft.replace(self.value_of(attempt))
        except Exception as error:
            raise NotJson(_unpicklable(value, error)) from error
        finally:
            draft.unlink(missing_ok=True)

    def has_kept_value(self) -> bool:
        """Return whether a value was left."""
        return self.value.is_file()

    def kept_value(self) -> Any:
        """Return the value that was left. Only workers call this: what they read is a script's.

        Raises:
            PixyzFileNotFound: there is none.
        """
        try:
            with os.fdopen(open_file(self.name, self.value.name), "rb") as file:
                return pickle.load(file)  # noqa: S301 - a worker wrote it, and it runs the same scripts
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            raise PixyzFileNotFound(
                f"What task {self.uuid} returned is no JSON and was handed on without being kept. "
                "Run the graph again, or let the task write it to a file."
            ) from None

    def new_outputs(self, attempt: int) -> None:
        """Make the empty folder of an attempt after the first, whose own was made with the job."""
        if attempt > 1:
            (self.path / self.outputs_of(attempt)).mkdir(exist_ok=True)

    def log_tail(self) -> str | None:
        """Return the last lines of the log, or None when nothing was printed."""
        with suppress(OSError), os.fdopen(self.open_log(), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
            return "\n".join(lines[-_TAIL_LINES:]).strip() or None
        return None

    def open_log(self) -> int:
        """Open the log for reading and return its descriptor.

        Raises:
            OSError: it does not exist, or is not a regular file of the job.
        """
        return open_file(self.name, self.log.name)

    def log_size(self) -> int:
        """Return the size of the log in bytes; 0 if there is none that can be read."""
        try:
            about = self.log.lstat()
        except OSError as error:
            if error.errno in _NO_FILE:
                return 0
            raise
        return about.st_size if stat.S_ISREG(about.st_mode) else 0

    def read_log(self, offset: int, max_bytes: int) -> bytes:
        """Return a piece of the log; empty if there is nothing at that offset, or no log that can be read."""
        try:
            file = self.open_log()
        except OSError as error:
            if error.errno in _NO_FILE:
                return b""
            raise
        try:
            # The caller may pass any offset, and file systems limit offsets.
            return b"" if offset >= os.fstat(file).st_size else os.pread(file, max_bytes, offset)
        finally:
            os.close(file)

    def list_outputs(self) -> list[str]:
        """Return the outputs as sorted relative paths with forward slashes.

        Raises:
            InvalidFile: there are too many, they lie too deep, or permissions are missing.
        """
        try:
            with self._listing(), self._opened_outputs() as (folder, paths):
                return list_inside(folder, paths, max_files=_MAX_OUTPUTS)
        except OSError as error:
            if error.errno in _NO_FILE:
                return []
            raise

    @contextmanager
    def _listing(self) -> Iterator[None]:
        try:
            yield
        except (FileTooLarge, PermissionError) as error:
            raise InvalidFile(f"The outputs of job {self.uuid} cannot be listed or packed: {_words(error)}.") from None

    @contextmanager
    def _opened_outputs(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Open the folder of the outputs; yield its descriptor and its absolute paths, for links."""
        name = self.outputs.name
        with open_folder(self.name, name) as folder:
            yield folder, (f"{self.name}/{name}", f"{os.path.realpath(self.share)}/{self.uuid}/{name}")

    def open_output(self, name: str) -> OpenedFile:
        """Open one output for reading.

        Raises:
            PixyzSecurityViolation: the name leads out of the outputs.
            PixyzFileNotFound: there is no such file.
            InvalidFile: its permissions do not let it be read.
        """
        # A backslash is part of a name here; whoever means a Windows path that leads out is told so.
        leads_out = "\\" in name and ".." in name.replace("\\", "/").split("/")
        if not name or "\0" in name or leads_out:
            raise PixyzSecurityViolation(f"bad file path {name!r}")
        try:
            with self._opened_outputs() as (folder, paths):
                file, own_name = open_inside(folder, paths, name)
        except UnicodeEncodeError:
            raise PixyzSecurityViolation(f"bad file path {name!r}") from None
        except PermissionError as error:
            raise InvalidFile(f"Output {name[:_MAX_NAME_BYTES]!r} cannot be read: {_words(error)}.") from None
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            raise PixyzFileNotFound(f"job {self.uuid} has no output {name[:_MAX_NAME_BYTES]!r}") from None
        return OpenedFile(descriptor=file, name=own_name, status=os.fstat(file))

    def open_archive(self) -> OpenedFile | None:
        """Open the zip of all outputs for reading; None while there is none."""
        try:
            file = open_file(self.name, self.archives.name, self.archive.name)
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise
        return OpenedFile(descriptor=file, name=self.archive.name, status=os.fstat(file))

    def pack(self) -> Path:
        """Write the zip of all outputs, under its final name only when it is whole, and return its path."""
        draft = f".outputs-{os.urandom(4).hex()}.zip"
        with self._packing(), open_folder(self.name) as job, made_folder(job, self.archives.name) as archives:
            file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=archives)
            try:
                with os.fdopen(file, "wb") as whole:
                    self._pack_into(whole)
                os.rename(draft, self.archive.name, src_dir_fd=archives, dst_dir_fd=archives)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft, dir_fd=archives)
        return self.archive

    @contextmanager
    def _packing(self) -> Iterator[None]:
        """Raise InvalidFile where a folder is not what the platform has made it: only a script can have done that."""
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_FILE:
                raise
            words = "the job's script has removed its folders, or put something else in their place"
            raise InvalidFile(f"The outputs of job {self.uuid} cannot be packed: {words}.") from error

    def _pack_into(self, whole: BinaryIO) -> None:
        compression = zipfile.ZIP_DEFLATED
        with (
            zipfile.ZipFile(whole, "w", compression, compresslevel=1, strict_timestamps=False) as archive,
            self._opened_outputs() as (folder, paths),
        ):
            with self._listing():
                names = list_inside(folder, paths, max_files=_MAX_OUTPUTS)
            for name in names:
                with self._listing():
                    file, _ = open_inside(folder, paths, name)
                try:
                    # A file's name may be no UTF-8; in the archive it must be.
                    archive.write(f"/dev/fd/{file}", name.encode("utf-8", "backslashreplace").decode())
                finally:
                    os.close(file)

    def remove(self) -> None:
        """Remove all files of the job; what is not there is no fault."""
        shutil.rmtree(self.path, ignore_errors=True)


def _words(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "permission denied; the script that made it has taken its permissions away"
    return str(error.strerror)


def pickling_problem(value: Any) -> str | None:
    """Return why a value cannot be handed to another process, or None; what is large in it is not copied."""
    import cloudpickle

    try:
        cloudpickle.dumps(value, protocol=5, buffer_callback=lambda _: None)
    except Exception as error:
        return _unpicklable(value, error)
    return None


def _unpicklable(value: Any, error: Exception) -> str:
    kind = type(value).__qualname__
    return f"The result cannot be handed on: it is of type {kind}, which is neither JSON nor can be pickled: {error}"


def is_uuid(text: str) -> bool:
    """Return whether a text is a job's id in canonical form."""
    return _UUID.fullmatch(text) is not None


def plain_name(name: str, fallback: str) -> str:
    """Return the last part of an uploaded file's name, which is all that is used of it.

    Raises:
        PixyzSecurityViolation: nothing usable is left.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1].strip() or fallback
    if last in {".", ".."} or not last.isprintable():
        raise PixyzSecurityViolation(f"{name!r} cannot be used as a file name")
    try:
        size = len(last.encode("utf-8"))
    except UnicodeEncodeError:
        raise PixyzSecurityViolation(f"{name!r} cannot be used as a file name: it is not UTF-8") from None
    if size > _MAX_NAME_BYTES:
        raise PixyzSecurityViolation(f"The file name is {size} bytes long; at most {_MAX_NAME_BYTES} are kept.")
    return last
