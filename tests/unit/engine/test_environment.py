"""The environment of Ray and of the workers: what travels in a runtime environment, and what must precede Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pixyz_ray.cluster.environment import (
    before_ray,
    driver_environment,
    environment_messages,
    environment_problems,
    joining_notes,
    ray_environment,
    system_config,
    worker_environment,
)
from pixyz_ray.settings import Settings, load_settings
from pixyz_worker.exception import InvalidBackendParameter

SECRETS = {
    "god_password_sha256": "ab" * 32,
    "job_store_url": "postgresql+psycopg://pixyz:hunter2@db/pixyz",
    "tokens": {"team": {"sha256": "cd" * 32}},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an installation with secrets."""
    values = {**SECRETS, "PIXYZ_TOKENS": SECRETS["tokens"], "license_host": "seats", "disable_pixyz": True}
    return Settings(share_path=tmp_path, pixyz_python_path=tmp_path / "sdk", **values)


def test_worker_variables_are_text_without_secrets(settings: Settings) -> None:
    """Given settings with secrets, when the runtime environment is made, then it contains none of them."""
    variables = worker_environment(settings)
    assert all(isinstance(value, str) for value in variables.values())
    text = json.dumps(variables)
    assert not [secret for secret in ("hunter2", "ab" * 32, "cd" * 32) if secret in text]


def test_settings_without_a_value_are_empty_for_workers(tmp_path: Path) -> None:
    """Given no licence server, when the variables are made, then a machine's own value of it is overridden."""
    settings = Settings(share_path=tmp_path)
    assert worker_environment(settings)["LICENSE_HOST"] == ""
    assert worker_environment(settings)["DEBUG"] == ""
    assert not {"LICENSE_HOST", "DEBUG"} & driver_environment(settings).keys()


def test_search_path_of_each_machine_is_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a folder of the Pixyz SDK, when variables are made, then the machine's own search path follows it."""
    monkeypatch.setenv("PYTHONPATH", "/of/the/head")
    sdk = settings.pixyz_python_path
    assert worker_environment(settings)["PYTHONPATH"] == f"{sdk}:${{PYTHONPATH}}"
    assert driver_environment(settings)["PYTHONPATH"] == f"{sdk}:/of/the/head"


def test_a_value_that_ray_would_change_is_refused(tmp_path: Path) -> None:
    """Given a folder with a dollar sign, when variables for a cluster are made, then the message names the setting."""
    settings = Settings(share_path=tmp_path / "a$HOME")
    with pytest.raises(InvalidBackendParameter, match=r"SHARE_PATH=.*contains '\$'"):
        worker_environment(settings)
    assert driver_environment(settings)["SHARE_PATH"] == str(tmp_path / "a$HOME")


def test_core_variables_of_ray_stay_out_of_runtime_environments(settings: Settings, tmp_path: Path) -> None:
    """Given a Ray of our own and one that is joined, when compared, then only the first sets Ray's own variables."""
    own = ray_environment(settings, "mark", tmp_path, 2)
    core = {one.name for one in before_ray(settings)}
    # One machine has nobody to declare it dead but the supervisor.
    assert {name for name in core if "health_check" not in name and "grpc" not in name} <= own.keys()
    # The tracker reads these itself.
    assert {name for name in core & worker_environment(settings).keys() if "grpc_client_keepalive" not in name} == set()
    assert not [name for name in worker_environment(settings) if name.startswith("RAY_AUTH")]


def test_problems_name_variable_effect_and_remedy(settings: Settings) -> None:
    """Given a machine whose Ray was started without variables, when compared, then each message says what to do."""
    problems = {one.variable: one for one in environment_problems(settings, {"RAY_worker_niceness": "15"})}
    assert problems.keys() == {one.name for one in before_ray(settings)}
    assert problems["RAY_memory_monitor_refresh_ms"].needed
    nice = problems["RAY_worker_niceness"]
    assert (nice.found, nice.wanted, nice.needed) == ("15", "0", False)
    assert str(nice).startswith("RAY_worker_niceness is 15 and should be 0: otherwise other programs")
    assert "--system-config" in str(nice)
    assert "--system-config" not in str(problems["REPORTER_UPDATE_INTERVAL_MS"])


def test_recommended_variables_share_a_message(settings: Settings) -> None:
    """Given a plain Ray, when messages are made, then the needed variable has one, and all others have one together."""
    problems = environment_problems(settings, {"RAY_worker_niceness": "15"})
    needed, recommended = environment_messages(problems)
    assert needed.startswith("RAY_memory_monitor_refresh_ms is not set and must be 0: otherwise where memory runs")
    assert "RAY_worker_niceness=0 (it is 15), RAY_worker_cap_enabled=0, " in recommended
    assert 'eval "$(python -m pixyz_ray.cluster.environment)"' in recommended
    assert environment_messages([]) == []


def test_system_configuration_takes_precedence(settings: Settings) -> None:
    """Given a head's system configuration, when a machine is compared, then its environment does not count there."""
    environment = {one.name: one.value for one in before_ray(settings)}
    assert environment_problems(settings, environment) == []
    assert environment_problems(settings, {**environment, "RAY_worker_cap_enabled": "False"}) == []
    bare = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    rest = [one.variable for one in environment_problems(settings, bare, system_config(settings))]
    assert rest == ["RAY_USAGE_STATS_ENABLED"]
    wrong = environment_problems(settings, environment, {"worker_niceness": 15})
    assert [(one.variable, one.found) for one in wrong] == [("RAY_worker_niceness", "15")]


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program that prints variables."""
    command = [sys.executable, "-m", "pixyz_ray.cluster.environment", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))


def test_the_program_prints_what_must_precede_ray(settings: Settings) -> None:
    """Given a machine without settings, when its shell asks, then it gets Ray's variables and no others."""
    lines = run_module().stdout.splitlines()
    names = {line.split("=")[0].removeprefix("export ") for line in lines if line.startswith("export")}
    assert names == {one.name for one in before_ray(settings)} | {"RAY_TMPDIR", "PIXYZ_MASK_OF_SHARE"}
    assert json.loads(run_module("--system-config").stdout) == system_config(settings)
    assert run_module("--system").stderr.startswith("usage:")


def test_options_without_effect_on_a_cluster_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a number of CPUs for a Ray that is joined, when the platform starts, then a note names option and place."""
    assert joining_notes(settings, None) == []
    monkeypatch.setenv("CONCURRENT_TASKS", "4")
    notes = [str(note) for note in joining_notes(load_settings(), 2)]
    assert notes[0].startswith("--num-cpus has no effect on a Ray cluster that is joined.")
    assert notes[1].startswith("CONCURRENT_TASKS (in the environment) has no effect")
    assert "ray start --num-cpus" in notes[1]
