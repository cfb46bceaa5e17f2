"""The processes that come with the platform, run on a workstation."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pixyz_worker
from pixyz_worker import io
from pixyz_worker.declaration import ANY, declared_parameters
from pixyz_worker.exception import PixyzException, PixyzSharedDirectoryNotFound
from pixyz_worker.kernel import session
from pixyz_worker.kernel.formats import lack_of
from pixyz_worker.loader import inspect_source
from pixyz_worker.local import LocalPixyzTask
from pixyz_worker.parameters import Parameters
from pixyz_worker.pc import ProgramContext
from tests.unit.kernel import samples

ROOT = Path(pixyz_worker.__file__).parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
PROCESSES = ROOT / "processes"
NAMES = sorted(path.stem for path in PROCESSES.glob("[!_]*.py"))
STEP = ROOT / "samples" / "bracket_assembly.step"
PICTURES = {"iso.png", "x.png", "y.png", "z.png"}
KEYS = (
    "aabb part_count material_count brep_boundary brep_body_count mesh_boundary mesh_edge_count mesh_vertex_count "
    "polygon_count animation_count variant_count pmi_component_count annotation_group_count annotation_count "
    "metadata_component_count metadata_property_count"
)


def run(name: str, out: Path, params: dict[str, Any], source: Path | None = None) -> Any:
    """Run a process here."""
    return LocalPixyzTask.from_commandline(PROCESSES / f"{name}.py", out, "main", params, source)


@pytest.fixture
def glb(tmp_path: Path) -> Path:
    """The coloured assembly with instances as a GLB: 460 triangles, 7 x 6 x 4 metres, standing on y."""
    io.exportScene(tmp_path / "assembly.glb", samples.assembly())
    return tmp_path / "assembly.glb"


def test_given_the_processes_when_listed_then_all_of_them_are_there() -> None:
    """Those of the contract."""
    wanted = "api_test convert_file generate_metadata generate_thumbnails optimize sleep thumbnail_chained"
    assert wanted.split() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_given_a_process_when_the_page_is_read_then_it_has_every_parameter(name: str) -> None:
    """docs/processes.md and the process's own documentation name the same."""
    page = (ROOT / "docs" / "processes.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert section, f"{name} has no section"
    doc = inspect_source((PROCESSES / f"{name}.py").read_bytes(), name).doc or ""
    for parameter in declared_parameters(doc) or ():
        assert parameter.name == ANY or f"`{parameter.name}`" in section + page.partition("## convert_file")[0]


@pytest.mark.parametrize("name", NAMES)
def test_given_a_process_when_its_documentation_is_read_then_it_says_all_one_needs(name: str) -> None:
    """What it does, its parameters, its input, its outputs, and a command to try."""
    info = inspect_source((PROCESSES / f"{name}.py").read_bytes(), name)
    assert "main" in info.entrypoints
    assert info.doc is not None
    for word in ("Parameters:", "Input:", "Outputs:", "Returns:", f"pixyz process -n {name}"):
        assert word in info.doc


@pytest.mark.parametrize("name", [name for name in NAMES if name != "api_test"])
def test_declared_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Given a process, when it reads its params, then it asks for those that it declares, with the same defaults."""
    read: dict[str, Any] = {}

    class Stop(Exception):
        """The process has read its params."""

    def value(self: Parameters, name: str, default: Any) -> Any:
        read[name] = default
        return default

    def say_unknown(self: Parameters) -> None:
        raise Stop

    monkeypatch.setattr(Parameters, "_value", value)
    monkeypatch.setattr(Parameters, "say_unknown", say_unknown)
    with pytest.raises(Stop):
        importlib.import_module(f"processes.{name}").main(ProgramContext.from_local(PROCESSES / f"{name}.py"), {})
    declared = declared_parameters(inspect_source((PROCESSES / f"{name}.py").read_bytes(), name).doc)
    assert declared is not None
    assert read.keys() == {parameter.name for parameter in declared}
    fixed = {"quality", "t"}  # Their defaults are applied beside Parameters.
    for parameter in declared:
        if parameter.default is not None and parameter.name not in fixed:
            assert read[parameter.name] == parameter.default, parameter.name


def test_sleep_duration(tmp_path: Path) -> None:
    """Given the old name of the time to sleep, when used, then it counts; two that differ are refused."""
    assert run("sleep", tmp_path, {"duration": 0.01}) == 0.01
    assert run("sleep", tmp_path, {"duration": 0, "t": 0}) == 0
    with pytest.raises(PixyzException, match="t and duration are the same"):
        run("sleep", tmp_path, {"duration": 0.01, "t": 0.02})


def test_given_sleep_when_run_then_it_takes_its_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The time is shared among the steps."""
    assert run("sleep", tmp_path, {"t": 0.02, "steps": 2}) == 0.02
    printed = capsys.readouterr().out
    assert printed == "[  0%] Sleeping, part 1 of 2\n[ 50%] Sleeping, part 2 of 2\n[100%] Done\n"


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("sleep", {"t": "long"}, "t must be"),
        ("sleep", {"t": -1}, "t must be"),
        ("sleep", {"t": True}, "t must be"),
        ("sleep", {"steps": 0}, "steps must be"),
        ("sleep", {"steps": 1.5}, "steps must be"),
        ("convert_file", {"extension": 123}, "extension must be one of .*glb.*; not 123"),
        ("convert_file", {"extension": "../x"}, "extension must be one of"),
        ("convert_file", {"extension": ""}, "extension must be one of"),
        ("convert_file", {"filename": "../out"}, "plain name"),
        ("convert_file", {"filename": ""}, "plain name"),
        ("convert_file", {"filename": 5}, "plain name"),
        ("convert_file", {"filename": "a\\b"}, "plain name"),
        ("convert_file", {"extension": "catpart"}, r"^\.catpart \(CATIA\) needs the Pixyz SDK.*can be written"),
        ("convert_file", {"quality": "best"}, "quality must be one of very_high, high, medium, low, or 0 to 3"),
        ("convert_file", {"quality": 4}, "quality must be one of"),
        ("convert_file", {"sag": 0}, "sag must be a number above 0"),
        ("convert_file", {"sag_ratio": 2}, "sag_ratio must be a number above 0 and 1 at most"),
        ("convert_file", {"angle": "wide"}, "angle must be a number"),
        ("convert_file", {"decimate": -5}, "decimate must be a number of triangles, or a share"),
        ("convert_file", {"decimate": 1000.5}, "decimate must be"),
        ("convert_file", {"up_axis": "x"}, "up_axis must be one of y, z"),
        ("convert_file", {"units": "furlong"}, "units must be one of mm, cm, m, in, ft"),
        ("convert_file", {"repair": "yes"}, "repair must be true or false"),
        ("convert_file", ["glb"], "params must be an object"),
        ("generate_metadata", {"quality": []}, "quality must be"),
        ("generate_thumbnails", {"width": 0}, "width must be a whole number from 1 to 16384"),
        ("generate_thumbnails", {"renderer": "povray"}, "renderer must be one of auto, vtk, embree"),
        ("thumbnail_chained", {"height": "tall"}, "height must be a whole number"),
        ("optimize", {"lods": [0.5, 1]}, "lods must be a list of shares from 1 down"),
        ("optimize", {"merge": "some"}, "merge must be one of material, all, none"),
        ("optimize", {"extension": "xyzzy"}, "not a format"),
        ("api_test", {"fail": "as asked"}, "as asked"),
    ],
)
def test_given_wrong_params_when_run_then_the_error_says_what_is_wanted(
    tmp_path: Path, name: str, params: Any, sentence: str
) -> None:
    """Before anything is read or written."""
    with pytest.raises(PixyzException, match=sentence):
        run(name, tmp_path / "out", params)
    assert not [*(tmp_path / "out").iterdir()]


