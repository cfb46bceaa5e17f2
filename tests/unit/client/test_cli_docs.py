"""Every command is documented, teaches by an example, and costs little to start."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pixyz_ray.cli import checks
from pixyz_ray.cli.app import ALIASES, COMMANDS, LazyGroup, cli

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def command_of(name: str) -> click.Command:
    """A command of the program."""
    assert isinstance(cli, LazyGroup)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def section_of(name: str) -> str:
    """The part of the page below a command's title."""
    match = re.search(rf"^### pixyz {name}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match, f"docs/cli.md has no section `### pixyz {name}`"
    return match[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_on_the_page(name: str) -> None:
    """Given a command, when its section is read, then each of its options is there."""
    section = section_of(name)
    general = PAGE.partition("## Run a job")[0]
    for parameter in command_of(name).params:
        spellings = parameter.opts if isinstance(parameter, click.Option) else []
        for spelling in spellings:
            shared = parameter.name in ("url", "token")
            assert f"`{spelling}" in (general if shared else section), f"{name} {spelling}"


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_are_on_the_page(alias: str) -> None:
    """Given an alias, when the page is read, then it is there."""
    assert f"`{alias}`" in PAGE


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, flag: str) -> None:
    """Given a command, when its help is asked, then it has a summary, an example, and a word for each option."""
    result = CliRunner().invoke(cli, [name, flag])
    assert result.exit_code == 0
    assert "Example:" in result.output
    assert f"pixyz {name}" in result.output.partition("Example:")[2]
    command = command_of(name)
    assert command.short_help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_the_help_of_the_group_lists_all() -> None:
    """Given the program, when its help is asked, then every command is in it."""
    output = CliRunner().invoke(cli, ["--help"]).output
    assert all(re.search(rf"^  {name} ", output, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("from pixyz_ray.cli import main; main(['--help'])", "httpx ray rich pydantic numpy pyarrow OCP asyncio"),
        ("from pixyz_ray.cli import main; main(['exec', '--help'])", "httpx ray rich pydantic numpy"),
        ("import pixyz_ray.client", "ray pydantic numpy sqlalchemy pixyz_ray.settings pixyz_ray.cluster"),
        ("import pixyz_ray.notebook", "IPython ray pydantic pixyz_ray.settings pixyz_ray.cluster"),
    ],
)
def test_nothing_heavy_is_imported(code: str, absent: str) -> None:
    """Given a fresh process, when it starts the program, then what it does not need is not loaded."""
    probe = f"import atexit, sys; atexit.register(lambda: print('LOADED', *sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED ")[2].split())
    assert not loaded & set(absent.split())


def test_the_doctor_knows_the_dependencies() -> None:
    """Given the project's dependencies, when the doctor looks for packages, then it looks for these."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[\[<>=~! ]", line)[0] for line in project["dependencies"]]
    assert list(checks.PACKAGES) == names
