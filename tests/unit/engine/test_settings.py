"""Settings: environment over file over defaults, and mistakes that are told in a sentence."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pixyz_ray import config_file
from pixyz_ray import settings as settings_module
from pixyz_ray.cluster.environment import worker_environment
from pixyz_ray.settings import Settings, load_settings
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.kernel.limits import Limits
from pixyz_worker.license import LicenseSettings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own configuration."""
    for name in list(os.environ):
        if name in {field.upper() for field in Settings.model_fields} or name.startswith("PIXYZ_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config_file, "SYSTEM_CONFIG", tmp_path / "etc.conf")
    monkeypatch.setattr(settings_module, "PIXYZ_FOLDER", tmp_path / "opt")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)


def test_given_nothing_when_loaded_then_the_defaults_are_safe(tmp_path: Path) -> None:
    """Loopback, everything in the platform's home."""
    settings = load_settings()
    assert (settings.api_host, settings.api_port) == ("127.0.0.1", 8001)
    assert settings.share_path == tmp_path / "home" / "share"
    assert settings.god_password_sha256 is None
    assert settings.time_limit_of(settings.queue_table["cpu"]) == 2400
    assert settings.time_limit_of(settings.queue_table["gpuhigh"]) == 3600


def test_given_environment_file_and_override_when_loaded_then_the_strongest_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Defaults < file < environment < command line."""
    (tmp_path / "home" / "pixyz-scheduler.conf").write_text("API_PORT=1111\nLOG_LEVEL=debug\nPIXYZ_TIME_LIMIT=5\n")
    assert load_settings().api_port == 1111
    monkeypatch.setenv("API_PORT", "2222")
    settings = load_settings()
    assert (settings.api_port, settings.log_level, settings.pixyz_time_limit) == (2222, "DEBUG", 5)
    assert load_settings(api_port=3333).api_port == 3333


def test_given_a_named_file_when_it_is_missing_then_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that was asked for is never silently left out."""
    monkeypatch.setenv("PIXYZ_CONFIG", "/nowhere/x.conf")
    with pytest.raises(InvalidBackendParameter, match=r"/nowhere/x\.conf"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("API_PORT", "zero", "API_PORT"),
        ("API_PORT", "0", "API_PORT"),
        ("API_PORT", "70000", "API_PORT"),
        ("GOD_PASSWORD_SHA256", "secret", "64 hexadecimal"),
        ("PIXYZ_TIME_LIMIT", "-1", "PIXYZ_TIME_LIMIT"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL"),
        ("MAX_UPLOAD_BYTES", "0", "MAX_UPLOAD_BYTES"),
        ("PIXYZ_QUEUES", "[1]", "PIXYZ_QUEUES"),
        ("API_HOST", "0.0.0.0", "GOD_PASSWORD_SHA256"),
        ("PIXYZ_TOKENS", '{"team": {}}', "PIXYZ_TOKENS.*sha256"),
        ("PIXYZ_TOKENS", '{"team": {"sha256": "secret"}}', "PIXYZ_TOKENS"),
        (
            "PIXYZ_TOKENS",
            json.dumps({"team": {"sha256": "0" * 64, "shares": 2}}),
            "team has no setting shares; did you mean share",
        ),
        ("PIXYZ_TOKENS", json.dumps({"team": {"sha256": "0" * 64, "share": 0}}), "team.share is too small"),
        ("PIXYZ_TOKENS", json.dumps({"team": {"sha256": "0" * 64, "concurrency": 0}}), "team.concurrency is too small"),
        ("PIXYZ_TOKENS", json.dumps({"operator": {"sha256": "0" * 64}}), "'operator' is the platform's own name"),
        ("PIXYZ_TOKENS", json.dumps({"local": {"sha256": "0" * 64}}), "'local' is the platform's own name"),
        ("PIXYZ_POOLS", '{"catia": 0}', "'catia' must have at least 1 seat"),
        ("PIXYZ_POOLS", '{"catia": "many"}', "PIXYZ_POOLS"),
        ("PIXYZ_POOLS", "3", "PIXYZ_POOLS"),
        ("MAX_QUEUED_JOBS", "0", "MAX_QUEUED_JOBS"),
        ("MAX_MEMORY_USAGE", "-1", "MAX_MEMORY_USAGE"),
        ("PRIORITY_AGEING", "0", "PRIORITY_AGEING"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT"),
    ],
)
def test_given_a_bad_value_when_loaded_then_the_message_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, word: str
) -> None:
    """The operator finds the line."""
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidBackendParameter, match=word):
        load_settings()


