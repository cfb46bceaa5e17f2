"""The tutorial's scripts on a workstation: plain Python, no cluster."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import pixyz_worker
from pixyz_worker.loader import inspect_source
from pixyz_worker.local import LocalPixyzTask

ROOT = Path(pixyz_worker.__file__).parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
TUTORIAL = ROOT / "scripts" / "tutorial"
STEP = ROOT / "samples" / "bracket_assembly.step"
START_BUDGET_S = 0.3
SLEEP_S = 0.1


@pytest.mark.parametrize(("arguments", "printed"), [([], "sleep 0.1 sec\n"), (["0.02"], "sleep 0.02 sec\n")])
def test_given_sleep_when_run_then_it_prints_what_the_tutorial_says(
    run_python: Run, arguments: list[str], printed: str
) -> None:
    """With and without a time."""
    done = run_python(TUTORIAL / "00_sleep.py", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


def test_given_progress_when_run_then_its_steps_are_printed(run_python: Run) -> None:
    """There is no scheduler to show them."""
    done = run_python(TUTORIAL / "00_progress.py")
    assert done.stdout == "Step 1: Doing something\nStep 2: Doing something else\n", done.stderr


def test_given_sleep_when_timed_then_it_costs_little_more_than_python(run_python: Run, tmp_path: Path) -> None:
    """Under 0.3 s more than bare Python, its 0.1 s of sleep included.

    Counted in processor time, the best of five, so that a busy machine does not decide.
    """
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}

    def best(*arguments: str | Path) -> float:
        times = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert run_python(*arguments, **compiled).returncode == 0
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(times)

    assert best(TUTORIAL / "00_sleep.py", "0.001") - best("-c", "pass") + SLEEP_S < START_BUDGET_S


def test_given_a_wrong_extension_when_converting_then_the_error_is_that_of_the_tutorial(tmp_path: Path) -> None:
    """The script's own line fails, by its own mistake."""
    with pytest.raises(AttributeError, match="'int' object has no attribute 'lower'"):
        LocalPixyzTask.from_commandline(TUTORIAL / "00_convert_a_file.py", tmp_path, "main", {"extension": 123})


def test_given_no_input_when_converting_then_it_says_so(run_python: Run) -> None:
    """A sentence as the last line of the traceback."""
    done = run_python(TUTORIAL / "00_convert_a_file.py")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ValueError: this task has no input file")


@pytest.mark.parametrize(("extension", "magic"), [("pxz", b"PK"), ("glb", b"glTF")])
def test_given_a_step_assembly_when_converted_then_the_file_is_there(
    run_python: Run, tmp_path: Path, extension: str, magic: bytes
) -> None:
    """`python 00_convert_a_file.py INPUT OUTPUT_DIR`, and the same by LocalPixyzTask with another format."""
    script, out = TUTORIAL / "00_convert_a_file.py", tmp_path / "out"
    if extension == "pxz":
        done = run_python(script, STEP, out)
        assert done.returncode == 0, done.stderr
        assert f"Importing file: {STEP}\nExporting file as output.pxz\n" in done.stdout
    else:
        code = f"""
from pixyz_worker.script import *
print(LocalPixyzTask.from_commandline({str(script)!r}, {str(out)!r}, "main", {{"extension": "GLB"}}, {str(STEP)!r}))
"""
        done = run_python("-c", code)
        assert done.stdout.splitlines()[-1] == "{'output': 'output.glb'}", done.stderr
    assert (out / f"output.{extension}").read_bytes().startswith(magic)


@pytest.mark.parametrize("name", ["00_sleep", "00_progress", "00_convert_a_file"])
def test_given_a_tutorial_script_when_inspected_then_it_starts_with_main(name: str) -> None:
    """It can be sent as it is."""
    path = TUTORIAL / f"{name}.py"
    assert inspect_source(path.read_bytes(), path.name).entrypoints == ("main",)
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
