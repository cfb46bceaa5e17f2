"""Names that scripts import from here; they are defined in the modules of SOURCES."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixyz_worker.download import download_file, get_filename_from_url
    from pixyz_worker.job_files import (
        get_first_3D_files_in_directory,
        get_job_archive_file_path,
        get_job_input_dir,
        get_job_input_dir_content,
        get_job_input_file_path,
        get_job_output_dir,
        get_job_output_dir_content,
        get_job_output_file_path,
        get_job_share_dir,
        get_job_share_file_path,
        is_a_valid_job_id_directory,
        is_job_in_share,
        is_path_in_share,
    )
    from pixyz_worker.logger import get_logger
    from pixyz_worker.not_available import Unavailable
    from pixyz_worker.schedule import pixyz_schedule
    from pixyz_worker.session import PiXYZSession

    TaskInfos: Unavailable
    cleanup_data_after_timeout: Unavailable
    move_file_as_result_to_shared_storage: Unavailable

__all__ = [
    "PiXYZSession",
    "TaskInfos",
    "cleanup_data_after_timeout",
    "download_file",
    "each",
    "get_filename_from_url",
    "get_first_3D_files_in_directory",
    "get_job_archive_file_path",
    "get_job_input_dir",
    "get_job_input_dir_content",
    "get_job_input_file_path",
    "get_job_output_dir",
    "get_job_output_dir_content",
    "get_job_output_file_path",
    "get_job_share_dir",
    "get_job_share_file_path",
    "get_logger",
    "is_a_valid_job_id_directory",
    "is_job_in_share",
    "is_path_in_share",
    "move_file_as_result_to_shared_storage",
    "pixyz_schedule",
]

SOURCES = {
    "PiXYZSession": "session",
    "download_file": "download",
    "get_filename_from_url": "download",
    "get_logger": "logger",
    "is_valid_jobid": "job_files",
    "pixyz_schedule": "schedule",
}
"""Modules of pixyz_worker that define the names; job_files defines those that are not listed."""

_GONE = {
    "TaskInfos": "ask the running task itself, pc['task'].request, or a handle, pc.AsyncResult(id)",
    "cleanup_data_after_timeout": "the platform removes old jobs by itself; operators set CLEANUP_ENABLED and "
    "CLEANUP_DELAY, and @pixyz_schedule(keep=...) changes that for a job",
    "get_input_dir": "the context of the run has it: pc.get_input_dir()",
    "get_output_dir": "the context of the run has it: pc.get_output_dir()",
    "move_file_as_result_to_shared_storage": "write the file to pc.get_output_dir(name): all that is there can be "
    "downloaded",
}


def each(fn: Callable[[Any], object], items: Iterable[Any]) -> None:
    """Call a function with each item."""
    for item in items:
        fn(item)


def __getattr__(name: str) -> Any:
    """Fetch a name from the module that defines it."""
    if name in _GONE:
        from pixyz_worker.not_available import Unavailable

        found: Any = Unavailable(name, _GONE[name])
    elif name in SOURCES or name in __all__:
        found = getattr(import_module(f"pixyz_worker.{SOURCES.get(name, 'job_files')}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    globals()[name] = found
    return found