@pytest.mark.parametrize("name", ["convert_file", "optimize"])
def test_given_no_output_folder_when_run_then_the_input_is_not_even_read(tmp_path: Path, name: str) -> None:
    """A compute_only job of a process that writes files ends before anything is done."""
    damaged = tmp_path / "damaged.glb"
    damaged.write_bytes(b"glTF")
    pc = ProgramContext.from_local(PROCESSES / f"{name}.py", damaged).update(compute_only=True)
    with pytest.raises(PixyzSharedDirectoryNotFound, match="compute_only"):
        importlib.import_module(f"processes.{name}").main(pc, {})


def test_given_api_test_when_run_then_it_says_what_it_saw(tmp_path: Path) -> None:
    """Params and input come back, as result and as file."""
    source = tmp_path / "a.bin"
    source.write_bytes(b"some bytes")
    result = run("api_test", tmp_path / "out", {"a": [1]}, source)
    digest = hashlib.sha256(b"some bytes").hexdigest()
    assert result == {
        "output": "Hello World!",
        "params": {"a": [1]},
        "input": {"name": "a.bin", "size": 10, "sha256": digest},
        "file": "api_test.json",
    }
    assert json.loads((tmp_path / "out" / "api_test.json").read_text(encoding="utf-8")) == result
    assert run("api_test", tmp_path / "out", {})["input"] is None