def test_given_queues_when_changed_then_the_table_has_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of one, and a new one; an unknown setting is refused."""
    monkeypatch.setenv("PIXYZ_QUEUES", '{"gpu": {"num_gpus": 0.5}, "render": {"num_cpus": 4}}')
    table = load_settings().queue_table
    assert (table["gpu"].num_gpus, table["gpu"].retry_queue) == (0.5, "gpuhigh")
    assert (table["render"].name, table["render"].num_cpus) == ("render", 4)
    monkeypatch.setenv("PIXYZ_QUEUES", '{"gpu": {"gpus": 1}}')
    with pytest.raises(InvalidBackendParameter, match=r"'gpu'.*gpus.*did you mean gpu"):
        _ = load_settings().queue_table


def test_given_tokens_when_compared_then_only_the_two_right_ones_pass() -> None:
    """The operator's, and this machine's own."""

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    settings = load_settings(god_password_sha256=digest("operator").upper())
    assert settings.submitter_of("operator", digest("local")) == "operator"
    assert settings.submitter_of("local", digest("local")) == "local"
    for wrong in ("", "operator ", "Operator", digest("operator"), "\udcff"):
        assert settings.submitter_of(wrong, digest("local")) is None
    assert load_settings().submitter_of("operator", digest("local")) is None


def test_given_more_tokens_when_one_comes_then_it_is_known_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a share and limits of its own."""
    table = {
        "team": {"sha256": hashlib.sha256(b"one").hexdigest().upper(), "share": 2, "concurrency": 8},
        "guest": {"sha256": hashlib.sha256(b"two").hexdigest(), "max_queued": 10},
    }
    monkeypatch.setenv("PIXYZ_TOKENS", json.dumps(table))
    settings = load_settings()
    assert [settings.submitter_of(token, "0" * 64) for token in ("one", "two", "three")] == ["team", "guest", None]
    team, guest = settings.tokens["team"], settings.tokens["guest"]
    assert (team.share, team.concurrency, team.max_queued) == (2.0, 8, None)
    assert (guest.share, guest.concurrency, guest.max_queued) == (1.0, None, 10)


