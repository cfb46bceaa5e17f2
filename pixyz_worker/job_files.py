"""Files of jobs on the share, by a job's id: `SHARE/{id}/{inputs,outputs,archives}`.

A running script has its own as pc.get_input_dir() and pc.get_output_dir(); these functions are for other jobs.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pixyz_worker import config
from pixyz_worker.exception import SharePathInvalidError, SharePathNotFoundError

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LATER_OUTPUTS = re.compile(r"\.outputs-([0-9]{1,6})")
_INPUTS, _OUTPUTS, _ARCHIVES = "inputs", "outputs", "archives"


def is_valid_jobid(job_id: str) -> bool:
    """Return whether a text is the id of a job."""
    return _ID.fullmatch(job_id) is not None


def is_path_in_share(full_path: str | os.PathLike[str]) -> bool:
    """Return whether a path exists and lies in the share, with links followed."""
    path = Path(full_path)
    return path.exists() and path.resolve().is_relative_to(Path(config.share_dir).resolve())


def is_job_in_share(job_id: str) -> bool:
    """Return whether the share has a folder of this job."""
    return Path(get_job_share_dir(job_id)).is_dir()


def is_a_valid_job_id_directory(directory_path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of an existing folder named as a job."""
    path = Path(directory_path).resolve()
    return path.is_dir() and is_valid_jobid(path.name)


def get_job_share_dir(job_id: str) -> str:
    """Return the folder of a job, which need not exist.

    Raises:
        SharePathInvalidError: it is not the id of a job.
    """
    if not is_valid_jobid(job_id):
        raise SharePathInvalidError(f"{job_id!r} is not the id of a job")
    return str(Path(config.share_dir).resolve() / job_id.lower())


def get_job_share_file_path(
    job_id: str,
    file_name: str = "",
    directory: str | None = None,
    create_directory: bool = True,
    check_if_exists: bool = False,
) -> str:
    """Return the path of a file or folder of a job.

    Args:
        job_id: the job.
        file_name: name of the file in the folder; the folder itself when empty.
        directory: folder in that of the job, such as "inputs"; the job's own when None.
        create_directory: make that folder where it is missing. A job that is not on the share has no folders made.
        check_if_exists: the file has to be there.

    Raises:
        SharePathInvalidError: it is not the id of a job, or the path leads out of the job's folder.
        SharePathNotFoundError: there is no such job, or no such file.
    """
    job = Path(get_job_share_dir(job_id))
    folder = _inside(job, job, directory) if directory else job
    if directory and create_directory and not folder.is_dir():
        if not job.is_dir():
            raise SharePathNotFoundError(f"there is no job {job_id} in {job.parent}")
        folder.mkdir(parents=True, exist_ok=True)
    path = _inside(job, folder, file_name) if file_name else folder
    if check_if_exists and not path.exists():
        raise SharePathNotFoundError(f"there is no {path.relative_to(job)} of job {job_id}")
    return str(path)


def get_job_input_dir(job_id: str) -> str:
    """Return the folder of a job's input."""
    return get_job_share_file_path(job_id, directory=_INPUTS)


def get_job_output_dir(job_id: str) -> str:
    """Return the folder of a job's outputs: those of the last attempt that has begun."""
    return get_job_share_file_path(job_id, directory=_last_outputs(job_id))


def get_job_input_dir_content(job_id: str) -> list[str]:
    """Return the names in the folder of a job's input."""
    return sorted(path.name for path in Path(get_job_input_dir(job_id)).iterdir())


def get_job_output_dir_content(job_id: str) -> list[str]:
    """Return the names in the folder of a job's outputs."""
    return sorted(path.name for path in Path(get_job_output_dir(job_id)).iterdir())


def get_job_input_file_path(job_id: str, file_name: str, check_if_exists: bool = False) -> str:
    """Return the path of a file in the folder of a job's input."""
    return get_job_share_file_path(job_id, file_name, _INPUTS, check_if_exists=check_if_exists)


def get_job_output_file_path(job_id: str, file_name: str, check_if_exists: bool = False) -> str:
    """Return the path of a file in the folder of a job's outputs."""
    return get_job_share_file_path(job_id, file_name, _last_outputs(job_id), check_if_exists=check_if_exists)


def get_job_archive_file_path(job_id: str, file_name: str, check_if_exists: bool = False) -> str:
    """Return the path of a file in the folder of a job's archives."""
    return get_job_share_file_path(job_id, file_name, _ARCHIVES, check_if_exists=check_if_exists)


def get_first_3D_files_in_directory(directory_path: str | os.PathLike[str]) -> str | None:
    """Return the path of the 3D file to open in a folder: the top of the assembly. None where there is none."""
    from pixyz_worker.archive import find_root_file
    from pixyz_worker.exception import InvalidFile

    folder = Path(directory_path)
    try:
        return str(find_root_file(folder, None, folder.name))
    except InvalidFile:
        return None


def _last_outputs(job_id: str) -> str:
    """Name of the folder of the last attempt's outputs: each attempt has its own."""
    job = Path(get_job_share_dir(job_id))
    names = [path.name for path in job.iterdir()] if job.is_dir() else []
    last = max((int(found[1]) for name in names if (found := _LATER_OUTPUTS.fullmatch(name))), default=1)
    return _OUTPUTS if last == 1 else f".outputs-{last}"


def _inside(job: Path, folder: Path, name: str) -> Path:
    try:
        path = (folder / name).resolve()
        safe = path.is_relative_to(job)
    except (ValueError, OSError, RuntimeError):  # a null character, a name too long, a cycle of links
        safe = False
    if not safe:
        raise SharePathInvalidError(f"the path {name!r} leads out of the folder of its job")
    return path
