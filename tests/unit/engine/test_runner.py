"""The runner, without any cluster: one attempt in this process or in a child of it."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pixyz_ray import runner
from pixyz_ray.outcome import Outcome
from pixyz_ray.runner import RunSpec, run
from pixyz_ray.storage import JobFolder
from pixyz_worker.kernel import session
from tests.waiting import wait_until


class Job:
    """A staged job, to be run here."""

    def __init__(self, share: Path, source: str, **spec: Any) -> None:
        self.folder = JobFolder(share, str(uuid4()))
        self.folder.stage("job.py", source.encode())
        values: dict[str, Any] = {
            "uuid": self.folder.uuid,
            "attempt": 1,
            "share": str(share),
            "script": "job.py",
            "digest": hashlib.sha256(source.encode()).hexdigest(),
            "entrypoint": "main",
            "params": {},
        }
        self.spec = RunSpec(**{**values, **spec})
        self.events: list[Mapping[str, Any]] = []

    def run(self, attempt: int = 1) -> Outcome:
        """Run an attempt."""
        return run(replace(self.spec, attempt=attempt), self.events.append)[0]

    @property
    def log(self) -> str:
        """What was printed."""
        return self.folder.log.read_text()


def test_given_a_script_when_run_then_its_result_steps_and_output_are_told(tmp_path: Path) -> None:
    """The events come in order; the outcome has everything again."""
    source = (
        "def main(pc, params):\n    pc.progress_set_total(1)\n    pc.progress_next('one')\n    print('hello')\n"
        "    open(pc.get_output_dir('x'), 'w').close()\n    return params\n"
    )
    job = Job(tmp_path, source, params={"a": [1]})
    outcome = job.run()
    assert (outcome.ok, outcome.result, outcome.error, outcome.failure) == (True, {"a": [1]}, None, None)
    assert [event["kind"] for event in job.events] == ["started", "total", "step", "stop"]
    assert (outcome.total, [info for info, _ in outcome.steps]) == (1, ["one"])
    assert outcome.started <= outcome.stopped
    assert job.log == "hello\n"
    assert job.folder.list_outputs() == ["x"]


@pytest.mark.parametrize(
    ("body", "failure", "last_line"),
    [
        ("raise ValueError('x')", "user_error", "ValueError: x"),
        ("import sys; sys.exit(3)", "exit", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "user_error", "KeyboardInterrupt"),
        ("return {1: 2}", "user_error", "The result is not JSON: a key of result is 1 of type int, not a string."),
        ("raise GeneratorExit", "user_error", "GeneratorExit"),
        (
            "from pixyz_worker.exception import UnsupportedFormat; raise UnsupportedFormat('no reader')",
            "bad_input",
            "pixyz_worker.exception.UnsupportedFormat: no reader",
        ),
        (
            "from pixyz_worker.exception import LicenseUnavailable; raise LicenseUnavailable('no seat')",
            "license",
            "pixyz_worker.exception.LicenseUnavailable: no seat",
        ),
        ("raise OSError(28, 'No space left on device')", "internal", "OSError: [Errno 28] No space left on device"),
        ("raise OSError(2, 'No such file')", "user_error", "FileNotFoundError: [Errno 2] No such file"),
    ],
)
def test_given_a_script_that_fails_when_run_then_the_outcome_says_so(
    tmp_path: Path, body: str, failure: str, last_line: str
) -> None:
    """Nothing that a script raises leaves the runner."""
    outcome = Job(tmp_path, f"def main(pc, params):\n    {body}\n").run()
    assert (outcome.ok, outcome.failure, outcome.result) == (False, failure, None)
    assert (outcome.error or "").splitlines()[-1] == last_line
    assert outcome.sentence


def test_given_a_script_that_fails_when_run_then_a_sentence_and_its_last_lines_go_with_it(tmp_path: Path) -> None:
    """What happened, what to do, and what it printed last."""
    job = Job(tmp_path, "def main(pc, params):\n    print('so far')\n    raise KeyError('bolt')\n")
    outcome = job.run()
    assert "The script raised KeyError: 'bolt'" in str(outcome.sentence)
    assert "python job.py" in str(outcome.sentence)
    assert str(outcome.log).splitlines()[0] == "so far"
    good = Job(tmp_path, "def main(pc, params):\n    print('so far')\n").run()
    assert (good.sentence, good.log) == (None, None)


def test_given_a_second_attempt_when_run_then_it_writes_to_a_folder_of_its_own(tmp_path: Path) -> None:
    """One that was given up for lost may still write to the first."""
    source = "def main(pc, params):\n    open(pc.get_output_dir(f'{pc[\"retry\"]}.txt'), 'w').close()\n"
    job = Job(tmp_path, source)
    for attempt in (1, 3):
        assert job.run(attempt).ok
        assert job.folder.list_outputs() == [f"{attempt - 1}.txt"]


def test_given_several_archives_when_a_script_opens_one_after_another_then_it_gets_the_files_of_each(
    tmp_path: Path,
) -> None:
    """Also where the same path is another archive later, and where the task before has unpacked its input."""
    source = """
