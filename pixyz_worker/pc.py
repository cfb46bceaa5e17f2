"""The context of a program: what a script is told about its run, and how it reaches its files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pixyz_worker import file_names
from pixyz_worker.exception import (
    InvalidBackendParameter,
    InvalidFile,
    PixyzSecurityViolation,
    PixyzSharedDirectoryNotFound,
)
from pixyz_worker.progress import Progress
from pixyz_worker.result import ResultHandle, allow_join_result
from pixyz_worker.task_input import beside, existing, input_path, is_member, is_path, opened
from pixyz_worker.task_options import CONTEXT_OPTIONS, EXECUTE_OPTIONS

if TYPE_CHECKING:
    import logging

    from pixyz_worker.local_folders import LocalFolders

_LIVE = ("task", "progress", "task_id")


class ProgramContext(dict[str, Any]):
    """A mapping with the settings of one run, and the ways to its input, outputs and progress.

    >>> pc = ProgramContext(entrypoint="main", data={"a": 1})
    >>> pc.update(data={"b": 2}, raw=True)["data"]
    {'a': 1, 'b': 2}

    `data` names the input file, and `input_file` is its path: setting one sets the other. A `data` that is not a path
    is a value of the script, and the task has no input.
    """

    def __init__(self, /, *args: Any, **kw: Any) -> None:
        super().__init__(
            compute_only=False,
            data=None,
            tmp=True,
            root_file=None,
            is_local=False,
            entrypoint="main",
            time_request=utc_now(),
            raw=False,
        )
        given = dict(*args, **kw)
        super().update(given)
        self._folder: LocalFolders | None = None
        self.extraction_dir: Callable[[Path], Path] = beside
        """Returns the folder that an archive is unpacked to."""
        self._asked = CONTEXT_OPTIONS & given.keys()
        if "input_file" not in given and given.get("data") is not None:
            self._follow_data(given["data"])
        elif given.get("input_file") and given.get("data") is None:
            super().__setitem__("data", os.fspath(given["input_file"]))

    @classmethod
    def running(cls, /, **values: Any) -> Self:
        """Return the context of a run; for the code that runs tasks.

        Its queue, time limit and other options describe this run; tasks that the script makes from clones of the
        context do not inherit them.
        """
        context = cls(**values)
        context._asked = frozenset()
        return context

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return a context with these values, for example those that `to_dict` gave."""
        return cls(dict(values))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the context that `to_json` wrote."""
        values = json.loads(text)
        if isinstance(requested := values.get("time_request"), str):
            values["time_request"] = datetime.fromisoformat(requested)
        return cls(values)

    @property
    def asked_options(self) -> dict[str, Any]:
        """Options of the task that were set in this context or one that it was cloned from: queue, time_limit, ..."""
        return {key: self[key] for key in self._asked if self.get(key) is not None}

    @staticmethod
    def from_local(
        script: str | os.PathLike[str],
        input_path: str | os.PathLike[str] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
    ) -> ProgramContext:
        """A context to run a script on this machine; `script` is usually `__file__`.

        Without `output_dir`, a fresh temporary folder is made once the script asks for it; stderr names it.
        """
        pc = ProgramContext.running(
            script=str(Path(script).absolute()),
            input_dir=None,
            input_file=None,
            progress=Progress(),
            params={},
            task=None,
            task_id=None,
            time_limit=None,
            queue="cpu",
            retry=0,
            is_local=True,
        )
        from pixyz_worker.local_folders import LocalFolders

        pc._folder = LocalFolders(pc["script"])
        # A user's own folder is not ours to unpack into.
        pc.extraction_dir = pc._folder.extraction_dir
        if input_path is not None:
            pc["data"] = str(existing(input_path))
        pc.open_input()
        if output_dir is not None:
            folder = Path(output_dir).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            pc["output_dir"] = str(folder)
        return pc

    def update(self, /, *args: Any, **kw: Any) -> Self:  # type: ignore[override]  # scripts chain it
        """Change values in place and return the context; a value that has `.update` is merged."""
        for key, value in _in_order(dict(*args, **kw)):
            old = self.get(key)
            if isinstance(old, dict) and isinstance(value, Mapping):
                self[key] = {**old, **value}
            elif old is not None and hasattr(old, "update") and isinstance(value, Mapping | type(old)):
                old.update(value)
            else:
                self[key] = value
        return self

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key in CONTEXT_OPTIONS:
            self._asked |= {key}
        elif key == "data":
            self._follow_data(value)
        elif key == "input_file":
            self._follow_input_file(value)
        elif key == "root_file" and is_path(self.get("data")):
            # Another member of the same archive.
            self._follow_data(self["data"])

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]  # dict's takes any pairs, too
        for key, value in _in_order(dict(other)):
            self[key] = value
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return a value; set it to the default first where the key is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def _follow_data(self, data: Any) -> None:
        path = os.fspath(data) if is_path(data) else None
        super().__setitem__("input_file", path)
        super().__setitem__("input_dir", str(Path(path).parent) if path and Path(path).is_absolute() else None)

    def _follow_input_file(self, path: Any) -> None:
        if self.get("data") is None or is_path(self["data"]):
            super().__setitem__("data", path and os.fspath(path))
        if path and Path(path).is_absolute():
            super().__setitem__("input_dir", str(Path(path).parent))

    def clone(self, /, **kw: Any) -> Self:
        """A copy for another task: requested now, with `kw` applied, without the live task and progress."""
        copy = type(self)()
        copy.clear()
        # Past __setitem__: the values have its effects on other keys already.
        dict.update(copy, {key: copied(value) for key, value in self.items() if key not in _LIVE})
        copy.__dict__.update(self.__dict__)
        copy["time_request"] = utc_now()
        return copy.update(**kw)

    def copy(self) -> Self:
        """The same as clone."""
        return self.clone()

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a plain dict, without the live task and progress."""
        return {key: copied(value) for key, value in self.items() if key not in ("task", "progress")}

    def to_json(self) -> str:
        """Return the values as JSON, times in ISO 8601.

        Raises:
            InvalidBackendParameter: a value of the script's own is not JSON.
        """
        values = self.to_dict()
        if isinstance(requested := values.get("time_request"), datetime):
            values["time_request"] = requested.isoformat()
        try:
            return json.dumps(values)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidBackendParameter(f"the context cannot be written as JSON: {error}") from None

    @property
    def logger(self) -> logging.Logger:
        """A logger whose lines go to the job's log."""
        from pixyz_worker.logger import get_logger

        return get_logger()

    def open_input(self) -> None:
        """Unpack an input that is an archive, and set `input_file`, `input_dir` and `data` to where the input is.

        The code that runs a task calls this before the entrypoint.

        Raises:
            InvalidFile: the archive is damaged, or may not be unpacked.
            PixyzFileNotFound: the archive has no `root_file`.
        """
        source = input_path(self)
        if source is None or is_member(self, source):
            return
        folder, file = opened(source, self.extraction_dir, self.get("root_file"))
        if Path(source).exists():
            super().__setitem__("data", source)
        super().__setitem__("input_file", file)
        super().__setitem__("input_dir", folder)

    def get_input_dir(self, name: str | None = None) -> str:
        """The folder of the input, or the path of `name` in it."""
        return self._path_in("input_dir", name)

    def get_output_dir(self, name: str | None = None) -> str:
        """The folder of the outputs, or the path of `name` in it."""
        return self._path_in("output_dir", name)

    def get_input_file(self) -> str:
        """Absolute path of the input; for an archive, of `root_file` or the first 3D file in it.

        Raises:
            ValueError: the task has no input.
            PixyzFileNotFound: the input is not there.
            InvalidFile: the input is an archive without a 3D file.
        """
        path = input_path(self)
        if path is None:
            own = self.get("data") is not None and not is_path(self["data"])
            why = "its `data` is no path" if own else "send one along (-i FILE), or give from_local a path"
            raise ValueError(f"this task has no input file: {why}")
        from pixyz_worker import archive

        given = existing(path)
        if not archive.is_archive(given):
            return str(given)
        folder = self.extraction_dir(given)
        archive.extract(given, folder)
        return str(archive.find_root_file(folder, self.get("root_file"), given.name))

    def progress_set_total(self, n: int) -> None:
        """Announce how many steps there will be."""
        self._progress().set_total(n)

    def progress_next(self, info: Any = None, output: Any = None, **values: Any) -> None:
        """Begin the next step, "step N" without a text; prints it where there is no scheduler."""
        self._progress().next(info, output, **values)

    def progress_output(self, output: Any) -> None:
        """Give the running step an output."""
        self._progress().output(output)

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

        Args:
            params: the task's own params, merged over those of the context.
            kw: options of the task (`queue`, `time_limit`, `countdown`, `link`, ...; see task_options.py); all else
                goes into its context.

        Returns:
            The task's handle. On the workstation its `get()` is the bare return value, as it was in the scheduler
            before this one; on the cluster it is the task's record, unless the context is raw.
        """
        from pixyz_worker.backend import current_backend
        from pixyz_worker.tasks import pixyz_execute

        options = {key: kw.pop(key) for key in EXECUTE_OPTIONS & kw.keys()}
        context = self.clone(**kw)
        signature = pixyz_execute.s(pc=context) if params is None else pixyz_execute.s(params, context)
        if not current_backend().is_local:
            return signature.apply_async(**options)
        from pixyz_worker.local import LocalPixyzTask

        return LocalPixyzTask.of(signature.clone(**options))

    def AsyncResult(self, id: str, *args: Any, **kw: Any) -> ResultHandle:
        """Handle on the task with this id; Celery's further arguments are ignored."""
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
        return _revive, (type(self), plain, frozenset(self._asked))

    def __repr__(self) -> str:
        shown = {key: value for key, value in self.items() if key not in _LIVE}
        return f"{type(self).__name__}({shown})"

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
        if key == "input_dir" and not folder and not self.is_compute_only() and (path := input_path(self)):
            folder = str(Path(path).parent)
        if not folder or not Path(folder).is_dir():
            why = "it is compute_only" if self.is_compute_only() else "there is none"
            raise PixyzSharedDirectoryNotFound(f"this task has no {key}: {why}")
        return str(folder) if name is None else _inside(Path(folder), name)


def _in_order(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return items with `input_file` last: setting `data` sets it too, and a caller that gives both means both."""
    return sorted(values.items(), key=lambda item: item[0] == "input_file")


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


def _revive(kind: type[ProgramContext], values: dict[str, Any], asked: frozenset[str]) -> ProgramContext:
    context = kind(values)
    dict.update(context, values)
    context._asked = asked
    return context


def utc_now() -> datetime:
    """Return the time now, naive and in UTC: scripts subtract it from datetime.utcnow()."""
    return datetime.now(UTC).replace(tzinfo=None)


def copied(value: Any) -> Any:
    """Containers copied all the way down, so that a clone can be changed; anything else is shared."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if type(value) is list else value
