"""The tutorial's scripts on a workstation: plain Python, no cluster."""

from __future__ import annotations

import json
import resource
import subprocess
import zlib
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import pixyz_worker
from pixyz_worker.loader import inspect_source
from pixyz_worker.local import LocalPixyzTask

ROOT = Path(pixyz_worker.__file__).parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
TUTORIAL = ROOT / "scripts" / "tutorial"
STEP = ROOT / "samples" / "bracket_assembly.step"
START_BUDGET_S = 0.3
SLEEP_S = 0.1
SAMPLE_SIZE = 1_000_000


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


@pytest.mark.parametrize(("extension", "magic"), [("pxz", b"ARROW1"), ("glb", b"glTF")])
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


@pytest.mark.parametrize("path", sorted(TUTORIAL.glob("*.py")), ids=lambda path: path.stem)
def test_given_a_tutorial_script_when_inspected_then_it_starts_with_main(path: Path) -> None:
    """It can be sent as it is."""
    assert "main" in inspect_source(path.read_bytes(), path.name).entrypoints
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")


def test_given_the_scripts_that_wait_when_inspected_then_their_schedules_say_so() -> None:
    """The platform reads it before it runs anything."""
    waiting = set()
    for path in TUTORIAL.glob("*.py"):
        schedules = inspect_source(path.read_bytes(), path.name).schedules
        waiting |= {(path.stem, name) for name, schedule in schedules.items() if schedule.wait}
    assert waiting == {("02_dag_sync", "main"), ("05_chain_cpu_gpu", "main"), ("06_five_queues", "main")}


def run_script(run_python: Run, tmp_path: Path, name: str, *arguments: str | Path) -> list[str]:
    """Run a tutorial script as a newcomer does; lines that it printed."""
    done = run_python(TUTORIAL / f"{name}.py", *arguments, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(f"Outputs go to {tmp_path}") for line in done.stderr.splitlines())
    return done.stdout.splitlines()


def crcs(data: bytes, parts: int = 4) -> dict[str, str]:
    """What the scripts that split a file find out."""
    size = -(-len(data) // parts)
    return {f"part_{n}.bin": f"{zlib.crc32(data[n * size : (n + 1) * size]):08x}" for n in range(parts) if data}


@pytest.mark.parametrize("name", ["02_dag_sync", "02_dag_async"])
@pytest.mark.parametrize("data", [None, b"", b"abc", bytes(range(256)) * 33], ids=["sample", "empty", "short", "file"])
def test_given_a_file_when_split_then_the_crcs_of_its_parts_are_merged(
    run_python: Run, tmp_path: Path, name: str, data: bytes | None
) -> None:
    """Both ways, with an input and with data of its own."""
    given = tmp_path / "input.dat"
    given.write_bytes(data or b"")
    printed = run_script(run_python, tmp_path, name, *([] if data is None else [given]))
    result = literal_eval(printed[-1].removeprefix("result: "))
    if data is None:
        (folder,) = tmp_path.glob(f"{name}_outputs_*")
        data = b"".join((folder / f"part_{n}.bin").read_bytes() for n in range(4))
        assert len(data) == SAMPLE_SIZE
    parts = 3 if data == b"abc" else 4
    assert result == crcs(data, parts)
    if name == "02_dag_async":
        (_, ((_, above), members)), nothing = literal_eval(printed[0].removeprefix("ids: "))
        assert (nothing, above, len(members)) == (None, None, len(result))


def test_given_the_group_when_run_then_its_results_are_in_order(run_python: Run, tmp_path: Path) -> None:
    """Each task shows its progress, too."""
    printed = run_script(run_python, tmp_path, "03_group")
    assert printed == [*(f"{n} * {n}" for n in range(5)), "[0, 1, 4, 9, 16]"]


def test_given_the_tutorials_chain_when_run_then_each_task_gets_what_it_is_to(run_python: Run, tmp_path: Path) -> None:
    """The example of the tutorial's end."""
    printed = run_script(run_python, tmp_path, "04_chain")
    params = [literal_eval(line.removeprefix("task params:  ")) for line in printed if line.startswith("task params")]
    assert params == [{"time": 2, "id": 2}, {"time": 0.2, "id": 2}]
    (last, ((first, _), _)), _ = literal_eval(printed[-1])
    assert f"chain return{last}" in printed[-3]
    assert printed[-2] == "[]"
    assert first != last


def test_given_the_chain_over_two_queues_when_run_then_the_picture_is_there(run_python: Run, tmp_path: Path) -> None:
    """Waiting, and by ids."""
    printed = run_script(run_python, tmp_path, "05_chain_cpu_gpu")
    assert [line.rpartition(" ")[2] for line in printed if " in the queue " in line] == ["cpu", "gpu"] * 2
    waited, ids = (literal_eval(line.partition(": ")[2]) for line in printed if ": " in line)
    assert waited == {"picture": "picture.pgm", "queue": "gpu"}
    (_, ((_, above), members)), _ = ids
    assert (above, members) == (None, None)
    pictures = [*tmp_path.glob("05_chain_cpu_gpu_outputs_*/picture.pgm")]
    assert len(pictures) == 2
    with Image.open(pictures[0]) as picture:
        assert (picture.size, picture.getextrema()) == ((64, 64), (0, 255))


def test_given_the_five_queues_when_run_then_each_task_is_in_its_own(run_python: Run, tmp_path: Path) -> None:
    """A queue means nothing in one process, but is known."""
    printed = run_script(run_python, tmp_path, "06_five_queues")
    assert [literal_eval(line)["queue"] for line in printed[-5:]] == ["cpu", "gpu", "gpuhigh", "control", "zip"]


@pytest.mark.parametrize(
    ("name", "entrypoint"),
    [
        ("02_dag_sync", "main"),
        ("02_dag_async", "main"),
        ("03_group", "main"),
        ("05_chain_cpu_gpu", "main"),
        ("05_chain_cpu_gpu", "main_async"),
        ("06_five_queues", "main"),
    ],
)
def test_given_an_entrypoint_of_the_tutorial_when_run_as_a_job_would_then_its_result_is_json(
    tmp_path: Path, name: str, entrypoint: str
) -> None:
    """Not as `__main__`, with an output folder and another size; one that waits gives the graph's result."""
    params = {"parts": 2, "count": 2, "size": 8}
    result = LocalPixyzTask.from_commandline(TUTORIAL / f"{name}.py", tmp_path, entrypoint, params)
    assert json.loads(json.dumps(result))