def test_given_pools_and_limits_of_queues_when_loaded_then_they_are_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue's own memory limit rules over the setting for all."""
    monkeypatch.setenv("PIXYZ_POOLS", '{"catia": 3}')
    monkeypatch.setenv("PIXYZ_QUEUES", '{"gpu": {"concurrency": 4, "memory_limit": 1000}}')
    monkeypatch.setenv("MAX_MEMORY_USAGE", "2000")
    settings = load_settings()
    assert settings.pools == {"catia": 3}
    table = settings.queue_table
    assert table["gpu"].concurrency == 4
    assert [settings.memory_limit_of(table[name]) for name in ("gpu", "cpu", "gpuhigh")] == [1000, 2000 * 1024, None]
    assert load_settings(max_memory_usage_gpuhigh=3000).memory_limit_of(table["gpuhigh"]) == 3000


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cpu": {"concurrency": 0}}, r"'cpu'.*concurrency.*above 0.*0"),
        ({"cpu": {"concurrency": "4"}}, r"'cpu'.*concurrency"),
        ({"cpu": {"concurrency": True}}, r"'cpu'.*concurrency"),
        ({"cpu": {"memory_limit": -1}}, r"'cpu'.*memory_limit"),
        ({"cpu": {"num_cpus": "1"}}, r"'cpu'.*num_cpus"),
        ({"cpu": {"num_gpus": -1}}, r"'cpu'.*num_gpus"),
        ({"cpu": {"retry_queue": "nowhere"}}, r"'cpu'.*nowhere.*gpuhigh"),
        ({"render": {"retry_queue": "cpu", "concurrency": 1.5}}, r"'render'.*concurrency"),
    ],
    ids=str,
)
def test_given_a_queue_that_cannot_work_when_the_table_is_made_then_the_message_names_it(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    """It is told at the start, rather than by a job that waits for ever."""
    monkeypatch.setenv("PIXYZ_QUEUES", json.dumps(changes))
    with pytest.raises(InvalidBackendParameter, match=words):
        _ = load_settings().queue_table


def test_given_the_old_settings_of_memory_when_loaded_then_a_bare_number_is_kilobytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2097152 is 2 GB, as it was before; a unit says it itself, and a value from code is bytes."""
    for text in ("2097152", "2GB", "2 gib", "2048MB"):
        monkeypatch.setenv("MAX_MEMORY_USAGE", text)
        monkeypatch.setenv("MAX_MEMORY_USAGE_GPUHIGH", text)
        settings = load_settings()
        assert [settings.max_memory_usage, settings.max_memory_usage_gpuhigh] == [2 << 30, 2 << 30]
    assert load_settings(max_memory_usage=2097152).max_memory_usage == 2097152


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MAX_ARCHIVE_BYTES", "2GB", 2 << 30),
        ("MAX_ARCHIVE_BYTES", "1000", 1000),
        ("MAX_WORKER_GROWTH", "1.5 g", 3 << 29),
        ("MAX_UPLOAD_BYTES", "512MiB", 512 << 20),
        ("PIXYZ_TIME_LIMIT", "1h30m", 5400),
        ("PIXYZ_RETRY_TIME_LIMIT", "2h", 7200),
        ("CLEANUP_DELAY", "7d", 604800),
        ("PRIORITY_AGEING", "500ms", 0.5),
        ("MAX_IMPORT_SECONDS", "90", 90),
        ("LOG_LEVEL", "warn", "WARNING"),
        ("LICENSE_FLEXLM", " True ", True),
    ],
)
def test_given_a_value_with_a_unit_when_loaded_then_it_is_in_bytes_or_seconds(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any
) -> None:
    """Old names and new ones alike."""
    monkeypatch.setenv(name, text)
    assert getattr(load_settings(), name.lower()) == value


def test_given_limits_of_queues_with_units_when_loaded_then_they_are_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare number in PIXYZ_QUEUES stays bytes."""
    changes = {"cpu": {"memory_limit": "8GB"}, "gpu": {"memory_limit": "1000"}, "zip": {"memory_limit": 1000}}
    monkeypatch.setenv("PIXYZ_QUEUES", json.dumps(changes))
    table = load_settings().queue_table
    assert [table[name].memory_limit for name in ("cpu", "gpu", "zip", "clean")] == [8 << 30, 1000, 1000, None]


def test_given_names_of_queues_when_loaded_then_new_ones_are_like_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known names change nothing; the others can be changed and referred to like any queue."""
    before = load_settings().queue_table
    monkeypatch.setenv("QUEUE_NAME", "gpu, cpu;render")
    monkeypatch.setenv("PIXYZ_QUEUES", '{"gpu": {"retry_queue": "render"}}')
    table = load_settings().queue_table
    assert table["render"] == replace(before["cpu"], name="render", purpose=table["render"].purpose)
    assert table["cpu"] == before["cpu"]
    assert table["gpu"].retry_queue == "render"


def test_given_an_installed_sdk_when_loaded_then_its_usual_folder_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only where the folder exists, and nothing else is given."""
    assert load_settings().pixyz_python_path is None
    (tmp_path / "opt").mkdir()
    assert load_settings().pixyz_python_path == tmp_path / "opt"
    monkeypatch.setenv("PIXYZ_PYTHON_PATH", str(tmp_path))
    assert load_settings().pixyz_python_path == tmp_path


def test_given_settings_in_a_file_when_workers_are_started_then_they_have_plain_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the SDK reads from its environment has no units, and licences reach the nodes of a cluster too."""
    for name in ("MAX_ARCHIVE_BYTES", "LICENSE_HOST", "LICENSE_FLEXLM", "MAX_IMPORT_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home" / "pixyz-scheduler.conf").write_text(
        "MAX_ARCHIVE_BYTES=2GB\nMAX_IMPORT_SECONDS=1h\nLICENSE_HOST=seats\nLICENSE_PORT=27001\nLICENSE_FLEXLM=yes\n"
    )
    environment = worker_environment(load_settings())
    assert environment["MAX_ARCHIVE_BYTES"] == str(2 << 30)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    limits, licence = Limits.from_environment(), LicenseSettings.from_environment()
    assert (limits.max_archive_bytes, limits.max_import_seconds) == (2 << 30, 3600)
    assert (licence.host, licence.port, licence.flexlm) == ("seats", 27001, True)


def test_given_a_bad_setting_when_a_node_is_started_then_its_shell_command_fails(tmp_path: Path) -> None:
    """`eval "$(...)" && ray start` stops, and the sentence is on the terminal."""
    environment = {**os.environ, "API_PORT": "zero", "REDIS_HOST": "x"}
    module = f"{sys.executable} -m pixyz_ray.cluster.environment"
    done = subprocess.run(
        ["bash", "-c", f'eval "$({module})" && echo started'],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "REDIS_HOST (in the environment) has no meaning here" in done.stderr
    assert done.stderr.endswith("API_PORT=zero (in the environment) is not a whole number.\n")


@pytest.mark.parametrize("name", ["SHARE_PATH", "PROCESS_PATH", "PIXYZ_PYTHON_PATH"])
def test_a_relative_folder_in_a_file_does_not_depend_on_the_current_one(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given a relative folder in the file, when loaded from anywhere, then it is the same one beside the file."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "own.conf").write_text(f"{name}=data/folder\n")
    monkeypatch.setenv("PIXYZ_CONFIG", "conf/own.conf")
    reading = settings_module.read_settings()
    expected = tmp_path / "conf" / "data" / "folder"
    assert getattr(reading.checked(), name.lower()) == expected
    assert [row["value"] for row in reading.rows()] == [f"data/folder ({expected})"]
    monkeypatch.setenv("PIXYZ_CONFIG", str(tmp_path / "conf" / "own.conf"))
    monkeypatch.chdir("/")
    assert getattr(load_settings(), name.lower()) == expected
    monkeypatch.setenv(name, "here")
    monkeypatch.chdir(tmp_path)
    assert getattr(load_settings(), name.lower()) == tmp_path / "here"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sqlite:///jobs.db", "sqlite:///{}/jobs.db"),
        ("sqlite:////var/jobs.db", "sqlite:////var/jobs.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql://user@host/jobs", "postgresql://user@host/jobs"),
    ],
)
def test_a_relative_database_in_a_file_is_beside_it(written: str, meant: str, tmp_path: Path) -> None:
    """Given a database in the file, when loaded, then a relative one is beside the file, any other as written."""
    (tmp_path / "home" / "pixyz-scheduler.conf").write_text(f"JOB_STORE_URL={written}\n")
    assert load_settings().job_store_url == meant.format(tmp_path / "home")


def test_absolute_and_home_folders_in_a_file_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given an absolute folder and one of the user's home, when loaded, then they are not beside the file."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    lines = f"SHARE_PATH={tmp_path}/share\nPROCESS_PATH=~/processes\n"
    (tmp_path / "home" / "pixyz-scheduler.conf").write_text(lines)
    settings = load_settings()
    assert (settings.share_path, settings.process_path) == (tmp_path / "share", tmp_path / "user" / "processes")


@pytest.mark.parametrize("section", ["[nodes.worker-3]", " [node worker-3] # x", "[NODES:b]"])
def test_a_section_for_one_machine_is_refused(section: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given a section for one machine, when loaded, then the message names its line; other sections mean nothing."""
    file = tmp_path / "own.conf"
    monkeypatch.setenv("PIXYZ_CONFIG", str(file))
    file.write_text(f"[api]\n[nodes]\nAPI_PORT=9000\n{section}\nSHARE_PATH=/mnt/other\n")
    with pytest.raises(
        InvalidBackendParameter, match=r"own.conf, line 4\) cannot be used: settings hold on all machines"
    ):
        load_settings()
    file.write_text("[api]\n[nodes]\nAPI_PORT=9000\n")
    assert load_settings().api_port == 9000
