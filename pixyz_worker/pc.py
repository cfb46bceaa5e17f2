"""The context of a program: what a script is told about its run, and how it reaches its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pixyz_worker import file_names
from pixyz_worker.exception import InvalidFile, PixyzFileNotFound, PixyzSecurityViolation, PixyzSharedDirectoryNotFound
from pixyz_worker.progress import Progress
from pixyz_worker.result import ResultHandle, allow_join_result

_LIVE = ("task", "progress")
_OPTIONS = (
    "queue",
    "time_limit",
    "timeout",
    "task_id",
    "priority",
    "pools",
    "retries",
    "retry_on",
    "isolation",
    "memory_limit",
)


class ProgramContext(dict[str, Any]):
    """A mapping with the settings of one run, and the ways to its input, outputs and progress.

    >>> pc = ProgramContext(entrypoint="main", data={"a": 1})
    >>> pc.update(data={"b": 2}, raw=True)["data"]
    {'a': 1, 'b': 2}
    """

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(
            compute_only=False,
            data=None,
            tmp=True,
            root_file=None,
            is_local=False,
            entrypoint="main",
            time_request=datetime.now(UTC),
            raw=False,
        )
        super().update(*args, **kw)
        self._folder: _LocalFolder | None = None

    @staticmethod
    def from_local(
        script: str | os.PathLike[str],
        input_path: str | os.PathLike[str] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
    ) -> ProgramContext:
        """A context to run a script on this machine; `script` is usually `__file__`.

        Without `output_dir`, a fresh temporary folder is made once the script asks for it; stderr names it.
        """
        pc = ProgramContext(
            script=str(Path(script).absolute()),
            input_dir=None,
            input_file=None,
            progress=Progress(),
            params={},
            task=None,
            queue="cpu",
            retry=0,
            is_local=True,
        )
        if input_path is not None:
            input_file = _existing(input_path)
            pc.update(input_file=str(input_file), input_dir=str(input_file.parent))
        if output_dir is not None:
            folder = Path(output_dir).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            pc["output_dir"] = str(folder)
        pc._folder = _LocalFolder(pc["script"])
        return pc

    def update(self, *args: Any, **kw: Any) -> Self:  # type: ignore[override]  # scripts chain it
        """Change values in place and return the context; a value that has `.update` is merged."""
        for key, value in dict(*args, **kw).items():
            old = self.get(key)
            if isinstance(old, dict) and isinstance(value, Mapping):
                self[key] = {**old, **value}
            elif old is not None and hasattr(old, "update") and isinstance(value, Mapping | type(old)):
                old.update(value)
            else:
                self[key] = value
        return self

    def clone(self, **kw: Any) -> Self:
        """A copy for another task: requested now, with `kw` applied, without the live task and progress."""
        copy = type(self)({key: copied(value) for key, value in self.items() if key not in _LIVE})
        copy["time_request"] = datetime.now(UTC)
        copy._folder = self._folder
        return copy.update(**kw)

    def copy(self) -> Self:
        """The same as clone: a context is not shared by halves."""
        return self.clone()

    def get_input_dir(self, name: str | None = None) -> str:
        """The folder of the input, or the path of `name` in it."""
        return self._path_in("input_dir", name)

    def get_output_dir(self, name: str | None = None) -> str:
        """The folder of the outputs, or the path of `name` in it."""
        return self._path_in("output_dir", name)

    def get_input_file(self) -> str:
        """Absolute path of the input; for a .zip or .tar.gz, of `root_file` or the first 3D file in it."""
        given = self.get("input_file")
        if not given:
            raise ValueError("this task has no input file; send one along (-i FILE), or give from_local a path")
        path = _existing(given)
        from pixyz_worker import archive

        if not archive.is_archive(path):
            return str(path)
        folder = self._extraction_dir(path)
        archive.extract(path, folder)
        return str(archive.find_root_file(folder, self.get("root_file"), path.name))

    def progress_set_total(self, n: int) -> None:
        """Announce how many steps there will be."""
        self._progress().set_total(n)

    def progress_next(self, info: str, output: Any = None) -> None:
        """Begin the next step; prints `info` where there is no scheduler."""
        self._progress().next(info, output)

    def progress_stop(self) -> None:
        """End the last step."""
        self._progress().stop()

    def cancelled(self) -> bool:
        """Whether this run is being stopped: cancelled, or out of time. What is left of it is a moment to tidy up."""
        task = self.get("task")
        return bool(task is not None and getattr(task, "cancelled", bool)())

    def is_compute_only(self) -> bool:
        """Whether the task has no folders: it only computes."""
        return bool(self.get("compute_only"))

    def is_local(self) -> bool:
        """Whether this is a run on a workstation, without a cluster."""
        return bool(self.get("is_local"))

    def execute(self, params: Any = None, **kw: Any) -> ResultHandle:
        """Run this context's entrypoint as a new task, here or on the cluster, and return its handle.

        `queue`, `time_limit`, `timeout`, `task_id`, `priority`, `pools`, `retries`, `retry_on`, `isolation` and
        `memory_limit` are options of the task; all else goes into its context.
        """
        from pixyz_worker.tasks import pixyz_execute

        options = {key: kw.pop(key) for key in _OPTIONS if key in kw}
        return pixyz_execute.apply_async(args=(params, self.clone(**kw)), **options)

    def AsyncResult(self, id: str) -> ResultHandle:
        """Handle on the task with this id."""
        from pixyz_worker.backend import current_backend

        return current_backend().result(id)

    def allow_join_result(self) -> AbstractContextManager[None]:
        """Permission to wait for a task inside a task: always given, so it does nothing."""
        return allow_join_result()

    def __missing__(self, key: str) -> Any:
        if key == "output_dir" and self._folder is not None:
            return self._folder.path()
        raise KeyError(key)

    def __reduce__(self) -> tuple[Any, ...]:
        plain = {key: value for key, value in self.items() if key not in _LIVE}
        if self._folder is not None and "output_dir" not in plain:
            plain["output_dir"] = self._folder.path()
        return type(self), (plain,)

    def _progress(self) -> Progress:
        progress: Progress | None = self.get("progress")
        if progress is None:
            progress = self["progress"] = Progress()
        return progress

    def _path_in(self, key: str, name: str | None) -> str:
        try:
            folder = None if self.is_compute_only() else self[key]
        except KeyError:
            folder = None
        if not folder or not Path(folder).is_dir():
            why = "it is compute_only" if self.is_compute_only() else "there is none"
            raise PixyzSharedDirectoryNotFound(f"this task has no {key}: {why}")
        return str(folder) if name is None else _inside(Path(folder), name)

    def _extraction_dir(self, path: Path) -> Path:
        # A user's own folder is not ours to unpack into.
        beside = Path(self.get("input_dir") or path.parent)
        return (beside if self._folder is None else Path(self._folder.scratch())) / "extracted"


class _LocalFolder:
    """Temporary folders of a local run, made when first asked for; clones of a context share them."""

    def __init__(self, script: str) -> None:
        self._name = Path(script).stem
        self._path: str | None = None
        self._scratch: str | None = None

    def path(self) -> str:
        """Where outputs go; stays after the run."""
        if self._path is None:
            import sys
            import tempfile

            self._path = tempfile.mkdtemp(prefix=f"{self._name}_outputs_")
            print(f"Outputs go to {self._path}", file=sys.stderr)
        return self._path

    def scratch(self) -> str:
        """Where the input is unpacked; goes away with the process."""
        if self._scratch is None:
            import atexit
            import shutil
            import tempfile

            self._scratch = tempfile.mkdtemp(prefix=f"{self._name}_input_")
            atexit.register(shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch


def _existing(path: str | os.PathLike[str]) -> Path:
    absolute = Path(path).absolute()
    if not absolute.exists():
        raise PixyzFileNotFound(f"there is no input file {absolute}")
    return absolute


def _inside(folder: Path, name: str | os.PathLike[str]) -> str:
    """Path of `name` in `folder`; with links followed, it cannot reach outside."""
    try:
        safe = (folder / name).resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError):  # a null character, a name too long, links in a circle
        safe = False
    if not safe:
        raise PixyzSecurityViolation(f"the path {os.fspath(name)!r} reaches outside the folder of this task")
    if problem := file_names.problem_of(os.fspath(name)):
        raise InvalidFile(f"the path {os.fspath(name)!r} {problem}")
    return os.path.normpath(folder / name)


def copied(value: Any) -> Any:
    """Containers copied all the way down, so that a clone can be changed; anything else is shared."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if type(value) is list else value
