"""The commands, against a server of the contract."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pixyz_ray.cli import screen
from pixyz_ray.cli.app import cli
from pixyz_ray.cli.watch import EXIT_CODES, exit_code


@pytest.fixture
def run(peer: Any, server_kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command line in a folder of its own; returns click's result."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sleep.py").write_text("def main(pc, params): ...")
    (tmp_path / "bolt.step").write_text("ISO-10303-21;")

    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["-u", peer.url, "-k", server_kit.TOKEN, *words], input=stdin)

    return run


def lines(result: Result, server_kit: Any) -> list[str]:
    """Standard output with the job's id as `UUID`."""
    return str(result.stdout).replace(server_kit.UUID, "UUID").splitlines()


HEADER = [
    "-------- New PixyzScheduler Job ---------",
    "- script file:  'sleep.py'",
    "- script params:  {}",
    '- worker config:  {"entrypoint": "main", "queue": null, "time_limit": 3600}',
    "-  watch status:  True",
    "-----------------------------------------",
    f"Uploading: [{'█' * 30}] 100.0%",
    "Job [ UUID ] started",
]


def test_exec_shows_the_header_of_the_contract(run: Any, server_kit: Any, peer: Any) -> None:
    """Given a no-op, when it is run with -rw, then the output is the contract's, and the details are JSON."""
    peer.events = [server_kit.status(word) for word in ("PENDING", "RUNNING")] + peer.events
    result = run("exec", "-s", "sleep.py", "-rw")
    shown = lines(result, server_kit)
    assert shown[: len(HEADER)] == HEADER
    assert shown[len(HEADER)] == "Job [ UUID ] progress: 100, status: SUCCESS [⏳]"
    assert json.loads("\n".join(shown[len(HEADER) + 1 :]))["status"] == "SUCCESS"
    assert (result.exit_code, result.stderr) == (0, "")


def test_only_what_is_given_is_sent(run: Any, peer: Any) -> None:
    """Given no options, when a script is sent, then the platform is left to decide; given some, they are sent."""
    assert run("exec", "-s", "sleep.py").exit_code == 0
    assert json.loads(peer.form["config"]) == {}
    run("exec", "-s", "sleep.py", "-e", "other", "-q", "gpu", "-l", "60", "-a", "mine", "-i", "bolt.step")
    assert json.loads(peer.form["config"]) == {"entrypoint": "other", "queue": "gpu", "time_limit": 60}
    assert peer.form["name"] == "mine"
    assert peer.form["file"][0] == "bolt.step"


def test_each_step_is_a_line(run: Any, server_kit: Any, peer: Any) -> None:
    """Given two steps and a log, when the job is watched, then each step is shown, and the last one at the end."""
    peer.events = [
        server_kit.status("RUNNING", 0),
        server_kit.step(0, "Step 1", 0),
        server_kit.log("printed\n"),
        server_kit.step(0, "Step 1", 0, 0.1),
        server_kit.step(1, "Step 2", 50),
        server_kit.step(1, "Step 2", 50, 0.1),
        server_kit.status("SUCCESS", 100),
    ]
    expected = [
        "Job [ UUID ] progress: 0, status: RUNNING (Step 1) [⏳]",
        "Job [ UUID ] progress: 50, status: RUNNING (Step 2) [⏳]",
        "Job [ UUID ] progress: 100, status: SUCCESS (Step 2) [⏳]",
    ]
    assert lines(run("process", "-n", "sleep", "-w"), server_kit)[-3:] == expected
    assert lines(run("status", "-j", server_kit.UUID, "-w"), server_kit) == expected
    with_logs = lines(run("exec", "-s", "sleep.py", "-w", "--logs"), server_kit)
    assert with_logs[-4:] == [expected[0], "printed", *expected[1:]]


