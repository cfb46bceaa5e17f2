"""The page for teams from the Celery-based scheduler: its tables, commands and messages are those of the code."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import click
import pytest
from fastapi import FastAPI

from pixyz_ray.cli.app import ALIASES, COMMANDS, cli
from pixyz_ray.cluster.engine import Engine
from pixyz_ray.setting_names import CLIENT_NAMES, OLD_NAMES
from pixyz_ray.settings import SETTINGS, Settings, read_settings
from pixyz_worker.pc import ProgramContext
from serve_app.auth import token_check
from serve_app.routes.backend import backend_router
from serve_app.routes.jobs import jobs_router
from serve_app.routes.processes import processes_router
from serve_app.routes.queues import queues_router
from serve_app.routes.service import service_router
from tests.migration_page import JOB, ROOT, TEXT, blocks, console_lines, inline, section, table

OLD_SETTINGS = {
    "API_PORT": "8001",
    "GOD_PASSWORD_SHA256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "SHARE_PATH": "/mnt/share",
    "PROCESS_PATH": str(ROOT / "processes"),
    "PIXYZ_PYTHON_PATH": str(ROOT),
    "LICENSE_HOST": "licences.example.com",
    "LICENSE_PORT": "27000",
    "LICENSE_FLEXLM": "true",
    "LICENSE_ACQUIRE_AT_START": "1",
    "DISABLE_PIXYZ": "False",
    "PIXYZ_TIME_LIMIT": "2400",
    "PIXYZ_RETRY_TIME_LIMIT": "3600",
    "CLEANUP_ENABLED": "True",
    "CLEANUP_DELAY": "86400",
    "MAX_TASKS_BEFORE_SHUTDOWN": "100",
    "MAX_MEMORY_USAGE": "2097152",
    "MAX_MEMORY_USAGE_GPUHIGH": "8388608",
    "CONCURRENT_TASKS": "4",
    "LOG_LEVEL": "info",
    "DEBUG": "0",
    "QUEUE_NAME": "cpu,gpu",
}
"""Settings of the scheduler before this one that keep their names, each with a value as its users write it."""

OTHER_VARIABLES = {"CUDA_VISIBLE_DEVICES", "OLD_URL", "OLD_TOKEN", "OLD_JOB", "NEW_JOB"}
SHELL = {"python", "python3", "pip", ".", "mkdir", "cat", "export"}


# --- Scripts and requests --------------------------------------------------------------------------------------------


def run_in_python(code: str, *, cwd: Path) -> str:
    """Run code in a Python of its own; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_given_the_imports_of_the_page_when_a_script_has_them_then_they_are_ours(tmp_path: Path) -> None:
    """All in one script, as its first lines."""
    found = [code for row in table("Scripts") for code in inline(row[0]) if re.match(r"from |import ", code)]
    assert len(found) == 7
    code = "import pixyz_worker.script\n" + "\n".join(found) + "\nprint(chain.__module__, pxz.core.__doc__)"
    assert run_in_python(code, cwd=tmp_path).startswith("pixyz_worker.canvas pxz.core on the open kernel")


def test_given_the_members_of_a_context_when_named_on_the_page_then_they_exist() -> None:
    """`pc.get_input_file()` and the like, wherever they stand."""
    members = set(re.findall(r"\bpc\.([A-Za-z_]\w*)\(", TEXT))
    assert len(members) > 7
    assert not [name for name in members if not callable(getattr(ProgramContext, name, None))]


def test_given_the_requests_of_the_page_when_looked_up_then_the_service_has_them() -> None:
    """Method and path, in the table and in the text."""
    engine, app = Engine(Settings()), FastAPI()
    check = token_check(engine.settings, "0" * 64)
    app.include_router(processes_router(engine))
    for make in (service_router, jobs_router, backend_router, queues_router):
        app.include_router(make(engine, check))
    known = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    known |= {("GET", app.docs_url)}
    found = {
        tuple(code.split())
        for code in inline(TEXT)
        if re.fullmatch(r"(?:GET|POST|PUT|DELETE) /\S*", code.replace("`", ""))
    }
    assert len(found) > 12
    assert found <= known


# --- Commands --------------------------------------------------------------------------------------------------------


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the commands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text("def main(pc, params): ...")
    (tmp_path / "bolt.step").write_text("ISO-10303-21;")
    return tmp_path


def parse(words: list[str]) -> click.Context:
    """Parse what stands after `pixyz`, as the program does."""
    program = cli.make_context("pixyz", [JOB if word == "ID" else word for word in words])
    rest = [*program._protected_args, *program.args]
    name, command, arguments = cli.resolve_command(program, rest)  # type: ignore[attr-defined]
    assert command is not None
    context: click.Context = command.make_context(name, arguments, parent=program)
    return context


