"""Extras that are installed and cannot be loaded for want of a system library."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pixyz_worker.exception import InvalidBackendParameter, UnsupportedFormat
from pixyz_worker.kernel import system_libraries
from pixyz_worker.kernel.formats import EXTRAS, find, is_here, lack_of
from pixyz_worker.kernel.pictures import picture as choice
from pixyz_worker.kernel.pictures.picture import make_renderer
from pixyz_worker.kernel.pictures.raycaster import RayCaster
from pixyz_worker.kernel.pictures.stage import set_up
from tests import opengl
from tests.unit.kernel.picture_samples import box, scene, shown


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without OpenGL, on which all extras are installed."""
    monkeypatch.setattr(system_libraries, "_can_be_loaded", lambda library: False)
    monkeypatch.setattr(system_libraries, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr("pixyz_worker.kernel.formats.table.is_here", lambda module: True)
    monkeypatch.setattr(choice, "is_here", lambda module: True)
    monkeypatch.setattr(choice, "_broken", choice._Broken())
    choice._report.cache_clear()


@pytest.mark.usefixtures("bare")
def test_what_is_missing_is_said_with_its_package() -> None:
    """Given no OpenGL, when extras are asked for, then those that need it name the library and the command."""
    assert lack_of("cad") == "Exact CAD surfaces need the system library libGL.so.1: apt install libgl1."
    assert lack_of("render") == "Pictures by VTK need the system library libEGL.so.1: apt install libegl1."
    assert (lack_of("usd"), lack_of("ifc")) == (None, None)
    with pytest.raises(UnsupportedFormat, match=r"STEP \(\.step\) can be written with the extra 'cad'\. .*libgl1\.$"):
        find("a.step", to="written").load_writer()


@pytest.mark.usefixtures("bare")
def test_rays_are_cast_without_opengl(caplog: pytest.LogCaptureFixture) -> None:
    """Given no OpenGL, when a renderer is wanted, then "auto" casts rays and says why, and "vtk" is refused."""
    stage = set_up([scene(shown(box())).root])
    assert isinstance(make_renderer(stage), RayCaster)
    assert "libegl1. Pictures are drawn by casting rays instead." in caplog.text
    with pytest.raises(InvalidBackendParameter, match=r"VTK renderer cannot be used\. .* apt install libegl1"):
        make_renderer(stage, "vtk")


def test_other_systems_have_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given Windows or macOS, when extras are asked for, then no library of Linux is missed."""
    monkeypatch.setattr(system_libraries, "_can_be_loaded", lambda library: False)
    for system in ("win32", "darwin"):
        monkeypatch.setattr(system_libraries, "sys", SimpleNamespace(platform=system))
        assert system_libraries.missing_for("cad") == ()


@pytest.mark.usefixtures("bare")
def test_a_step_file_is_described_without_opengl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given no OpenGL, when a STEP file's surfaces are asked for, then the figures are unknown, and a line says why."""
    from pixyz_worker.description import _brep

    assert set(_brep("a.step").values()) == {None}
    assert capsys.readouterr().out == f"Figures of exact surfaces are unknown. {lack_of('cad')}\n"


@pytest.mark.usefixtures("bare")
def test_skipped_tests_are_counted_in_one_line() -> None:
    """Given no OpenGL, when tests were skipped for that, then one line counts them and names the Debian packages."""
    assert opengl.summary(57) == (
        "57 tests were skipped: the extras cad and render need libGL.so.1, libEGL.so.1. To run them: "
        "sudo apt install libgl1 libegl1"
    )


def test_every_extra_has_a_use() -> None:
    """Given the extras, then each has a package, a module and words for what it is for."""
    from pixyz_worker.kernel.formats.table import EXTRA_USES

    assert EXTRA_USES.keys() == EXTRAS.keys() >= system_libraries.NEEDED.keys()
    assert not is_here("a_module_that_is_nowhere")