def test_a_step_too_short_to_be_seen_begin_is_a_line_too(run: Any, server_kit: Any, peer: Any) -> None:
    """Given a step that is told only once it has ended, when the job is watched, then it is shown."""
    peer.events = [server_kit.step(0, "Blink", 0, 0.001), server_kit.status("SUCCESS", 100)]
    assert lines(run("exec", "-s", "sleep.py", "-w"), server_kit)[-2:] == [
        "Job [ UUID ] progress: 0, status: RUNNING (Blink) [⏳]",
        "Job [ UUID ] progress: 100, status: SUCCESS (Blink) [⏳]",
    ]


def test_a_failure_shows_its_traceback_and_exits_with_10(run: Any, server_kit: Any, peer: Any) -> None:
    """Given a script that fails, when it is watched, then the traceback follows the last line."""
    peer.error = "Traceback (most recent call last):\nAttributeError: no"
    peer.events = [server_kit.status("FAILURE", 0, peer.error)]
    result = run("exec", "-s", "sleep.py", "-w")
    assert lines(result, server_kit)[-3:] == [
        "Job [ UUID ] progress: 0, status: FAILURE [⌛]",
        "Traceback (most recent call last):",
        "AttributeError: no",
    ]
    assert result.exit_code == 10


@pytest.mark.parametrize(("word", "code"), [("SUCCESS", 0), ("FAILURE", 10), ("REVOKED", 11)])
def test_batch_leaves_with_the_status(run: Any, server_kit: Any, peer: Any, word: str, code: int) -> None:
    """Given -b -w, when the job ends, then nothing is printed and the exit code says how."""
    peer.events = [server_kit.status(word, 0, "why" if code else None)]
    result = run("exec", "-s", "sleep.py", "-bw")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "why\n" if code else "")


def test_exit_codes_are_the_contracts() -> None:
    """Given a status word, when it becomes an exit code, then the contract's table decides."""
    assert list(EXIT_CODES.values()) == [0, 10, 11, 12, 13, 14, 15, 16]
    assert exit_code("ELSE") == 17


def test_batch_prints_the_id_alone(run: Any, server_kit: Any) -> None:
    """Given -b, when a job is sent, then its id is all that is printed."""
    assert run("exec", "-s", "sleep.py", "-b").stdout == f"{server_kit.UUID}\n"


def test_json_is_one_document(run: Any, server_kit: Any) -> None:
    """Given --json, when commands are run that speak to people, then they print JSON alone."""
    for words in (
        ["exec", "-s", "sleep.py", "-w", "--json"],
        ["exec", "-s", "sleep.py", "-rw", "--json"],
        ["process", "-n", "sleep", "--json"],
        ["version", "--json"],
    ):
        json.loads(run(*words).stdout)


def test_the_token_goes_before_or_after(peer: Any, server_kit: Any) -> None:
    """Given the token at either place by either name, when a job is asked for, then the server takes it."""
    job, url, token = ["status", "-j", server_kit.UUID], ["-u", peer.url], server_kit.TOKEN
    for words in (
        [*url, "-k", token, *job],
        [*url, *job, "-t", token],
        [*url, "--key", token, *job],
        [*job, *url, "--token", token],
    ):
        assert CliRunner().invoke(cli, words).exit_code == 0
    refused = CliRunner().invoke(cli, [*url, *job, "-t", "wrong"])
    assert refused.exit_code == 1
    assert "missing or wrong token (HTTP 401)" in refused.stderr
    assert "PIXYZ_TOKEN" in refused.stderr


def test_questions_print_json_as_the_tutorial(run: Any, server_kit: Any, peer: Any) -> None:
    """Given plain questions, when they are asked, then the answers are JSON indented by 4."""
    peer.files["a.glb"] = b""
    peer.result = 3
    assert run("list").stdout == '{\n    "processes": [\n        "convert_file",\n        "sleep"\n    ]\n}\n'
    assert json.loads(run("doc", "-n", "sleep").stdout)["doc"].startswith("Process 'sleep'")
    assert run("doc", "-n", "sleep", "--text").stdout.endswith("\n\nSleeps.\n")
    assert json.loads(run("jobs", "--status", "failure", "--limit", "2").stdout)["jobs"] == [peer.state()]
    assert dict(peer.requests[-1].query_params) == {"status": "FAILURE", "limit": "2"}
    assert json.loads(run("status", "-j", server_kit.UUID).stdout) == peer.state()
    assert json.loads(run("details", "-j", server_kit.UUID).stdout)["result"] == 3
    assert json.loads(run("outputs", "-j", server_kit.UUID).stdout) == {"outputs": ["a.glb"]}
    assert json.loads(run("cancel", "-j", server_kit.UUID).stdout)["status"] == "REVOKED"
    assert "server: 9.8.7" in run("version").stdout


