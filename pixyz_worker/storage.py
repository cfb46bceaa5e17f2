"""Folders that last for a `with`: of a job on the share, or temporary ones.

A running script has its folders already, as pc.get_input_dir() and pc.get_output_dir(): these classes are for scripts
that unpack other archives, or write into the folder of another job.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pixyz_worker.exception import InternalError, PixyzSecurityViolation
from pixyz_worker.job_files import get_job_output_dir, get_job_share_dir, is_valid_jobid
from pixyz_worker.progress import Progress

__all__ = [
    "ExecuteIfEnabled",
    "FileInputTemporary",
    "StorageOutputManager",
    "StorageSharedManager",
    "StorageTemporaryManager",
]


class _Folder:
    """A folder for the length of a `with`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def get_full_output_filename(self, basename: str) -> str:
        """Return the path of a file in the folder."""
        return str(Path(self.directory) / basename)

    def create_directory(self) -> None:
        """Make the folder, unless it is there."""
        Path(self.directory).mkdir(parents=True, exist_ok=True)

    def cleanup(self) -> None:
        """Do nothing; temporary folders are removed here."""

    def __enter__(self) -> Self:
        self.create_directory()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cleanup()


class StorageSharedManager(_Folder):
    """The output folder of a job; it stays.

    Raises:
        ValueError: that is not the id of a job.
    """

    def __init__(self, job_id: str) -> None:
        self.sanity_check_or_raise(job_id)
        super().__init__(get_job_output_dir(job_id))

    @staticmethod
    def sanity_check_or_raise(job_id: str) -> None:
        """Raise ValueError unless that is the id of a job."""
        if not is_valid_jobid(job_id):
            raise ValueError(f"{job_id!r} is not the id of a job")


class StorageOutputManager(_Folder):
    """The folder of a job, with its output folder in `output_dir`; both stay.

    Raises:
        ValueError: that is not the id of a job.
    """

    def __init__(self, job_id: str) -> None:
        StorageSharedManager.sanity_check_or_raise(job_id)
        super().__init__(get_job_share_dir(job_id))
        self.output_dir = get_job_output_dir(job_id)


class StorageTemporaryManager(_Folder):
    """A temporary folder, removed at the end."""

    def __init__(self) -> None:
        super().__init__(tempfile.mkdtemp(prefix="pixyz_"))

    def cleanup(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.directory, ignore_errors=True)


class FileInputTemporary(StorageTemporaryManager):
    """An input file, with its path in `file`. An archive is unpacked into the folder; `file` is its root file.

    Args:
        filename_in: the input; None for none.
        progress: gets a step when an archive is unpacked.
        root_file: which file of an archive to open; the top of the assembly when None.

    Raises:
        InternalError: there is no such input.
        PixyzSecurityViolation: root_file, or a name in the archive, leads out of the folder.
        PixyzFileNotFound: the archive has no such root_file.
    """

    def __init__(self, filename_in: str | None, progress: Progress | None = None, root_file: str | None = None) -> None:
        self.sanity_check(root_file)
        self.filename_in = filename_in
        self.root_file = root_file
        self.progress = progress
        self.file: str | None = None
        super().__init__()

    @staticmethod
    def sanity_check(root_file: str | None) -> None:
        """Raise PixyzSecurityViolation when the name leads out of the folder."""
        if root_file is not None and ".." in Path(root_file.replace("\\", "/")).parts:
            raise PixyzSecurityViolation(f"root_file is {root_file!r}, which leads out of its folder")

    @staticmethod
    def is_an_archive(filename: str) -> bool:
        """Return whether the name is that of an archive that is unpacked."""
        from pixyz_worker.archive import is_archive

        return is_archive(Path(filename))

    def create(self) -> None:
        """Find the file, unpacking the archive first; what `with` does."""
        if self.filename_in is None:
            return
        from pixyz_worker import archive

        source = Path(self.filename_in)
        if not source.exists():
            raise InternalError(f"there is no input file {source}")
        if not archive.is_archive(source):
            self.file = str(source)
            return
        if self.progress is not None:
            self.progress.next("Extracting archive")
        # extract() makes its folder, and leaves one that exists alone; the temporary one exists.
        unpacked = Path(self.directory) / "unpacked"
        archive.extract(source, unpacked)
        self.directory = str(unpacked)
        self.file = str(archive.find_root_file(unpacked, self.root_file, source.name))

    def cleanup(self) -> None:
        """Remove the folder."""
        folder = Path(self.directory)
        shutil.rmtree(folder.parent if folder.name == "unpacked" else folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.create()
        except BaseException:
            self.cleanup()
            raise
        return super().__enter__()


class ExecuteIfEnabled:
    """Context manager that enters another one only if enabled; its attributes are those of the other one."""

    def __init__(self, enter_class: Any, enabled: bool = True) -> None:
        self.enter_class = enter_class
        self.enabled = enabled

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["enter_class"], name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped object."""
        return self.enter_class(*args, **kwargs)

    def __enter__(self) -> Any:
        return self.enter_class.__enter__() if self.enabled else self.enter_class

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.enabled:
            self.enter_class.__exit__(kind, error, traceback)
