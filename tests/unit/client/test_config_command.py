"""`pixyz config`: what is in force and why, and changes of the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pixyz_ray import home
from pixyz_ray.cli.app import cli
from pixyz_ray.cli.checks import Verdict
from pixyz_ray.cli.running_settings import check_running, compare_running, print_changes
from pixyz_ray.client import Client
from pixyz_ray.setting_overview import fingerprint_key, overview
from pixyz_ray.settings import load_settings, read_settings

FILE = "# Ours\nAPI_PORT=9000 # the door\nLOG_LEVEL=DEBUG\nJOB_STORE_URL=postgresql+psycopg://pixyz:hunter2@db/pixyz\n"


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A configuration file in force."""
    path = tmp_path / "own.conf"
    path.write_text(FILE)
    monkeypatch.setenv("PIXYZ_CONFIG", str(path))
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path / "home"))
    for name in ("API_PORT", "LOG_LEVEL", "SHARE_PATH", "MAX_MEMORY_USAGE"):
        monkeypatch.delenv(name, raising=False)
    return path


def config(*arguments: str, text: str | None = None) -> Result:
    """Run `pixyz config`."""
    return CliRunner().invoke(cli, ["config", *arguments], input=text)


def test_shows_all_or_only_what_is_set(file: Path) -> None:
    """Given a file, when shown, then each setting has its source, and no secret is printed."""
    done = config("--changed", "--json")
    rows = {row["name"]: row for row in json.loads(done.output)["settings"]}
    assert rows.keys() == {"API_PORT", "LOG_LEVEL", "JOB_STORE_URL"}
    assert rows["API_PORT"]["source"] == f"in {file}, line 2"
    assert rows["JOB_STORE_URL"]["secret"]
    every = config("show")
    assert "MAX_UPLOAD_BYTES" in every.output
    assert "hunter2" not in done.output + every.output


def test_gets_and_explains_one(file: Path) -> None:
    """Given a setting, when asked for, then its value is printed alone, and with its meaning on request."""
    assert config("get", "api_port").output == "9000\n"
    assert config("get", "LICENSE_HOST").output == "\n"
    explained = config("explain", "LOG_LEVEL").output
    assert explained.splitlines()[1:] == ["value    DEBUG", f"source   in {file}, line 3", "default  INFO"]


@pytest.mark.parametrize("command", ["get", "explain", "unset"])
def test_an_unknown_name_is_answered_with_the_nearest(command: str, file: Path) -> None:
    """Given a misspelt name, when used, then the message has the right one."""
    done = config(command, "API_PROT")
    assert done.exit_code == 1
    assert "API_PROT is not a setting. Did you mean 'API_PORT'?" in done.output
    assert "no meaning here" in config(command, "REDIS_HOST").output
    assert "Did you mean 'explain'?" in config("explian").output


def test_sets_and_unsets_in_the_file(file: Path) -> None:
    """Given a file with comments, when a setting is written and removed, then all other lines are kept."""
    done = config("set", "api_port", "9001")
    assert done.output == f"API_PORT is written to {file}, line 2.\n"
    assert file.read_text() == FILE.replace("9000", "9001")
    assert config("set", "API_PORT", "9001").output == f"API_PORT is already in {file}, line 2.\n"
    assert config("set", "JOB_STORE_URL", "-", text="sqlite:////tmp/x.db\n").exit_code == 0
    assert config("get", "JOB_STORE_URL").output == "sqlite:////tmp/x.db\n"
    assert config("unset", "API_PORT").output == f"API_PORT is removed from {file}.\n"
    assert config("unset", "API_PORT").output == f"API_PORT is not in {file}: nothing to remove.\n"
    assert file.read_text().startswith("# Ours\nLOG_LEVEL=DEBUG\n")


def test_a_bad_value_is_refused_before_anything_is_written(file: Path) -> None:
    """Given a value that `pixyz up` would refuse, when set, then the message says why and the file is as before."""
    done = config("set", "MAX_MEMORY_USAGE", "2 parsecs")
    assert done.exit_code == 1
    assert "MAX_MEMORY_USAGE=2 parsecs" in done.output
    assert "is not a size" in done.output
    assert file.read_text() == FILE
    # An unrelated fault in the file keeps nobody from correcting another one.
    file.write_text(f"{FILE}MAX_TRIANGLES=many\n")
    assert config("set", "API_PORT", "9001").exit_code == 0
    assert config("set", "MAX_TRIANGLES", "5").exit_code == 0
    assert config("check").exit_code == 0


def test_a_variable_of_the_environment_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a setting in the environment too, when written, then it is said that the environment wins."""
    monkeypatch.setenv("API_PORT", "9005")
    assert "takes precedence" in config("set", "API_PORT", "9001").output


def test_the_first_setting_makes_a_private_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given no file, when a setting is written, then a file is made in the home that its owner alone can read."""
    monkeypatch.delenv("PIXYZ_CONFIG", raising=False)
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("pixyz_ray.config_file.SYSTEM_CONFIG", tmp_path / "none.conf")
    path = tmp_path / "home" / "pixyz-scheduler.conf"
    assert config("path").output.startswith(f"{path}\nThere is no configuration file yet.")
    assert config("set", "PIXYZ_POOLS", '{"catia": 3}').exit_code == 0
    assert (path.read_text(), path.stat().st_mode & 0o777) == ('PIXYZ_POOLS={"catia": 3}\n', 0o600)
    assert config("path").output == f"{path}\n"


