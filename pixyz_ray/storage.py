"""A job's files on the share: `SHARE_PATH/{uuid}/{script,inputs,outputs,archives}`, its log and its outcome markers.

Every path that comes from a caller passes `plain_name` or `inside` before it touches the disk.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pixyz_worker.exception import PixyzFileNotFound, PixyzSecurityViolation
from pixyz_worker.values import NotJson

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of the errors that say that there is no room left."""
_LATER_OUTPUTS = re.compile(r"\.outputs-([0-9]{1,6})")
_MAX_NAME_BYTES = 200
_TAIL_BYTES = 8192
_TAIL_LINES = 20


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
        """Leave an attempt's outcome, given as JSON, beside its outputs; half of it, after a crash, is nothing."""
        self.marker(attempt).write_text(outcome, encoding="ascii")

    def read_outcome(self, attempt: int) -> dict[str, Any] | None:
        """Return what a worker left of an attempt, or None when it left nothing."""
        try:
            outcome = json.loads(self.marker(attempt).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
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

    @cached_property
    def value(self) -> Path:
        """What a node returned that is no JSON, pickled."""
        return self.path / "value.pickle"

    def keep_value(self, value: Any) -> None:
        """Leave a value for whoever wants it later; half of it, after a crash, counts as nothing.

        Raises:
            NotJson: it cannot be pickled either.
        """
        import cloudpickle

        draft = self.path / f".value-{os.urandom(4).hex()}"
        try:
            with draft.open("wb") as file:
                cloudpickle.dump(value, file, protocol=5)
            draft.replace(self.value)
        except Exception as error:
            raise NotJson(_unpicklable(value, error)) from error
        finally:
            draft.unlink(missing_ok=True)

    def kept_value(self) -> Any:
        """Return the value that was left. Only workers call this: what they read is a script's.

        Raises:
            PixyzFileNotFound: there is none.
        """
        try:
            with self.value.open("rb") as file:
                return pickle.load(file)  # noqa: S301 - a worker wrote it, and it runs the same scripts
        except FileNotFoundError:
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
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
            return "\n".join(lines[-_TAIL_LINES:]).strip() or None
        return None

    def list_outputs(self) -> list[str]:
        """Return the outputs as sorted relative paths with forward slashes."""
        outputs = self.outputs
        return sorted(path.relative_to(outputs).as_posix() for path in _files_of(outputs))

    def output(self, name: str) -> Path:
        """Return one output's path.

        Raises:
            PixyzSecurityViolation: the name leads out of the outputs.
            PixyzFileNotFound: there is no such file.
        """
        path = inside(self.outputs, name)
        # A name that the file system finds too long is not there either.
        with suppress(OSError):
            if path.is_file():
                return path
        raise PixyzFileNotFound(f"job {self.uuid} has no output {name[:_MAX_NAME_BYTES]!r}")

    def pack(self) -> Path:
        """Write the zip of all outputs, under its final name only when it is whole, and return its path."""
        self.archives.mkdir(exist_ok=True)
        draft = self.archives / f".outputs-{os.urandom(4).hex()}.zip"
        try:
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as archive:
                outputs = self.outputs
                for path in sorted(_files_of(outputs)):
                    # A file's name may be no UTF-8; in the archive it must be.
                    name = path.relative_to(outputs).as_posix().encode("utf-8", "backslashreplace").decode()
                    archive.write(path, name)
            draft.replace(self.archive)
        finally:
            draft.unlink(missing_ok=True)
        return self.archive

    def remove(self) -> None:
        """Remove all files of the job; what is not there is no fault."""
        shutil.rmtree(self.path, ignore_errors=True)


def _files_of(outputs: Path) -> Iterator[Path]:
    root = outputs.resolve()
    for folder, _, names in os.walk(outputs):
        for name in names:
            path = Path(folder) / name
            # A link that a script made to a file elsewhere is not an output.
            if path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(root)):
                yield path


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
    """Tell whether a text is a job's id in canonical form."""
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


def inside(folder: Path, name: str) -> Path:
    """Return the path of a name below a folder, links followed.

    Raises:
        PixyzSecurityViolation: it lies outside.
    """
    if not name or "\0" in name or "\\" in name:
        raise PixyzSecurityViolation(f"bad file path {name!r}")
    root = folder.resolve()
    try:
        path = (root / name).resolve()
    except (OSError, ValueError):
        raise PixyzSecurityViolation(f"bad file path {name!r}") from None
    if path == root or not path.is_relative_to(root):
        raise PixyzSecurityViolation(f"bad file path {name!r}: it leads out of the job's outputs")
    return path
