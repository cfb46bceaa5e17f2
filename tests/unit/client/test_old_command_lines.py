"""Every command line that users of the peer scheduler's `client.py` know is still understood."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pixyz_ray.cli.app import cli
from pixyz_ray.cli.options import JsonParam, SecondsParam

ID = "7f3c2a9e-0000-4000-8000-000000000001"
JOB = ({"uuid": ID},)
SENT: dict[str, Any] = {
    "input_file": "bolt.step",
    "params": {"t": 1},
    "entrypoint": "go",
    "queue": "gpu",
    "time_limit": 60,
    "alias": "mine",
}
ALL_SHORT = """-i bolt.step -p '{"t": 1}' -e go -q gpu -l 60 -a mine"""
ALL_LONG = """--input bolt.step --params '{"t": 1}' --entrypoint go --queue gpu --limit 60 --alias mine"""
FLAGS = {"watch": True, "details": True, "batch": True}
ZIP = {"uuid": ID, "output": "all.zip"}

LINES: dict[str, dict[str, Any]] = {
    "version": {},
    "list": {},
    "doc -n sleep": {"name": "sleep"},
    "doc --name sleep": {"name": "sleep"},
    "jobs": {"status": None, "limit": None},
    f"status -j {ID}": {"uuid": ID, "watched": False},
    f"status -j {ID} -w": {"uuid": ID, "watched": True},
    f"status --jobid {ID} --watch": {"uuid": ID, "watched": True},
    f"status -wj {ID}": {"uuid": ID, "watched": True},
    f"details -j {ID}": {"uuid": ID},
    f"details --jobid {ID}": {"uuid": ID},
    f"details --jobid={ID}": {"uuid": ID},
    f"outputs -j {ID}": {"uuid": ID},
    f"outputs --jobid {ID}": {"uuid": ID},
    f"download -j {ID} -f a/b.glb -o b.glb": {"uuid": ID, "path": "a/b.glb", "output": "b.glb"},
    f"download --jobid {ID} --file b.glb --output b.glb": {"uuid": ID, "path": "b.glb", "output": "b.glb"},
    f"download_all -j {ID} -o all.zip": ZIP,
    f"downloadall -j {ID} -o all.zip": ZIP,
    f"download-all --jobid {ID} --output all.zip": ZIP,
    "exec -s s.py": {"script": "s.py", "params": {}, "watch": False, "details": False, "batch": False},
    "exec --script s.py": {"script": "s.py"},
    "exec -s s.py -rw": {"watch": True, "details": True, "batch": False},
    "exec -s s.py -wr": {"watch": True, "details": True, "batch": False},
    "exec -s s.py -bw": {"watch": True, "details": False, "batch": True},
    "exec -s s.py -w -r -b": FLAGS,
    "exec -s s.py --watch --result --batch": FLAGS,
    "exec -rws s.py": {"script": "s.py", "watch": True, "details": True},
    f"exec -s s.py {ALL_SHORT}": {"script": "s.py", **SENT},
    f"exec {ALL_LONG} --script s.py": {"script": "s.py", **SENT},
    "exec -s s.py -l 0.5": {"time_limit": 0.5},
    "exec -s s.py -l60": {"time_limit": 60},
    "exec -s s.py -p '[1, 2]'": {"params": [1, 2]},
    "exec -s s.py -p null": {"params": None},
    f"process -n sleep {ALL_SHORT} -w -r -b": {"name": "sleep", **SENT, **FLAGS},
    f"process --name sleep {ALL_LONG} --watch --result --batch": {"name": "sleep", **SENT, **FLAGS},
    "process -n sleep -rw": {"watch": True, "details": True},
    "convert -i bolt.step": {"input_file": "bolt.step", "params": {}, "output": None},
    """convert -i bolt.step -p '{"extension": "fbx"}' -o x.fbx -a mine""": {
        "params": {"extension": "fbx"},
        "output": "x.fbx",
        "alias": "mine",
    },
    """convert --input bolt.step --params '{}' --output x.fbx --alias mine""": {"alias": "mine"},
    "thumbnails -i bolt.step": {"input_file": "bolt.step", "output": Path()},
    """thumbnails -i bolt.step -p '{"width": 8}' -o folder -a mine""": {
        "params": {"width": 8},
        "output": Path("folder"),
        "alias": "mine",
    },
    "metadata -i bolt.step": {"input_file": "bolt.step", "output": "metadata.json"},
    "metadata --input bolt.step --output m.json --alias mine": {"output": "m.json", "alias": "mine"},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files of the lines."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.py").write_text("def main(pc, params): ...")
    (tmp_path / "bolt.step").write_text("ISO-10303-21;")


def parse(words: list[str]) -> tuple[click.Context, click.Context]:
    """Parse a command line; returns the contexts of the program and of the command."""
    program = cli.make_context("pixyz", list(words))
    rest = [*program._protected_args, *program.args]
    name, command, arguments = cli.resolve_command(program, rest)  # type: ignore[attr-defined]
    assert command is not None
    return program, command.make_context(name, arguments, parent=program)


@pytest.mark.parametrize("line", LINES)
def test_given_a_line_of_the_contract_when_parsed_then_it_means_what_it_did(line: str) -> None:
    """Each command with each of its options, short, long, and combined."""
    program, command = parse(shlex.split(line))
    assert program.params["url"] is None
    assert {name: command.params[name] for name in LINES[line]} == LINES[line]


@pytest.mark.parametrize("before", ["-k", "-t", "--key", "--token"])
@pytest.mark.parametrize("line", ["list", f"status -j {ID}", "exec -s s.py"])
def test_given_url_and_token_when_before_or_after_the_command_then_they_are_the_same(before: str, line: str) -> None:
    """`-u URL -k TOKEN COMMAND` and `COMMAND -u URL -t TOKEN`, in each spelling."""
    options = ["-u", "http://x:1", before, "T"]
    program, _ = parse([*options, *line.split()])
    assert (program.params["url"], program.params["token"]) == ("http://x:1", "T")
    _, command = parse([*line.split(), "--url", "http://x:1", before, "T"])
    assert (command.params["url"], command.params["token"]) == ("http://x:1", "T")


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("3600", 3600), ("0.25", 0.25), ("1e3", 1000), ("2.0", 2)])
def test_given_a_number_above_0_when_it_is_a_time_limit_then_it_is_taken(text: str, value: float) -> None:
    """Whole numbers are sent as integers, as the old client did."""
    seconds = SecondsParam().convert(text, None, None)
    assert (seconds, type(seconds)) == (value, type(value))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "", "1h", "1,5"])
def test_given_no_time_when_it_is_a_time_limit_then_a_sentence_says_how_to_write_one(text: str) -> None:
    """The mistake is found before anything is sent."""
    result = CliRunner().invoke(cli, ["exec", "-s", "s.py", "-l", text])
    assert (result.exit_code, "number of seconds above 0" in result.stderr) == (2, True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_given_params_of_another_system_when_read_then_their_encoding_is_found(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON in a file or on standard input is not read in the code page; PowerShell writes UTF-16."""
    content = json.dumps({"größe": "€"}, ensure_ascii=False).encode(encoding)
    (tmp_path / "p.json").write_bytes(content)
    assert JsonParam().convert("@p.json", None, None) == {"größe": "€"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="cp1252"))
    assert JsonParam().convert("-", None, None) == {"größe": "€"}


def test_given_a_shell_that_keeps_single_quotes_when_json_is_typed_then_the_error_says_what_to_do() -> None:
    """cmd.exe hands `'{t:` to the program."""
    result = CliRunner().invoke(cli, ["exec", "-s", "s.py", "-p", "'{t:"])
    assert (result.exit_code, "-p @FILE" in result.stderr) == (2, True)


@pytest.mark.parametrize("line", ["exce -s s.py", "exec -s s.py --queu gpu", "thumbnail -i bolt.step"])
def test_given_a_misspelling_when_parsed_then_the_nearest_name_is_given(line: str) -> None:
    """Commands and options alike."""
    result = CliRunner().invoke(cli, line.split())
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr or "Possible options" in result.stderr
