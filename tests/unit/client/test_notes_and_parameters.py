"""Notes of jobs, strict submissions, lists of jobs, and parameters of processes on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pixyz_ray.cli import ask
from pixyz_ray.cli.app import cli
from pixyz_ray.processes import process_help
from pixyz_ray.settings import Settings

EARLY = "'qualty' is not a parameter of convert_file. Did you mean 'quality'?"
LATE = "There is no GPU: it ran on CPU."
NOTES = [f"Note: {EARLY}", f"Note: {LATE}"]


@pytest.fixture
def run(peer: Any, server_kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command line in a folder with files to send."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.py").write_text("def main(pc, params): ...")
    (tmp_path / "bolt.step").write_text("ISO-10303-21;")

    def run(line: str) -> Result:
        return CliRunner().invoke(cli, ["-u", peer.url, "-k", server_kit.TOKEN, *line.split()])

    return run


def test_given_notes_when_watched_then_each_is_printed_once(run: Any, peer: Any, server_kit: Any) -> None:
    """What is known after the submission comes below `started`, the rest at the end."""
    peer.notes = [[EARLY], [EARLY, LATE]]
    result = run("process -n convert_file -w")
    shown = result.stdout.replace(server_kit.UUID, "UUID").splitlines()
    assert shown[-4:] == [
        "Job [ UUID ] started",
        NOTES[0],
        "Job [ UUID ] progress: 100, status: SUCCESS [⏳]",
        NOTES[1],
    ]
    assert result.stderr == ""


@pytest.mark.parametrize("flags", ["-b", "-bw", "-r", "-rw", "--json", "-w --json"])
def test_given_a_program_that_reads_when_there_are_notes_then_they_are_on_standard_error(
    run: Any, peer: Any, flags: str
) -> None:
    """Standard output stays what it was."""
    peer.notes = [[EARLY, LATE]]
    result = run(f"exec -s s.py {flags}")
    assert result.stderr.splitlines() == NOTES
    assert "Note:" not in result.stdout


def test_given_a_job_that_failed_when_watched_then_notes_follow_the_traceback(
    run: Any, peer: Any, server_kit: Any
) -> None:
    """Also where the watch begins later."""
    peer.error = "Traceback\nValueError: no"
    peer.events = [server_kit.status("FAILURE", 0, peer.error)]
    peer.notes = [[LATE]]
    assert run(f"status -j {server_kit.UUID} -w").stdout.splitlines()[-2:] == ["ValueError: no", NOTES[1]]
    peer.notes = [[], [LATE]]
    assert run("convert -i bolt.step").stdout.splitlines()[-2:] == ["ValueError: no", NOTES[1]]


TIMEOUT = {"number": 1, "queue": "cpu", "failure": "timeout", "error": "PixyzTimeout: It was ended after 1 s."}
ASKED = {"number": 2, "queue": "gpuhigh", "failure": "retry", "error": "Retry: later"}
LONG = {"number": 3, "queue": "gpuhigh", "failure": "crash", "error": "Traceback\n" + 400 * "x"}
LAST = {"number": 4, "queue": "gpuhigh", "failure": None, "error": None}
ENDED = "Note: Attempt 1 on queue cpu ended: timeout (PixyzTimeout: It was ended after 1 s.). "


@pytest.mark.parametrize(
    ("attempts", "notes"),
    [
        ([TIMEOUT], []),
        ([TIMEOUT, LAST], [f"{ENDED}The job was tried again on gpuhigh."]),
        ([ASKED, LAST], []),
        (
            [TIMEOUT, LONG, LAST],
            [
                f"{ENDED}The job was tried again on gpuhigh.",
                f"Note: Attempt 3 on queue gpuhigh ended: crash ({300 * 'x'}...). The job was tried again on gpuhigh.",
            ],
        ),
        (
            [{**TIMEOUT, "error": None}, LAST],
            ["Note: Attempt 1 on queue cpu ended: timeout. The job was tried again on gpuhigh."],
        ),
    ],
)
@pytest.mark.parametrize("flags", ["-w", "-bw", "-rw"])
def test_given_attempts_that_failed_when_watched_then_each_is_a_note(
    run: Any, peer: Any, attempts: list[dict[str, Any]], notes: list[str], flags: str
) -> None:
    """The job may have succeeded at last; where a program reads standard output they are on standard error."""
    peer.attempts = attempts
    result = run(f"exec -s s.py {flags}")
    printed = result.stdout if flags == "-w" else result.stderr
    assert [line for line in printed.splitlines() if line.startswith("Note:")] == notes
    assert result.exit_code == 0


def test_given_a_server_that_refuses_details_when_a_job_is_sent_then_it_is_sent(
    run: Any, peer: Any, server_kit: Any
) -> None:
    """Notes are an extra; the job is accepted."""
    peer.answers[f"/jobs/{server_kit.UUID}/details"] = [server_kit.refusal(503, "busy")] * 2
    assert run("exec -s s.py -w").exit_code == 0
    peer.answers[f"/jobs/{server_kit.UUID}/details"] = [server_kit.refusal(503, "busy")]
    assert json.loads(run("exec -s s.py -r").stdout.partition("started\n")[2])["uuid"] == server_kit.UUID


def test_given_a_note_with_control_characters_when_printed_then_the_cursor_stays(run: Any, peer: Any) -> None:
    """A note quotes what somebody typed."""
    peer.notes = [["'a\x1b[2J\nb' is not a parameter."]]
    assert "Note: 'a�[2J�b' is not a parameter.\n" in run("exec -s s.py").stdout


@pytest.mark.parametrize(
    "line",
    ["exec -s s.py", "process -n sleep", "convert -i bolt.step", "thumbnails -i bolt.step", "metadata -i bolt.step"],
)
def test_given_strict_when_a_job_is_sent_then_the_server_is_told(run: Any, peer: Any, line: str) -> None:
    """Without it the config is that of the old client."""
    peer.files = {"metadata.json": b"{}"}
    assert run(line).exit_code == 0
    assert json.loads(peer.form["config"]) == {}
    assert run(f"{line} --strict -a mine -l 2.5").exit_code == 0
    assert json.loads(peer.form["config"]) == {"time_limit": 2.5, "strict": True}
    assert peer.form["name"] == "mine"


@pytest.mark.parametrize("text", ["[1,2]", "null", "3", '"a"', "true"])
def test_given_any_json_when_it_is_typed_then_it_is_sent_and_shown(run: Any, peer: Any, text: str) -> None:
    """Params need not be an object."""
    result = run(f"exec -s s.py -p {text}")
    assert json.loads(peer.form["params"]) == json.loads(text)
    assert f"- script params:  {json.dumps(json.loads(text))}\n" in result.stdout


def test_given_many_jobs_when_listed_then_all_are_printed_as_one_document(run: Any, peer: Any) -> None:
    """Each request has a limit; the layout is that of JSON indented by 4."""
    peer.listed = [{**peer.state(), "uuid": str(number), "name": None} for number in range(1200)]
    result = run("jobs")
    assert result.stdout == json.dumps({"jobs": peer.listed, "next": None}, indent=4) + "\n"
    assert [request.query_params["limit"] for request in peer.asked("/jobs")] == ["1000", "1000"]
    some = json.loads(run("jobs --limit 2 --after 5").stdout)
    assert ([job["uuid"] for job in some["jobs"]], some["next"]) == (["6", "7"], "7")
    peer.listed = []
    assert run("jobs").stdout == json.dumps({"jobs": [], "next": None}, indent=4) + "\n"


def test_given_a_job_without_name_when_listed_why_it_waits_then_its_script_is_shown(run: Any, peer: Any) -> None:
    """`name` is null for a job without an alias."""
    why = {"position": 1, "reason": "r", "expected_start": None}
    peer.listed = [{**peer.state(), "name": None, "script": "part.py", "process": "custom", "waiting": why}]
    assert run("jobs --why").stdout.splitlines()[1].split()[2] == "part.py"


PARAMETERS = [
    {"name": "t", "type": "number", "default": 0.1, "doc": "seconds to sleep"},
    {"name": "unit", "type": "text", "default": None, "doc": "of what has no \x1b[2J unit"},
]


def test_given_parameters_when_a_process_is_documented_then_text_has_a_table(
    run: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal without being asked; a program gets the server's JSON."""
    peer.parameters = PARAMETERS
    assert json.loads(run("doc -n sleep").stdout)["parameters"] == PARAMETERS
    text = run("doc -n sleep --text").stdout
    assert text.startswith("Process 'sleep' documentation:\n\nSleeps.\n\n")
    rows = [line.rstrip().split(maxsplit=3) for line in text.splitlines()[4:]]
    assert rows == [
        ["parameter", "type", "default", "meaning"],
        ["t", "number", "0.1", "seconds to sleep"],
        ["unit", "text", "-", "of what has no �[2J unit"],
    ]
    monkeypatch.setattr(ask, "stdout_is_terminal", lambda: True)
    assert run("doc -n sleep").stdout == text
    assert json.loads(run("doc -n sleep --json").stdout)["parameters"] == PARAMETERS


