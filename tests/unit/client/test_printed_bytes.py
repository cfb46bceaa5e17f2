"""What the program writes, byte for byte: in a pipe, on a terminal, and where the encoding is not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = [sys.executable, "-m", "pixyz_ray.cli"]
UPLOADED = f"Uploading: [{'█' * 30}] 100.0%"


@pytest.fixture
def environment(peer: Any, server_kit: Any, tmp_path: Path) -> dict[str, str]:
    """Variables of a process that talks to the peer; no encoding is preset."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "s.py").write_text("def main(pc, params): ...")
    given = {"PIXYZ_URL": peer.url, "PIXYZ_TOKEN": server_kit.TOKEN, "COLUMNS": "200"}
    return {**{key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}, **given}


def contract(uuid: str, end: str) -> str:
    """The lines of the contract."""
    return (
        "-------- New PixyzScheduler Job ---------\n"
        "- script file:  'scripts/s.py'\n"
        "- script params:  {}\n"
        '- worker config:  {"entrypoint": "main", "queue": null, "time_limit": 3600}\n'
        "-  watch status:  True\n"
        "-----------------------------------------\n"
        f"{UPLOADED}\n"
        f"Job [ {uuid} ] started\n"
        f"{end}"
    )


def test_given_a_pipe_when_a_job_is_watched_then_each_byte_is_the_contracts(
    environment: dict[str, str], peer: Any, server_kit: Any, tmp_path: Path
) -> None:
    """The header, the upload, the start, and the end with the last step; no escape sequence."""
    peer.events = [server_kit.step(0, "last step", 0), server_kit.status("SUCCESS", 100)]
    command = [*PROGRAM, "exec", "-s", "scripts/s.py", "-w"]
    done = subprocess.run(command, cwd=tmp_path, env={**environment, "PYTHONUTF8": "1"}, capture_output=True)
    step = f"Job [ {server_kit.UUID} ] progress: 0, status: RUNNING (last step) [⏳]\n"
    end = f"Job [ {server_kit.UUID} ] progress: 100, status: SUCCESS (last step) [⏳]\n"
    assert done.stdout.decode() == contract(server_kit.UUID, step + end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_given_a_path_when_the_header_shows_it_then_it_is_as_typed(environment: dict[str, str], tmp_path: Path) -> None:
    """Not tidied up: programs compare it with what they gave."""
    command = [*PROGRAM, "exec", "-s", "./scripts//s.py", "-i", "./scripts/s.py"]
    done = subprocess.run(command, cwd=tmp_path, env={**environment, "PYTHONUTF8": "1"}, capture_output=True)
    shown = done.stdout.decode().splitlines()
    assert shown[1:3] == ["- script file:  './scripts//s.py'", "- input file:  './scripts/s.py'"]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "latin-1"])
def test_given_another_encoding_when_a_job_is_watched_then_what_it_lacks_is_replaced(
    environment: dict[str, str], peer: Any, server_kit: Any, tmp_path: Path, encoding: str
) -> None:
    """Never a UnicodeEncodeError; JSON says the same, by its own escapes."""
    peer.name = "größe 步 €"
    environment["PYTHONIOENCODING"] = encoding
    command = [*PROGRAM, "exec", "-s", "scripts/s.py", "-rw"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    end = f"Job [ {server_kit.UUID} ] progress: 100, status: SUCCESS [⏳]\n"
    lines, _, details = text.partition("\n{")
    assert lines + "\n" == contract(server_kit.UUID, end).encode(encoding, "replace").decode(encoding)
    assert json.loads("{" + details)["name"] == peer.name


def test_given_another_encoding_when_a_table_is_shown_then_nothing_breaks(
    environment: dict[str, str], peer: Any, tmp_path: Path
) -> None:
    """Tables are drawn by another library."""
    peer.waiting = {"position": 1, "reason": "步", "expected_start": None}
    environment["PYTHONIOENCODING"] = "cp1252"
    done = subprocess.run([*PROGRAM, "jobs", "--why"], cwd=tmp_path, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("cp1252").splitlines()[1].rstrip().endswith("?")


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are of POSIX")
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_given_a_terminal_when_a_job_is_watched_then_its_lines_are_the_contracts(
    environment: dict[str, str], peer: Any, server_kit: Any, tmp_path: Path, encoding: str
) -> None:
    """What stays on the screen is the same as in a pipe, less the steps, which replace each other."""
    import pty

    peer.events = [server_kit.step(0, "last step", 0), server_kit.status("SUCCESS", 100)]
    environment |= {"PYTHONIOENCODING": encoding, "TERM": "dumb"}
    command = [*PROGRAM, "exec", "-s", "scripts/s.py", "-w"]
    keyboard, terminal = pty.openpty()
    program = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while chunk := read_terminal(keyboard):
        shown += chunk
    os.close(keyboard)
    assert program.wait(20) == 0
    assert b"\x1b" not in shown
    end = f"Job [ {server_kit.UUID} ] progress: 100, status: SUCCESS (last step) [⏳]\n"
    expected = contract(server_kit.UUID, end).encode(encoding, "replace").decode(encoding)
    # A carriage return begins the line anew; what stays is what was written last.
    stays = [line.rpartition("\r")[2] for line in shown.decode(encoding).replace("\r\n", "\n").split("\n")]
    assert "\n".join(stays) == expected


def read_terminal(keyboard: int) -> bytes:
    """Read what a terminal shows; nothing once its program has left."""
    try:
        return os.read(keyboard, 65536)
    except OSError:
        return b""


def test_given_a_failure_when_watched_then_the_traceback_follows_in_every_mode(
    environment: dict[str, str], peer: Any, server_kit: Any, tmp_path: Path
) -> None:
    """As in the tutorial: the line with the other hourglass, the traceback, exit code 10."""
    peer.error = (
        'Traceback (most recent call last):\n  File "00_convert_a_file.py", line 10, in main\n'
        "    extension = params.get('extension', 'pxz').lower()\n"
        "AttributeError: 'int' object has no attribute 'lower'\n"
    )
    peer.events = [server_kit.status("FAILURE", 0, peer.error)]
    command = [*PROGRAM, "exec", "-s", "scripts/s.py", "-w"]
    done = subprocess.run(command, cwd=tmp_path, env={**environment, "PYTHONUTF8": "1"}, capture_output=True)
    end = f"Job [ {server_kit.UUID} ] progress: 0, status: FAILURE [⌛]\n{peer.error}"
    assert (done.returncode, done.stdout.decode()) == (10, contract(server_kit.UUID, end))
