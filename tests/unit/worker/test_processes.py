"""The processes that come with the platform, run on a workstation."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pixyz_worker
from pixyz_worker.exception import PixyzException
from pixyz_worker.loader import inspect_source
from pixyz_worker.local import LocalPixyzTask

ROOT = Path(pixyz_worker.__file__).parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
PROCESSES = ROOT / "processes"
NAMES = ("api_test", "convert_file", "sleep")


def run(name: str, out: Path, params: dict[str, Any], source: Path | None = None) -> Any:
    """Run a process here."""
    return LocalPixyzTask.from_commandline(PROCESSES / f"{name}.py", out, "main", params, source)


@pytest.mark.parametrize("name", NAMES)
def test_given_a_process_when_its_documentation_is_read_then_it_says_all_one_needs(name: str) -> None:
    """What it does, its parameters, its input, its outputs, and a command to try."""
    info = inspect_source((PROCESSES / f"{name}.py").read_bytes(), name)
    assert "main" in info.entrypoints
    assert info.doc is not None
    for word in ("Parameters:", "Input:", "Outputs:", "Returns:", f"pixyz process -n {name}"):
        assert word in info.doc


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
        ("api_test", {"fail": "as asked"}, "as asked"),
    ],
)
def test_given_wrong_params_when_run_then_the_error_says_what_is_wanted(
    tmp_path: Path, name: str, params: dict[str, Any], sentence: str
) -> None:
    """Before anything is read or written."""
    with pytest.raises(PixyzException, match=sentence):
        run(name, tmp_path / "out", params)
    assert not [*(tmp_path / "out").iterdir()]


def test_given_api_test_when_run_then_it_says_what_it_saw(tmp_path: Path) -> None:
    """Params and input come back, as result and as file."""
    source = tmp_path / "a.bin"
    source.write_bytes(b"some bytes")
    result = run("api_test", tmp_path / "out", {"a": [1]}, source)
    digest = hashlib.sha256(b"some bytes").hexdigest()
    assert result == {
        "params": {"a": [1]},
        "input": {"name": "a.bin", "size": 10, "sha256": digest},
        "output": "api_test.json",
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
    assert done.stdout.splitlines()[-1] == "{'output': 'my part.glb'}", done.stderr
    assert "[ 33%] Exporting my part.glb" in done.stdout
    assert (tmp_path / "out" / "my part.glb").read_bytes().startswith(b"glTF")