def test_logs_are_printed_as_they_are(run: Any, server_kit: Any, peer: Any) -> None:
    """Given a log without a last newline, when it is printed, then nothing is added."""
    peer.log = b"one\ntwo"
    assert run("logs", "-j", server_kit.UUID, "-f").stdout == "one\ntwo"


@pytest.mark.parametrize("name", ["download_all", "downloadall", "download-all"])
def test_the_archive_has_three_names(run: Any, server_kit: Any, peer: Any, tmp_path: Path, name: str) -> None:
    """Given any spelling, when the archive is fetched, then it is where it was wanted."""
    result = run(name, "-j", server_kit.UUID, "-o", "all.zip")
    assert (result.exit_code, result.stdout) == (0, "Saved all.zip\n")
    assert (tmp_path / "all.zip").read_bytes() == peer.archive


def test_download_fetches_one_file(run: Any, server_kit: Any, peer: Any, tmp_path: Path) -> None:
    """Given an output, when it is fetched, then it is where it was wanted, and --json gives its size."""
    peer.files["output.glb"] = b"glTF"
    result = run("download", "-j", server_kit.UUID, "-f", "output.glb", "-o", "b.glb", "--json")
    assert json.loads(result.stdout) == {"file": "b.glb", "bytes": 4}
    assert run("download", "-j", server_kit.UUID, "-f", "output.glb").stdout == "Saved output.glb\n"
    missing = run("download", "-j", server_kit.UUID, "-f", "none")
    assert (missing.exit_code, "no output none (HTTP 404)" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "params", "saved"),
    [
        (["-o", "bolt.glb"], {"extension": "glb", "filename": "bolt"}, "bolt.glb"),
        (["-p", '{"extension": "obj"}', "-o", "x.bin"], {"extension": "obj", "filename": "x"}, "x.bin"),
        (["-p", '{"filename": "y"}', "-o", "sub/x.glb"], {"extension": "glb", "filename": "y"}, "sub/x.glb"),
        (["-o", "x"], {"filename": "x"}, "x"),
        (["-o", ".x.glb"], {"extension": "glb"}, ".x.glb"),
        (["-o", "new/"], {}, "new/output.glb"),
        (["-o", "new/in.new/"], {}, "new/in.new/output.glb"),
        ([], {}, "output.glb"),
    ],
)
def test_convert_sends_and_fetches(
    run: Any, peer: Any, tmp_path: Path, words: list[str], params: Any, saved: str
) -> None:
    """Given a file, when it is converted, then the process gets the format, and all that it made is fetched."""
    peer.files = {"extra.txt": b"more", "output.glb": b"glTF"}
    peer.result = {"output": "output.glb"}
    result = run("convert", "-i", "bolt.step", *words)
    assert result.exit_code == 0
    assert peer.form["process"] == "convert_file"
    assert json.loads(peer.form["params"]) == params
    assert result.stdout.endswith(f"Saved {saved}\n")
    assert (tmp_path / saved).read_bytes() == b"glTF"
    assert (tmp_path / saved).with_name("extra.txt").read_bytes() == b"more"