def words_of_a_line(line: str) -> list[str]:
    """Split a command line; settings before the command and comments are left out."""
    words = shlex.split(line.partition("\n")[0], comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        del words[0]
    return words


def typed_commands() -> Iterator[list[str]]:
    """Yield each command of the console blocks."""
    for line in console_lines():
        for part in re.split(r"\s&&\s", line):
            yield words_of_a_line(part)


def test_given_the_commands_of_the_page_when_parsed_then_click_takes_them(folder: Path) -> None:
    """Those of the console blocks; other programs are few and known."""
    pixyz = [words[1:] for words in typed_commands() if words[0] == "pixyz"]
    assert len(pixyz) > 5
    for words in pixyz:
        parse(words)
    assert {words[0] for words in typed_commands()} <= SHELL | {"pixyz"}


def test_given_a_command_within_the_text_when_parsed_then_click_takes_it(folder: Path) -> None:
    """`pixyz jobs --why` as a whole; `pixyz exec` alone names the command."""
    found = [code.split(maxsplit=1)[1] for code in inline(TEXT) if code.startswith("pixyz ")]
    assert len(found) > 12
    for code in found:
        words = shlex.split(code)
        if len(words) == 1:
            assert words[0] in {*COMMANDS, *ALIASES}, code
        else:
            parse(words)


def test_given_an_option_within_the_text_when_looked_up_then_a_command_has_it() -> None:
    """`--strict`, `-l`: some command takes them."""
    options = set(cli.params[0].opts)
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)  # type: ignore[attr-defined]
        options |= {spelling for parameter in command.params for spelling in parameter.opts}
    options |= {spelling for parameter in cli.params for spelling in parameter.opts}
    found = {code.split()[0] for code in inline(TEXT) if re.match(r"--?[a-z]", code)}
    assert {"--strict", "--retries", "-u", "-k", "-w"} <= found
    assert found <= options


def test_given_a_line_of_client_py_when_written_as_the_page_says_then_it_means_the_same(folder: Path) -> None:
    """`pixyz` takes the same arguments, and nothing else changes."""
    for old, new in table("Command line"):
        before, after = inline(old)[0], inline(new)[0]
        assert shlex.split(before)[2:] == shlex.split(after)[1:]
        context = parse(shlex.split(before.removeprefix("python client.py")))
        assert context.params
        given = re.findall(r"(?<=-s )\S+|(?<=-n )\S+|(?<=-k )\S+", before)
        assert set(given) <= {*map(str, context.params.values()), *map(str, context.parent.params.values())}  # type: ignore[union-attr]


# --- Settings --------------------------------------------------------------------------------------------------------


@cache
def old_names() -> dict[str, tuple[str, str]]:
    """Return status and advice by each name of the settings table."""
    return {name: (status, advice) for names, status, advice in table("Settings") for name in inline(names)}


def test_given_the_old_settings_when_looked_up_then_each_has_its_row() -> None:
    """Those that keep their names, and every family that has no meaning; no other rows."""
    without_meaning = {name for name, (status, _) in old_names().items() if status == "no meaning"}
    assert old_names().keys() - without_meaning == OLD_SETTINGS.keys()
    ours = {"PIXYZ_HOME", "PIXYZ_CONFIG", "PIXYZ_URL", "PIXYZ_TOKEN"}
    assert without_meaning == {pattern for old in OLD_NAMES for pattern in old.patterns} - ours
    assert {status for status, _ in old_names().values()} == {"same", "changed", "no meaning"}


def test_given_an_old_configuration_when_read_then_each_name_has_the_status_of_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is kept is in force without a remark; one without a meaning is named, with the advice of the page."""
    lines = [f"{name}={value}" for name, value in OLD_SETTINGS.items()]
    lines += [f"{name.replace('*', 'X')}=1" for name, (status, _) in old_names().items() if status == "no meaning"]
    (file := tmp_path / "old.conf").write_text("\n".join(lines), encoding="utf-8")
    for name in (*SETTINGS, *CLIENT_NAMES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIXYZ_CONFIG", str(file))
    reading = read_settings()
    assert reading.sources.problems == []
    assert {row["name"] for row in reading.rows()} == OLD_SETTINGS.keys()
    notes = {str(note).partition(" ")[0]: str(note) for note in reading.sources.notes}
    assert notes.keys() == {
        name.replace("*", "X") for name, (status, _) in old_names().items() if status == "no meaning"
    }
    for name, (status, advice) in old_names().items():
        if status == "no meaning":
            note = notes[name.replace("*", "X")]
            assert "has no meaning here" in note
            missing = [code for code in inline(advice) if code not in note]
            assert not missing, f"{name}: {missing} are not in {note!r}"


def test_given_sizes_and_times_as_the_page_writes_them_when_set_then_they_are_taken() -> None:
    """Old numbers count KB and seconds; units are taken too."""
    old = Settings(max_memory_usage="2097152", cleanup_delay="604800")  # type: ignore[arg-type]
    new = Settings(max_memory_usage="2GB", cleanup_delay="7d")  # type: ignore[arg-type]
    assert (old.max_memory_usage, old.cleanup_delay) == (new.max_memory_usage, new.cleanup_delay) == (2 << 30, 604800)
    assert Settings(pixyz_time_limit="40m").pixyz_time_limit == Settings().pixyz_time_limit  # type: ignore[arg-type]


def test_given_a_name_in_capitals_when_looked_up_then_it_is_a_setting() -> None:
    """Anywhere on the page, in text and commands."""
    found = set(re.findall(r"(?<![\w$-])\$?([A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9])(?![\w*])", TEXT))
    known = {*SETTINGS, *CLIENT_NAMES, *old_names(), *OTHER_VARIABLES}
    assert len(found) > 40
    assert found <= known


def test_given_the_settings_with_a_value_when_set_then_they_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """`MAX_MEMORY_USAGE=8GB` and the like, of tables and commands."""
    words = [word for code in [*inline(TEXT), *"".join(blocks("console")).split()] for word in code.split("\n")]
    given = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=[^$]", word))
    given = {name: value for name, value in given.items() if name in SETTINGS}
    assert {"MAX_MEMORY_USAGE", "CORS_ORIGINS", "API_HOST", "PIXYZ_POOLS", "API_PORT"} <= given.keys()
    for name, value in {**given, "GOD_PASSWORD_SHA256": OLD_SETTINGS["GOD_PASSWORD_SHA256"]}.items():
        monkeypatch.setenv(name, value)
    assert read_settings().sources.problems == []


# --- Refused names ---------------------------------------------------------------------------------------------------

REFUSED = {row[0].strip("`"): row[1] for row in table("Refused names")}
TRY_ALL = """
import importlib, json, sys
from pixyz_worker.script import *
from pixyz_worker.tasks import pixyz_execute
import pixyz_worker.tasks, pixyz_worker.share
from celery import shared_task
from celery.result import GroupResult