def test_given_a_section_of_parameters_when_a_process_is_documented_then_each_is_there_once(
    run: Any, peer: Any
) -> None:
    """The table replaces the section; the rest of the text stays."""
    process = process_help("convert_file", Settings(_env_file=None))  # type: ignore[call-arg]
    peer.doc, peer.parameters = process["doc"], process["parameters"]
    text = run("doc -n convert_file --text").stdout
    assert text.count("name of the output file, without its extension") == 1
    assert "Parameters:" not in text
    assert "an input that names none. Without it" in text
    assert all(
        section in text for section in ("Input: one 3D file", "Outputs: FILENAME", "Example:\n    pixyz process")
    )
    assert "\n\n\n" not in text
    peer.parameters = None
    assert "Parameters:\n    extension (text" in run("doc -n convert_file --text").stdout


@pytest.mark.parametrize("parameters", [None, []])
def test_given_no_parameters_when_a_process_is_documented_then_there_is_no_table(
    run: Any, peer: Any, parameters: Any
) -> None:
    """An older server says nothing of them."""
    peer.parameters = parameters
    assert run("doc -n sleep --text").stdout == "Process 'sleep' documentation:\n\nSleeps.\n"


def test_given_a_refusal_when_strict_then_the_servers_hint_is_shown(run: Any, peer: Any, server_kit: Any) -> None:
    """The nearest name is the server's to find: it knows the parameters."""
    peer.answers["/jobs"] = [server_kit.refusal(400, EARLY)]
    result = run("process -n convert_file --strict")
    assert (result.exit_code, EARLY in result.stderr) == (1, True)