@pytest.mark.parametrize("exists", [True, False])
def test_a_separator_at_the_end_names_a_folder(
    run: Any, server_kit: Any, peer: Any, tmp_path: Path, exists: bool
) -> None:
    """Given a folder that may not exist, when a command fetches into it, then it is made and files keep their names."""
    if exists:
        (tmp_path / "new").mkdir()
    peer.files = {"metadata.json": b"{}", "iso.png": b"PNG"}
    commands = (
        "metadata -i bolt.step",
        "thumbnails -i bolt.step",
        "download -j UUID -f iso.png",
        "download_all -j UUID",
    )
    saved = []
    for command in commands:
        result = run(*command.replace("UUID", server_kit.UUID).split(), "-o", "new/")
        assert result.exit_code == 0, result.output
        saved += [line.removeprefix("Saved ") for line in result.stdout.splitlines() if line.startswith("Saved ")]
    assert set(saved) == {"new/metadata.json", "new/iso.png", f"new/{server_kit.UUID}.zip"}
    assert all((tmp_path / path).is_file() for path in saved)


def test_a_file_is_no_folder(run: Any, server_kit: Any, peer: Any, tmp_path: Path) -> None:
    """Given a file where a folder is named, when an output is fetched, then an error says so and the file stays."""
    (tmp_path / "file").write_text("mine")
    peer.files = {"iso.png": b"PNG"}
    result = run("download", "-j", server_kit.UUID, "-f", "iso.png", "-o", "file/")
    assert (result.exit_code, "Cannot write file/iso.png" in result.stderr) == (2, True)
    assert (tmp_path / "file").read_text() == "mine"


def test_thumbnails_and_metadata_are_fetched(run: Any, peer: Any, tmp_path: Path) -> None:
    """Given what the processes made, when the commands end, then the files are there."""
    peer.files = {"a/front.png": b"PNG", "back.png": b"PNG"}
    result = run("thumbnails", "-i", "bolt.step", "-o", "pictures", "--json")
    assert json.loads(result.stdout)["files"] == ["pictures/a/front.png", "pictures/back.png"]
    peer.files = {"metadata.json": b"{}"}
    assert run("metadata", "-i", "bolt.step", "-o", "bolt.json").exit_code == 0
    assert (tmp_path / "bolt.json").read_bytes() == b"{}"


def test_an_output_outside_its_folder_is_refused(run: Any, peer: Any, tmp_path: Path) -> None:
    """Given a server that names a path outside, when it would be fetched, then nothing is written."""
    peer.files = {"../evil.png": b""}
    result = run("thumbnails", "-i", "bolt.step", "-o", "pictures")
    assert (result.exit_code, "outside its folder" in result.stderr) == (1, True)
    assert not (tmp_path / "evil.png").exists()


def test_a_failed_recipe_leaves_with_its_status(run: Any, server_kit: Any, peer: Any) -> None:
    """Given a conversion that fails, when it ends, then nothing is fetched and the exit code says so."""
    peer.error = "InvalidFile: no"
    peer.events = [server_kit.status("FAILURE", 0, peer.error)]
    result = run("convert", "-i", "bolt.step")
    assert (result.exit_code, "InvalidFile: no" in result.stdout) == (10, True)
    assert json.loads(run("convert", "-i", "bolt.step", "--json").stdout)["status"] == "FAILURE"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a" 1}', "line 1, column 6"),
        ('{\n  "a": x\n}', "line 2, column 8"),
        ("", "line 1, column 1"),
        ("[NaN]", "NaN is not JSON"),
        ("@none.json", "cannot read none.json"),
    ],
)
def test_bad_params_are_refused_with_their_place(run: Any, peer: Any, text: str, message: str) -> None:
    """Given JSON that does not parse, when it is a parameter, then nothing is sent and the place is named."""
    result = run("exec", "-s", "sleep.py", "-p", text)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not peer.requests


def test_params_come_from_a_file_or_standard_input(run: Any, peer: Any, tmp_path: Path) -> None:
    """Given parameters elsewhere, when they are named, then they are read from there."""
    (tmp_path / "p.json").write_text('{"from": "file"}')
    run("exec", "-s", "sleep.py", "-p", "@p.json")
    assert json.loads(peer.form["params"]) == {"from": "file"}
    run("exec", "-s", "sleep.py", "-p", "-", stdin='{"from": "stdin"}')
    assert json.loads(peer.form["params"]) == {"from": "stdin"}


