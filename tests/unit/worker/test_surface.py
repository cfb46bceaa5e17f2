"""The names that scripts import, what importing them costs, and that the examples in docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import subprocess
from collections.abc import Callable

import pytest

import pixyz_worker
from pixyz_worker import exception, extcode, script, share, storage

Run = Callable[..., "subprocess.CompletedProcess[str]"]

NAMES = {
    "ProgramContext",
    "pixyz_execute",
    "pixyz_schedule",
    "PiXYZSession",
    "License",
    "LocalPixyzTask",
    "subtask_async",
    "chain",
    "group",
    "chord",
    "chunks",
    "sys",
    "os",
}
CONFIG = {"cleanup_delay", "debug", "log_level", "process_path", "share_dir", "supported_archive", "version"}
HEAVY = (
    "ray",
    "numpy",
    "trimesh",
    "cascadio",
    "pydantic",
    "asyncio",
    "click",
    "zipfile",
    "tarfile",
    "uuid",
    "tempfile",
)


def test_given_the_star_import_when_used_then_it_gives_exactly_the_contracts_names() -> None:
    """No name more, none less."""
    assert set(script.__all__) == NAMES
    assert len(script.__all__) == len(NAMES)
    others = {"io", "task", "app", "sleep", "package", "cleanup_share_file", "TaskProgress", *CONFIG}
    others |= {*exception.__all__, *share.__all__, *extcode.__all__, *storage.__all__}
    assert set(pixyz_worker.__all__) == NAMES | others


@pytest.mark.parametrize("module", ["pixyz_worker.script", "pixyz_worker"])
def test_given_a_script_when_it_imports_everything_then_the_names_are_those_objects(module: str) -> None:
    """Both star imports give the same objects."""
    namespace: dict[str, object] = {}
    exec(f"from {module} import *", namespace)  # noqa: S102 - what scripts write
    assert namespace.keys() >= NAMES
    assert all(namespace[name] is getattr(script, name) for name in NAMES)
    with pytest.raises(ImportError):
        exec(f"from {module} import no_such_name", {})  # noqa: S102 - what scripts write by mistake


@pytest.mark.parametrize("module", ["pixyz_worker", "pixyz_worker.script", "pixyz_worker.loader", "pixyz_worker.plan"])
def test_given_the_sdk_when_imported_then_nothing_heavy_comes_along(run_python: Run, module: str) -> None:
    """The tutorial's first script starts at once, and prints nothing of ours."""
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = run_python("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_given_the_package_when_imported_then_its_modules_are_not(run_python: Run) -> None:
    """`import pixyz_worker` costs nothing."""
    done = run_python(
        "-c", "import sys, pixyz_worker; print([n for n in sys.modules if n.startswith('pixyz_worker.')])"
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "celery_results",
        "celery_states",
        "current",
        "declaration",
        "download",
        "license",
        "loader",
        "nearest",
        "not_available",
        "parameters",
        "pc",
        "progress",
        "schedule",
        "session",
    ],
)
def test_given_the_examples_of_docstrings_when_run_then_they_hold(name: str) -> None:
    """Documentation that is executed stays true."""
    result = doctest.testmod(importlib.import_module(f"pixyz_worker.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