def test_given_convert_file_when_run_then_the_named_file_is_there(run_python: Run, tmp_path: Path) -> None:
    """In the format and under the name that were asked for."""
    code = f"""
from pixyz_worker.script import *
params = {{"extension": ".GLB", "filename": "my part"}}
process, step = {str(PROCESSES / "convert_file.py")!r}, {str(ROOT / "samples" / "bracket_assembly.step")!r}
print(LocalPixyzTask.from_commandline(process, {str(tmp_path / "out")!r}, "main", params, step))
"""
    done = run_python("-c", code)
    assert done.stdout.splitlines()[-1].startswith("{'output': 'my part.glb', 'process_duration': "), done.stderr
    assert "[ 33%] Exporting my part.glb" in done.stdout
    assert (tmp_path / "out" / "my part.glb").read_bytes().startswith(b"glTF")


def test_given_a_name_that_is_no_parameter_when_run_then_the_log_says_so(
    tmp_path: Path, glb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be misspelt."""
    run("convert_file", tmp_path / "out", {"extension": "glb", "qualty": "low"}, glb)
    assert "'qualty' is not a parameter, and ignored. Did you mean 'quality'? Parameters: " in capsys.readouterr().out


def test_given_a_glb_when_converted_to_glb_then_every_byte_is_the_same(tmp_path: Path, glb: Path) -> None:
    """Nothing is taken apart that nobody wants changed; the session is empty afterwards."""
    run("convert_file", tmp_path / "out", {"extension": "glb", "quality": "low"}, glb)
    assert (tmp_path / "out" / "output.glb").read_bytes() == glb.read_bytes()
    assert session.scenes() == ()


def converted(folder: Path, params: dict[str, Any], source: Path) -> Any:
    """The scene that convert_file makes of a file."""
    name = run("convert_file", folder, params, source)["output"]
    scene = io.importScene(folder / name)
    session.reset()
    return scene


def size(scene: Any) -> list[float]:
    """The sides of a scene in metres."""
    from pixyz_worker.kernel.algorithms import measures

    box = measures.bounds([scene.root])
    assert box is not None
    return [round(float(side), 4) for side in box[1] - box[0]]


def test_given_targets_when_converted_then_there_are_as_many_triangles(tmp_path: Path, glb: Path) -> None:
    """As a number, and as a share."""
    assert converted(tmp_path / "a", {"extension": "glb", "decimate": 200, "repair": True}, glb).triangle_count <= 200
    assert 200 < converted(tmp_path / "b", {"extension": "glb", "decimate": 0.5}, glb).triangle_count <= 230


@pytest.mark.parametrize(
    ("axis", "extension", "expected"),
    [(None, "glb", [7, 6, 4]), ("y", "glb", [7, 6, 4]), ("z", "glb", [7, 4, 6]), ("z", "pxz", [7, 4, 6])],
)
def test_given_an_axis_when_converted_then_the_output_stands_on_it(
    tmp_path: Path, glb: Path, axis: str | None, extension: str, expected: list[float]
) -> None:
    """Also where the format has an axis of its own."""
    scene = converted(tmp_path / "out", {"extension": extension, "up_axis": axis}, glb)
    assert size(scene) == expected
    assert scene.up == ("z" if extension == "pxz" else "y")


@pytest.mark.parametrize(("units", "side"), [(None, 4.0), ("mm", 0.004), ("in", 0.1016)])
def test_given_units_when_converted_then_lengths_follow(tmp_path: Path, units: str | None, side: float) -> None:
    """Of a file that names none."""
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 4 0 0\nv 0 1 0\nf 1 2 3\n", encoding="utf-8")
    scene = converted(tmp_path / "out", {"extension": "glb", "units": units}, tmp_path / "a.obj")
    assert size(scene)[0] == pytest.approx(side)


def test_given_qualities_when_a_step_is_converted_then_finer_has_more_triangles(tmp_path: Path) -> None:
    """With exact surfaces, and where the file is read again."""
    counts = [
        converted(tmp_path / str(n), {"extension": "glb", **params}, STEP).triangle_count
        for n, params in enumerate(({"quality": "low"}, {"quality": 0}, {"sag": 0.01, "angle": 5}))
    ]
    assert 0 < counts[0] < counts[1] < counts[2]


def test_given_a_step_when_described_then_the_figures_are_those_of_the_sample(tmp_path: Path) -> None:
    """Every key, as samples/README.md has it; the file has the same."""
    result = run("generate_metadata", tmp_path, {}, STEP)
    metadata = result["metadata"]
    assert json.loads((tmp_path / "metadata.json").read_text(encoding="utf-8")) == metadata
    assert set(KEYS.split()) <= set(metadata)
    assert metadata["aabb_size"] == pytest.approx([190, 110, 115], abs=0.6)
    assert float(metadata["aabb"]) == pytest.approx((190**2 + 110**2 + 115**2) ** 0.5, abs=1)
    assert (metadata["part_count"], metadata["unique_part_count"], metadata["material_count"]) == (22, 6, 6)
    assert metadata["mesh_boundary"] == 0 and metadata["polygon_count"] == metadata["triangle_count"] > 1000
    assert (metadata["units"], metadata["up_axis"]) == ("mm", "z")
    if lack_of("cad") is None:
        assert (metadata["brep_body_count"], metadata["brep_boundary"]) == (6, 0)
    else:
        assert metadata["brep_body_count"] is None


def test_given_a_glb_when_described_then_there_are_no_exact_surfaces(tmp_path: Path, glb: Path) -> None:
    """And as many triangles as there are."""
    metadata = run("generate_metadata", tmp_path / "out", {}, glb)["metadata"]
    assert (metadata["polygon_count"], metadata["part_count"], metadata["unique_part_count"]) == (460, 3, 2)
    assert (metadata["brep_body_count"], metadata["texture_count"], metadata["material_count"]) == (0, 0, 2)
    assert metadata["aabb_low"] == pytest.approx([-3500, -1500, -2000], abs=1)


@pytest.mark.parametrize("name", ["generate_thumbnails", "thumbnail_chained"])
def test_given_a_file_when_thumbnails_are_made_then_all_of_them_are_there(tmp_path: Path, name: str) -> None:
    """In one task, and in two."""
    import PIL.Image

    io.exportScene(tmp_path / "in.glb", samples.assembly())
    out = tmp_path / "out"
    result = run(name, out, {"width": 40, "height": 30, "renderer": "embree"}, tmp_path / "in.glb")
    assert {path.name for path in out.iterdir()} == PICTURES | {"preview.glb", "metadata.json"}
    assert set(result["thumbs"].values()) == PICTURES
    preview_bytes = (out / "preview.glb").stat().st_size
    assert result["preview"] == {"file": "preview.glb", "size": "40x30", "bytes": preview_bytes}
    assert 0 < result["process_duration"] < 600
    assert json.loads((out / "metadata.json").read_text(encoding="utf-8")) == result["metadata"]
    for file in PICTURES:
        with PIL.Image.open(out / file) as picture:
            assert (picture.size, picture.mode) == ((40, 30), "RGBA")
            assert picture.getextrema()[3] == (0, 255)
    preview = io.importScene(out / "preview.glb")
    assert (preview.triangle_count, len(preview.instances())) == (460, 2)
    session.reset()


def test_given_a_step_when_optimised_then_levels_and_figures_are_there(tmp_path: Path) -> None:
    """Each level has its share."""
    params = {"decimate": 0.5, "lods": [1, 0.5, 0.2], "smallest": 5, "remove_occluded": "parts"}
    result = run("optimize", tmp_path / "out", params, STEP)
    assert json.loads((tmp_path / "out" / "optimize.json").read_text(encoding="utf-8")) == result
    before, after = result["before"], result["after"]
    assert before["parts"] == 22 and after["parts"] == after["materials"] <= 6
    assert 0 < after["triangles"] <= before["triangles"] / 2 + 1
    counts = [level["triangles"] for level in result["lods"]]
    for level in result["lods"]:
        path = tmp_path / "out" / level["file"]
        assert path.stat().st_size == level["size"]
        assert io.importScene(path).triangle_count == level["triangles"]
        session.reset()
    assert counts[0] == after["triangles"]
    assert counts[0] / 2 + 1 >= counts[1] > counts[2]