@pytest.mark.parametrize(
    ("words", "code"),
    [(["exec"], 2), (["exec", "-s", "none.py"], 2), (["nonsense"], 2), (["status"], 2)],
)
def test_wrong_usage_exits_with_2(run: Any, words: list[str], code: int) -> None:
    """Given a command line that makes no sense, when it is run, then the exit code is 2."""
    assert run(*words).exit_code == code


def test_nobody_there_exits_with_3(closed_url: str) -> None:
    """Given no platform, when it is asked, then one sentence says what to do."""
    jobs = CliRunner().invoke(cli, ["-u", closed_url, "jobs"])
    assert (jobs.stdout, jobs.exit_code) == ("", 3)
    result = CliRunner().invoke(cli, ["-u", closed_url, "list"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "pixyz up" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    """Given a shell, when its completion is asked, then it is a script for `pixyz`."""
    assert "_PIXYZ_COMPLETE" in CliRunner().invoke(cli, ["completion", shell]).stdout


def test_completion_completes(peer: Any) -> None:
    """Given the variable that the shell sets, when the program runs, then it prints candidates."""
    environment = {
        **os.environ,
        "_PIXYZ_COMPLETE": "bash_complete",
        "COMP_WORDS": "pixyz do",
        "COMP_CWORD": "1",
    }
    code = "from pixyz_ray.cli import main; main([])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    words = [line.split(",")[1] for line in done.stdout.splitlines()]
    assert words == ["down", "doctor", "doc", "download", "download_all"]


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Pretend."""
        return True


def test_a_terminal_line_changes_in_place() -> None:
    """Given a terminal, when live lines follow each other, then each replaces the one before, and a line stays."""
    stream = Terminal()
    shown = screen.Screen(stream)
    shown.bar("Uploading", 1, 2)
    shown.bar("Uploading", 1, 2)
    shown.line("done")
    half = f"Uploading: [{'█' * 15}{' ' * 15}] 50.0%"
    assert stream.getvalue() == f"{half}\r{' ' * len(half)}\rdone\n"


def test_a_terminal_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a narrow terminal, when a live line has wide and control characters, then it fits and is cleared whole."""
    monkeypatch.setenv("COLUMNS", "10")
    stream = Terminal()
    shown = screen.Screen(stream)
    shown.live("步骤一二三四五六")
    shown.live("a\x1b[2J\nb")
    shown.close()
    assert stream.getvalue() == "步骤一二\r        \ra�[2J�b\n"


def test_elsewhere_only_lines_that_stay_are_written() -> None:
    """Given a pipe, when live lines come, then they are left out."""
    stream = io.StringIO()
    shown = screen.Screen(stream)
    shown.bar("Uploading", 1, 2)
    shown.line("done")
    shown.close()
    assert stream.getvalue() == "done\n"


def test_an_interrupt_leaves_with_130(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given Ctrl-C, when it comes while a command waits, then it ends quietly with 130."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pixyz_ray.client.Client.processes", interrupt)
    result = run("list")
    assert (result.exit_code, result.stderr) == (130, "\nInterrupted.\n")
    monkeypatch.setattr("pixyz_ray.client.Client.events", interrupt)
    watched = run("exec", "-s", "sleep.py", "-w")
    assert (watched.exit_code, "the job goes on" in watched.stderr) == (130, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("down", "--drain", "x"), "'x' is not a time. Write it as a number of seconds from 0 on, such as 90 or 0.5."),
        (("up", "--replace", "--drain", "-1"), "'-1' is not a time."),
        (("up", "--replace", "--drain", "90000"), "90000 seconds are too long: at most 86400."),
        (("download_all", "-j", "1", "--timeout", "nan"), "'nan' is not a time."),
        (("drain", "b", "--deadline", "0"), "'0' is not a time. Write it as a number of seconds above 0"),
    ],
)
def test_a_time_that_is_none_is_explained(words: tuple[str, ...], message: str) -> None:
    """Given something that is no time, when an option gets it, then the message says how to write one."""
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2
    assert message in result.stderr