import zipfile
from pathlib import Path

def packed(path, text):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("part.step", text)
    return path

def main(pc, params):
    seen = []
    for name, text in (("a", "one"), ("b", "another"), ("a", "a third")):
        pc["data"] = packed(pc.get_output_dir(f"{name}.zip"), text)
        seen.append(Path(pc.get_input_file()).read_text())
        seen.append(Path(pc.get_input_file()).read_text())
    return seen
"""
    for config in ({}, {"input_dir": "another-job/inputs/extracted"}):
        job = Job(tmp_path, source, config=config)
        outcome = job.run()
        assert outcome.result == ["one", "one", "another", "another", "a third", "a third"], outcome.error
        assert job.folder.list_outputs() == ["a.zip", "b.zip"]


def test_given_a_script_when_it_asks_if_it_is_cancelled_then_it_is_not(tmp_path: Path) -> None:
    """Without a watchdog nobody stops it."""
    assert Job(tmp_path, "def main(pc, params):\n    return pc.cancelled()\n").run().result is False


def test_given_two_jobs_when_run_one_after_the_other_then_the_second_finds_a_clean_process(tmp_path: Path) -> None:
    """Folder, arguments, environment, modules beside the script."""
    here, arguments, path = Path.cwd(), list(sys.argv), list(sys.path)
    spoil = (
        "import os, sys\nos.environ['SPOILED'] = '1'\n"
        "def main(pc, params):\n    os.chdir('/')\n    sys.path.append('/x')\n"
    )
    first = Job(tmp_path, spoil)
    (first.folder.script / "beside.py").write_text("X = 1\n")
    assert first.run().ok
    source = (
        "import os\nimport beside\n"
        "def main(pc, params):\n    return [beside.X, os.environ.get('SPOILED'), os.getcwd()]\n"
    )
    second = Job(tmp_path, source)
    (second.folder.script / "beside.py").write_text("X = 2\n")
    assert second.run().result == [2, None, str(second.folder.path)]
    assert (Path.cwd(), sys.argv, sys.path) == (here, arguments, path)


SCENES = """
from pixyz_worker.kernel import session
from pixyz_worker.kernel.scene import Occurrence, Scene

def main(pc, params):
    found = len(session.scenes())
    session.add(Scene(name="a", root=Occurrence()))
    return [found, len(session.scenes())]
"""


def test_given_calls_in_one_part_when_run_then_none_sees_what_another_has_imported(tmp_path: Path) -> None:
    """Nor does the next job, or the worker itself."""
    call = {"entrypoint": "main", "params": {}, "config": {"raw": True}}
    assert Job(tmp_path, SCENES, calls=[call] * 3).run().result == [[0, 1]] * 3
    assert Job(tmp_path, SCENES).run().result == [0, 1]
    assert session.scenes() == ()


def test_given_a_child_process_when_it_prints_then_it_is_in_the_log(tmp_path: Path) -> None:
    """Both descriptors, in order, from either language."""
    source = (
        "import os, subprocess\ndef main(pc, params):\n    print('one')\n"
        "    subprocess.run(['sh', '-c', 'echo two; echo three >&2'])\n    os.write(2, b'four\\n')\n"
    )
    job = Job(tmp_path, source)
    job.run()
    assert job.log.split() == ["one", "two", "three", "four"]


def test_given_a_second_attempt_when_run_then_the_log_shows_where_it_begins(tmp_path: Path) -> None:
    """And the script knows that it is one."""
    job = Job(tmp_path, "def main(pc, params):\n    print('run')\n    return pc['retry']\n")
    assert [job.run(1).result, job.run(2).result] == [0, 1]
    assert job.log == "run\n--- attempt 2 ---\nrun\n"


def test_given_an_attempt_that_still_runs_when_the_next_begins_then_it_waits_for_its_end(tmp_path: Path) -> None:
    """Two attempts never write the same outputs at once."""
    job = Job(tmp_path, "def main(pc, params):\n    return 'second'\n")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom pixyz_ray.sandbox import only_one\n"
        "with only_one(Path(sys.argv[1]), sys.argv[2]):\n    print('held', flush=True)\n    time.sleep(0.5)\n"
    )
    command = [sys.executable, "-c", code, str(job.folder.lock), job.folder.uuid]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        began = time.monotonic()
        assert job.run(2).result == "second"
        assert time.monotonic() - began > 0.2


_STUBBORN = """
import sys, time
from pathlib import Path