said = {}
for name in json.loads(sys.stdin.read()):
    code = name
    if name.startswith("@"):
        code = f"({name[1:]})(lambda: 1)"
    elif name.startswith("."):
        code = f"pixyz_execute.s({{}}, ProgramContext()){name}"
    try:
        exec(code)
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module", name="refusals")
def _refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each name of the table says when it is used."""
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL],
        input=json.dumps(list(REFUSED)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path_factory.mktemp("refused"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("name", REFUSED)
def test_given_a_refused_name_when_used_then_it_says_what_the_page_says(name: str, refusals: dict[str, str]) -> None:
    """An error of ours, with the advice of its row."""
    assert name in refusals, f"{name} works"
    kind, _, message = refusals[name].partition(": ")
    assert kind in {"ModuleNotFoundError", "ImportError", "NotAvailable", "InvalidBackendParameter"}
    advice = inline(REFUSED[name]) or [REFUSED[name]]
    assert not [part for part in advice if part not in message], message


# --- Messages --------------------------------------------------------------------------------------------------------


def _template(node: ast.expr) -> str | None:
    """Return a string or f-string of the source with `...` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{\w*\}", "...", node.value)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
        return "".join(map(str, parts))
    return None


@cache
def messages_of_the_source() -> list[str]:
    """Return every string of the product that is no docstring."""
    found = []
    for package in ("pixyz_worker", "pixyz_ray", "serve_app"):
        for file in (ROOT / package).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            strings = (node for node in ast.walk(tree) if isinstance(node, ast.expr) and id(node) not in docs)
            found += [text for node in strings if (text := _template(node))]
    return found


@pytest.mark.parametrize("row", table("Troubleshooting"), ids=lambda row: row[0])
def test_given_a_message_of_the_page_when_looked_up_then_the_source_has_it(row: list[str]) -> None:
    """Word for word; `...` stands where something is filled in."""
    message, *rest = row
    (text,) = inline(message)
    assert any(text in found for found in messages_of_the_source()), f"no message has {text!r}"
    assert all(rest)


# --- The page as a whole ---------------------------------------------------------------------------------------------


def test_given_the_first_example_when_run_then_it_prints_what_the_page_says(tmp_path: Path) -> None:
    """The other one needs two platforms: the acceptance tests run it."""
    step = section("1. Try the scripts on a workstation")
    assert run_in_python(blocks("python", step)[0], cwd=tmp_path) == blocks("text", step)[0]
    assert len(blocks("python")) == 2


def test_given_a_link_with_a_heading_when_followed_then_the_heading_is_there() -> None:
    """Headings of this page and of others, by the rule that GitHub has for their names."""
    targets = re.findall(r"\]\(([\w-]*(?:\.md)?)#([\w-]+)\)", TEXT)
    assert len(targets) > 8
    for page, anchor in targets:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8") if page else TEXT
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{page}#{anchor}"


def test_given_the_page_when_somebody_looks_for_it_then_readme_and_index_link_to_it() -> None:
    """Every page of docs is linked from both."""
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert "migration.md" in pages
    assert [name for name in pages if f"](docs/{name})" not in readme] == []
    assert [name for name in pages if f"]({name})" not in index] == []


def test_given_the_patterns_of_the_page_when_compared_then_no_kept_name_is_in_a_family_without_meaning() -> None:
    """`API_PORT` is not one of `API_*`."""
    families = [name for name, (status, _) in old_names().items() if status == "no meaning"]
    assert not [(name, family) for name in OLD_SETTINGS for family in families if fnmatchcase(name, family)]