def test_checks_another_file(file: Path, tmp_path: Path) -> None:
    """Given a file that is not in force, when checked, then its problems and notes are printed with their lines."""
    other = tmp_path / "new.conf"
    other.write_text("API_PORT=zero\nSHARE_PAHT=/x\n")
    done = config("check", str(other))
    assert done.exit_code == 1
    assert f"problem  API_PORT=zero (in {other}, line 1) is not a whole number." in done.output
    assert f"note     SHARE_PAHT (in {other}, line 2) is not a setting. Did you mean SHARE_PATH?" in done.output
    assert config("check").output == f"good     3 settings of {file} can be used.\n"


@pytest.fixture
def running(peer: Any, file: Path, server_kit: Any) -> Any:
    """The platform of this machine, started with the file; its answers are the peer's."""
    token = server_kit.TOKEN
    home.write_platform(
        home.Platform(
            url=peer.url, token=token, pid=1, started=0.0, version="9.8.7", ray_address="127.0.0.1:6379", session="s"
        )
    )
    peer.settings = [row.answer() for row in overview(load_settings(), fingerprint_key(token))]
    return peer


def test_a_restart_that_changes_nothing_has_no_differences(running: Any, client: Client) -> None:
    """Given a platform with the settings of the file, when compared, then nothing differs."""
    assert client.config()["settings"] == running.settings
    assert config("diff").output == "The platform runs with the settings that are written here.\n"
    assert check_running(None, None, read_settings()) == []


def test_what_a_restart_would_change_is_shown(running: Any, file: Path) -> None:
    """Given a file that was changed after the start, when compared, then setting and password differ; no secret is
    printed, and `pixyz doctor` says so."""
    file.write_text(FILE.replace("DEBUG", "ERROR").replace("hunter2", "hunter3"))
    done = config("diff", "--json")
    rows = {row["name"]: row for row in json.loads(done.output)}
    assert (done.exit_code, rows.keys()) == (1, {"LOG_LEVEL", "JOB_STORE_URL"})
    assert (rows["LOG_LEVEL"]["running"], rows["LOG_LEVEL"]["written"]) == ("DEBUG", "ERROR")
    assert "hunter" not in done.output
    assert "LOG_LEVEL" in config("diff").output
    (check,) = check_running(None, None, read_settings())
    assert "LOG_LEVEL, JOB_STORE_URL" in check.found
    assert config("set", "LOG_LEVEL", "INFO").output.endswith("pixyz up --detach --replace\n")


def change(running: Any, **values: tuple[str, str]) -> None:
    """Give the platform that runs other settings: value and source by name."""
    for row in running.settings:
        if row["name"] in values:
            row["value"], row["source"] = values[row["name"]]


def test_doctor_and_diff_name_the_same(running: Any) -> None:
    """Given a platform with settings that only it has, when compared, then doctor names what diff names, as notes."""
    given = "in the environment"
    change(running, API_PORT=("9777", given), SHARE_PATH=("/mnt/pixyz", given), LOG_LEVEL=("ERROR", "in old.conf"))
    rows = json.loads(config("diff", "--json").output)
    written, environment = check_running(None, None, read_settings())
    assert {row["name"] for row in rows} == {"API_PORT", "SHARE_PATH", "LOG_LEVEL"}
    assert "LOG_LEVEL than are written here" in written.found
    assert all(name in environment.found for name in ("API_PORT", "SHARE_PATH"))
    assert "systemd" in environment.remedy
    assert {written.verdict, environment.verdict} == {Verdict.NOTE}


def test_options_that_a_replacement_keeps_are_no_differences(running: Any) -> None:
    """Given a platform with a port from its command line, when compared, then `--replace` would keep it."""
    change(running, API_PORT=("9777", "on the command line"))
    own = home.read_platform()
    assert own is not None
    assert "9777" in config("diff").output
    home.write_platform(replace(own, options={"port": 9777}))
    assert config("diff").exit_code == 0
    assert check_running(None, None, read_settings()) == []
    (row,) = compare_running(None, None, read_settings(api_port=9778))
    assert row["written"] == "9778"


def test_a_replacement_says_what_changes(running: Any, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Given settings that only the running platform has, when replaced, then they are printed, secrets by name."""
    print_changes(read_settings())
    assert capsys.readouterr().out == ""
    change(running, SHARE_PATH=("/mnt/pixyz", "in the environment"))
    file.write_text(FILE.replace("hunter2", "hunter3"))
    print_changes(read_settings())
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "Settings that change:"
    assert f"  JOB_STORE_URL: set (in {file}, line 4) -> set (in {file}, line 4)" in lines
    assert any(line.startswith("  SHARE_PATH: /mnt/pixyz (in the environment) -> ") for line in lines)
    assert len(lines) == 2


def test_a_replacement_goes_on_where_nothing_answers(
    running: Any, closed_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a platform whose service does not answer, when it is replaced, then that is said, and is no error."""
    own = home.read_platform()
    assert own is not None
    home.write_platform(replace(own, url=closed_url))
    print_changes(read_settings())
    assert "Whether its settings change is not known" in capsys.readouterr().err


def test_an_older_platform_is_named(running: Any, server_kit: Any) -> None:
    """Given a platform without the route, when compared, then the message says so."""
    running.answers["/config"] = [server_kit.refusal(404, "no such path")]
    done = config("diff")
    assert done.exit_code == 1
    assert "does not tell its settings: it is an older version" in done.output
