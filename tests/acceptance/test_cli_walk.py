"""The tutorial's walk with the real command line: each command in a process of its own, against a real platform."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platforms import OPERATOR_TOKEN, ROOT, TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

SLEEP = "scripts/tutorial/00_sleep.py"
PROGRESS = "scripts/tutorial/00_progress.py"
CONVERT = "scripts/tutorial/00_convert_a_file.py"
SAMPLE = "samples/bracket_assembly.step"
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

Pixyz = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pixyz(platform: TestPlatform) -> Pixyz:
    """Runs `pixyz ARGUMENTS` in the project's folder, and expects an exit code."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = platform.cli(*arguments, cwd=ROOT)
        assert done.returncode == code, f"pixyz {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def _id_in(text: str) -> str:
    found = re.search(rf"Job \[ ({UUID}) \] started", text)
    assert found, text
    return found[1]


def _details_in(text: str) -> dict[str, object]:
    """The JSON that `-r` prints after the lines for people."""
    return dict(json.loads(text[text.index("\n{") :]))


# --- The tutorial, in its order --------------------------------------------------------------------------------------


def test_given_a_script_when_run_without_a_platform_then_it_prints(tmp_path: Path, platform: TestPlatform) -> None:
    """`python scripts/tutorial/00_sleep.py 0.02`, with only the SDK."""
    command = [sys.executable, SLEEP, "0.02"]
    done = subprocess.run(command, cwd=ROOT, env=platform.env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "sleep 0.02 sec\n", "")


def test_given_the_first_script_when_executed_then_header_upload_and_end_are_those_of_the_contract(
    pixyz: Pixyz,
) -> None:
    """`pixyz exec -s 00_sleep.py -rw`: every line that existing users know."""
    out = pixyz("exec", "-s", SLEEP, "-rw").stdout
    lines = out.splitlines()
    assert lines[:6] == [
        "-------- New PixyzScheduler Job ---------",
        f"- script file:  '{SLEEP}'",
        "- script params:  {}",
        '- worker config:  {"entrypoint": "main", "queue": null, "time_limit": 3600}',
        "-  watch status:  True",
        "-----------------------------------------",
    ]
    uuid = _id_in(out)
    assert "Uploading: [██████████████████████████████] 100.0%" in lines
    assert re.search(rf"^Job \[ {uuid} \] progress: 100, status: SUCCESS.*\[⏳\]$", out, re.MULTILINE)
    details = _details_in(out)
    assert (details["uuid"], details["status"], details["result"]) == (uuid, "SUCCESS", 0.1)


def test_given_a_job_when_its_details_are_asked_then_they_are_json(pixyz: Pixyz) -> None:
    """`pixyz details -j ID`, also of a job that is long over."""
    uuid = pixyz("exec", "-s", SLEEP, "-b").stdout.strip()
    assert re.fullmatch(UUID, uuid)
    pixyz("status", "-j", uuid, "-w")
    assert json.loads(pixyz("details", "-j", uuid).stdout)["status"] == "SUCCESS"
    assert json.loads(pixyz("status", "-j", uuid).stdout)["progress"] == 100


def test_given_params_when_executed_then_the_script_gets_them(pixyz: Pixyz) -> None:
    """`-p '{"t": 0.02}'`."""
    out = pixyz("exec", "-s", SLEEP, "-p", '{"t": 0.02}', "-rw").stdout
    assert '- script params:  {"t": 0.02}' in out
    assert _details_in(out)["result"] == 0.02
    assert pixyz("logs", "-j", _id_in(out)).stdout == "sleep 0.02 sec\n"


def test_given_two_steps_when_watched_then_both_are_seen(pixyz: Pixyz) -> None:
    """`progress: 50, status: RUNNING` with the second step, then `100, SUCCESS`."""
    out = pixyz("exec", "-s", PROGRESS, "-rw").stdout
    assert re.search(r"progress: 50, status: RUNNING \(Step 2: Doing something else\)", out)
    assert re.search(r"progress: 100, status: SUCCESS \(Step 2: Doing something else\) \[⏳\]", out)
    steps = _details_in(out)["steps"]
    assert isinstance(steps, list)
    assert [step["info"] for step in steps] == ["Step 1: Doing something", "Step 2: Doing something else"]


def test_given_a_step_file_when_converted_by_the_tutorials_script_then_its_output_can_be_fetched(
    pixyz: Pixyz, tmp_path: Path
) -> None:
    """`-i FILE`, then `download` of one file and `download_all` as a zip, under each of its names."""
    out = pixyz("exec", "-s", CONVERT, "-i", SAMPLE, "-p", '{"extension": "glb"}', "-rw").stdout
    uuid = _id_in(out)
    assert _details_in(out)["result"] == {"output": "output.glb"}
    assert json.loads(pixyz("outputs", "-j", uuid).stdout) == {"outputs": ["output.glb"]}

    target = tmp_path / "bolt.glb"
    pixyz("download", "-j", uuid, "-f", "output.glb", "-o", str(target))
    assert target.read_bytes()[:4] == b"glTF"
    for name in ("download_all", "downloadall", "download-all"):
        pixyz(name, "-j", uuid, "-o", str(tmp_path / f"{name}.zip"))
        with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
            assert archive.read("output.glb") == target.read_bytes()


