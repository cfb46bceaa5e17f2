"""Names of other packages: scripts get ours, also where the genuine package is installed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def genuine(tmp_path: Path) -> Path:
    """A folder with packages that are called as the genuine ones."""
    for name in ("celery", "pxz"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text("whose = 'genuine'", encoding="utf-8")
    return tmp_path / "site"


def check(run_python: Run, code: str, **environment: str) -> None:
    """Run code in a process of its own; it must end well."""
    done = run_python("-c", code, **environment)
    assert done.returncode == 0, done.stderr


def test_given_the_shims_when_celery_is_imported_then_it_is_ours(run_python: Run, genuine: Path) -> None:
    """Every form in which scripts import it; a genuine celery does not change that."""
    code = f"""
import sys
sys.path.insert(0, {str(genuine)!r})
from pixyz_worker import canvas, compat, result
compat.install()
compat.install()
assert sum(isinstance(finder, compat.ShimFinder) for finder in sys.meta_path) == 1
import celery, celery.result
from celery import chain, group, chord, chunks
from celery.result import AsyncResult, GroupResult, allow_join_result
from celery.canvas import chain as again
assert not hasattr(celery, "whose")
assert celery.result.AsyncResult is result.AsyncResult is AsyncResult
assert chain is canvas.chain is again and chord is canvas.chord
assert celery.__name__ == "celery" and celery.__spec__.origin == "pixyz_worker"
with allow_join_result():
    pass
try:
    import celery.app
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("not ours to answer for")
"""
    check(run_python, code)


def test_given_nothing_installed_when_imported_then_the_import_system_is_as_it_was(run_python: Run) -> None:
    """Only the script surface and the loader install the finder."""
    check(run_python, "import sys; n = len(sys.meta_path); import pixyz_worker.compat; assert len(sys.meta_path) == n")
    check(
        run_python, "import sys; n = len(sys.meta_path); import pixyz_worker.script; assert len(sys.meta_path) == n + 1"
    )


def test_given_a_name_when_its_shim_does_not_want_it_then_the_genuine_one_is_imported(
    run_python: Run, genuine: Path
) -> None:
    """The seam: a line in the table, and when it counts."""
    code = f"""
import sys, types
sys.path.insert(0, {str(genuine)!r})
from pixyz_worker import compat
def ours():
    module = types.ModuleType("any")
    module.whose = "ours"
    return module
compat.SHIMS["pxz"] = compat.Shim(factory=ours, when=compat.without_sdk)
compat.SHIMS["pxz.core"] = compat.Shim(factory=ours, when=compat.without_sdk)
compat.install()
import pxz
print(pxz.whose)
"""
    assert run_python("-c", code).stdout == "genuine\n"
    assert run_python("-c", code, DISABLE_PIXYZ="1").stdout == "ours\n"
    without = code.replace(str(genuine), "/nowhere") + "import pxz.core; print(pxz.core.whose, pxz.core.__name__)"
    assert run_python("-c", without).stdout == "ours\nours pxz.core\n"


def test_given_no_sdk_when_pxz_is_imported_then_it_is_our_kernel(run_python: Run) -> None:
    """Every form in which scripts import it; no 3D library comes along."""
    code = """
from pixyz_worker.script import *
import pxz
from pxz import core, scene, polygonal, algo, material, view, io, geom
import pxz.core
assert pxz.core is core is sys.modules["pxz.core"]
assert io.importScene and core.resetSession() is None
assert not {"numpy", "trimesh", "cascadio"} & sys.modules.keys()
with PiXYZSession() as session, License() as seat:
    assert seat.sdk is None, "ours is not taken for the SDK"
try:
    algo.repairCAD([1], 0.1)
except AttributeError as error:
    assert "needs the Pixyz SDK" in str(error)
"""
    check(run_python, code)


def test_given_an_empty_folder_when_asked_for_then_it_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder called pxz beside a script is not the SDK."""
    from pixyz_worker import compat

    (tmp_path / "pxz_like").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not compat.is_installed("pxz_like")
    assert not compat.is_installed("no_such_package")
    assert compat.is_installed("json")