def main(pc, params):
    own = Path(pc.get_output_dir("part.txt"))
    end = time.monotonic() + (3 if pc["retry"] == 0 else 0.1)
    print("begun", pc["retry"])
    while True:
        own.write_text(f"attempt {pc['retry'] + 1}")
        Path("scratch.txt").write_text(f"attempt {pc['retry'] + 1}")
        print("at work", pc["retry"])
        if time.monotonic() > end:
            return own.read_text(), Path("scratch.txt").read_text()
        time.sleep(0.02)
"""


def test_given_a_frozen_attempt_when_the_next_runs_and_the_first_thaws_then_it_has_changed_nothing(
    tmp_path: Path,
) -> None:
    """Given an attempt that is stopped in its middle, when the next one may overlap, then it does not wait.

    What the first writes when it is let go on is in nothing that counts.
    """
    job = Job(tmp_path, _STUBBORN)
    code = (
        "import json, sys\nfrom pixyz_ray.runner import RunSpec, run\n"
        "outcome, _ = run(RunSpec(**json.loads(sys.argv[1])), lambda event: None)\nsys.exit(not outcome.ok)\n"
    )
    spec = {name: getattr(job.spec, name) for name in ("uuid", "attempt", "share", "script", "digest", "entrypoint")}
    with subprocess.Popen([sys.executable, "-c", code, json.dumps({**spec, "params": {}})]) as first:
        wait_until(lambda: "at work" in job.log, "the first attempt is at work")
        first.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        second = run(replace(job.spec, attempt=2, may_overlap=True), job.events.append)[0]
        assert time.monotonic() - began < 2
        assert (second.ok, second.result) == (True, ["attempt 2", "attempt 2"])
        log = job.log
        assert log.partition("--- attempt 2 ---")[0].startswith("begun 0\nat work 0\n")
        first.send_signal(signal.SIGCONT)
        assert first.wait(20) == 0
    assert job.log == log
    assert (job.folder.outputs / "part.txt").read_text() == "attempt 2"
    assert job.folder.list_outputs() == ["part.txt"]


def test_given_an_attempt_that_holds_its_lock_when_the_next_has_waited_then_it_is_fenced_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an attempt that never ends, when the next one has waited, then it runs in another folder."""
    monkeypatch.setattr(runner, "_LOCK_PATIENCE_S", 0.1)
    job = Job(tmp_path, "import os\ndef main(pc, params):\n    return os.getcwd(), os.path.realpath('inputs')\n")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom pixyz_ray.sandbox import only_one\n"
        "with only_one(Path(sys.argv[1]), sys.argv[2]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(job.folder.lock), job.folder.uuid]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert job.run(2).result == [f"{job.folder.name}/.attempt-2", str(job.folder.inputs)]
        holder.kill()


def test_given_a_process_that_is_told_to_end_when_a_script_runs_then_there_is_no_outcome(tmp_path: Path) -> None:
    """The platform is being stopped: whatever the script makes of it, the attempt will be run again."""
    before = signal.getsignal(signal.SIGTERM)
    source = (
        "import os, time\ndef main(pc, params):\n    try:\n        os.kill(os.getpid(), 15)\n        time.sleep(5)\n"
        "    except BaseException:\n        return 'I am fine'\n"
    )
    job = Job(tmp_path, source)
    with pytest.raises(SystemExit):
        job.run()
    assert signal.getsignal(signal.SIGTERM) is before