def test_given_no_extension_when_converted_then_a_pxz_is_made_and_the_log_says_whose(pixyz: Pixyz) -> None:
    """The tutorial's default, word for word."""
    out = pixyz("exec", "-s", CONVERT, "-i", SAMPLE, "-rw").stdout
    uuid = _id_in(out)
    assert json.loads(pixyz("outputs", "-j", uuid).stdout) == {"outputs": ["output.pxz"]}
    assert "Pixyz" in pixyz("logs", "-j", uuid).stdout


def test_given_the_tutorials_mistake_when_executed_then_its_traceback_is_shown(pixyz: Pixyz) -> None:
    """`-p '{"extension": 123}'`: FAILURE, the traceback of the user's own script, exit code 10."""
    out = pixyz("exec", "-s", CONVERT, "-p", '{"extension": 123}', "-w", code=10).stdout
    assert re.search(r"progress: 0, status: FAILURE.*\[⌛\]", out)
    tail = out[out.index("Traceback (most recent call last):") :].splitlines()
    assert re.fullmatch(r'  File "00_convert_a_file.py", line \d+, in main', tail[1])
    assert tail[-1] == "AttributeError: 'int' object has no attribute 'lower'"


def test_given_processes_when_listed_and_documented_then_they_are_json(pixyz: Pixyz) -> None:
    """`pixyz list`, `pixyz doc -n NAME`."""
    names = json.loads(pixyz("list").stdout)["processes"]
    assert {"api_test", "convert_file", "sleep"} <= set(names)
    assert "extension" in json.loads(pixyz("doc", "-n", "convert_file").stdout)["doc"]


def test_given_a_process_when_executed_then_it_converts(pixyz: Pixyz) -> None:
    """`pixyz process -n convert_file -i FILE -p '{"extension": "obj"}' -w`."""
    out = pixyz("process", "-n", "convert_file", "-i", SAMPLE, "-p", '{"extension": "obj"}', "-w").stdout
    assert "output.obj" in json.loads(pixyz("outputs", "-j", _id_in(out)).stdout)["outputs"]


def test_given_a_file_when_converted_in_one_command_then_it_is_here(pixyz: Pixyz, tmp_path: Path) -> None:
    """`pixyz convert -i FILE -o PATH`."""
    pixyz("convert", "-i", SAMPLE, "-o", str(tmp_path / "out.stl"))
    assert (tmp_path / "out.stl").stat().st_size > 1000


# --- Besides the tutorial --------------------------------------------------------------------------------------------


def test_given_statuses_when_watched_in_batch_then_the_exit_code_tells(
    pixyz: Pixyz, rest: RestClient, tmp_path: Path
) -> None:
    """SUCCESS 0, FAILURE 10, REVOKED 11; with -b and -w nothing is printed."""
    assert pixyz("exec", "-s", SLEEP, "-b", "-w").stdout == ""
    bad = tmp_path / "bad.py"
    bad.write_text("def main(pc, params):\n    raise ValueError('no')\n")
    assert pixyz("exec", "-s", str(bad), "-bw", code=10).stdout == ""
    uuid = pixyz("process", "-n", "sleep", "-p", '{"t": 60}', "-b").stdout.strip()
    rest.wait_for(uuid, "RUNNING")
    assert json.loads(pixyz("cancel", "-j", uuid).stdout)["status"] == "REVOKED"
    pixyz("status", "-j", uuid, "-w", code=11)


def test_given_a_running_job_when_its_log_is_followed_then_lines_come_live(
    platform: TestPlatform, rest: RestClient, gate: Path, tmp_path: Path
) -> None:
    """`pixyz logs -j ID -f`: the first line is here before the job has ended."""
    uuid = rest.submit(
        "import pathlib, time\ndef main(pc, params):\n    print('first', flush=True)\n"
        "    while not pathlib.Path(params['gate']).exists(): time.sleep(0.01)\n    print('last')\n",
        params={"gate": str(gate)},
    )
    command = [sys.executable, "-c", "from pixyz_ray.cli import main; main()", "logs", "-j", uuid, "-f"]
    with (tmp_path / "out").open("w") as out:
        follower = subprocess.Popen(command, env=platform.env, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: (tmp_path / "out").read_text() == "first\n", "the first line is printed")
            assert rest.state(uuid)["status"] == "RUNNING"
            gate.touch()
            assert follower.wait(20) == 0
        finally:
            follower.kill()
            follower.wait()
    assert (tmp_path / "out").read_text() == "first\nlast\n"


def test_given_jobs_when_listed_then_newest_first(pixyz: Pixyz) -> None:
    """`pixyz jobs --limit 2`."""
    uuids = [pixyz("process", "-n", "sleep", "-p", '{"t": 0}', "-b").stdout.strip() for _ in range(2)]
    assert [job["uuid"] for job in json.loads(pixyz("jobs", "--limit", "2").stdout)["jobs"]] == uuids[::-1]


def test_given_another_machine_when_url_and_token_are_given_then_it_works(platform: TestPlatform) -> None:
    """`-u URL -k TOKEN` before the command, `-t TOKEN` after it: the operator's token, no home of a platform."""
    elsewhere = TestPlatform()
    try:
        for arguments in (
            ("-u", platform.url, "-k", OPERATOR_TOKEN, "jobs"),
            ("-u", platform.url, "jobs", "-t", OPERATOR_TOKEN),
        ):
            assert elsewhere.cli(*arguments).returncode == 0
        assert elsewhere.cli("-u", platform.url, "-k", "wrong", "jobs").returncode == 1
        nobody = elsewhere.cli("-u", f"http://127.0.0.1:{elsewhere.port}", "-k", "x", "list")
        assert nobody.returncode == 3
        assert "Traceback" not in nobody.stderr
    finally:
        elsewhere.close()


def test_given_the_old_long_options_when_executed_then_the_job_is_the_same(pixyz: Pixyz) -> None:
    """`--script --params --entrypoint --queue --limit --alias --watch --result`, then `--jobid`."""
    options = ["--entrypoint", "main", "--queue", "cpu", "--limit", "12.5", "--alias", "mine", "--watch", "--result"]
    out = pixyz("exec", "--script", SLEEP, "--params", '{"t": 0}', *options).stdout
    assert '- worker config:  {"entrypoint": "main", "queue": "cpu", "time_limit": 12.5}' in out.splitlines()
    details = json.loads(pixyz("details", "--jobid", _id_in(out)).stdout)
    assert (details["name"], details["time_limit"], details["result"]) == ("mine", 12.5, 0)


def test_given_a_queue_without_its_hardware_when_watched_then_the_note_is_printed_once(pixyz: Pixyz) -> None:
    """This platform has no GPU: the job runs on CPU, and says so; for a program, on standard error."""
    out = pixyz("exec", "-s", SLEEP, "-q", "gpu", "-w").stdout
    notes = [line for line in out.splitlines() if line.startswith("Note: ")]
    assert len(notes) == 1
    assert "GPU" in notes[0]
    done = pixyz("exec", "-s", SLEEP, "-q", "gpu", "-bw")
    assert (done.stdout, done.stderr.splitlines()) == ("", notes)


def test_given_more_jobs_than_a_page_when_listed_then_one_document_has_them(pixyz: Pixyz) -> None:
    """`pixyz jobs` lists all; `--limit` and `--after` cut."""
    uuids = [pixyz("process", "-n", "sleep", "-p", '{"t": 0}', "-b").stdout.strip() for _ in range(3)][::-1]
    assert [job["uuid"] for job in json.loads(pixyz("jobs").stdout)["jobs"]][:3] == uuids
    rest = json.loads(pixyz("jobs", "--limit", "2", "--after", uuids[0]).stdout)
    assert [job["uuid"] for job in rest["jobs"]] == uuids[1:]


MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a script that is not there": (("exec", "-s", "none.py"), 2, "none.py"),
    "params that are not JSON": (("exec", "-s", SLEEP, "-p", "{t: 1}"), 2, "column 2"),
    "an unknown entrypoint": (("exec", "-s", SLEEP, "-e", "mian"), 1, "mian"),
    "an unknown queue": (("exec", "-s", SLEEP, "-q", "express"), 1, "express"),
    "an unknown process": (("process", "-n", "nothing"), 1, "nothing"),
    "an unknown job": (("status", "-j", "00000000-0000-4000-8000-000000000000"), 1, "404"),
    "an unknown command": (("exce",), 2, "exce"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_given_a_mistake_when_typed_then_a_sentence_and_an_exit_code(pixyz: Pixyz, case: str) -> None:
    """Never a traceback."""
    arguments, code, word = MISTAKES[case]
    done = pixyz(*arguments, code=code)
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_given_a_platform_that_is_up_when_started_again_then_it_says_so(platform: TestPlatform, pixyz: Pixyz) -> None:
    """Quickly, and the one that runs is not touched."""
    began = time.monotonic()
    done = pixyz("up", "--detach", "--port", str(platform.port), code=1)
    assert "up already" in done.stderr
    assert time.monotonic() - began < 10
    assert "server" in pixyz("version").stdout
