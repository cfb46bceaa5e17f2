"""Mistakes in settings: each is one sentence with name, value and place, and no secret is ever printed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixyz_ray import config_file
from pixyz_ray import settings as settings_module
from pixyz_ray.setting_names import guess_in_environment
from pixyz_ray.setting_problems import SECRET_NAMES
from pixyz_ray.settings import SETTINGS, Settings, load_settings, read_settings
from pixyz_worker.exception import InvalidBackendParameter

ANY_TEXT = frozenset(
    {"LICENSE_HOST", "SHARE_PATH", "PROCESS_PATH", "PIXYZ_PYTHON_PATH", "API_HOST", "QUEUE_NAME", "CORS_ORIGINS"}
    | {"ALLOWED_HOSTS"}
)
"""Settings for which `2 parsecs` is a value."""

MACHINE = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
    "USER": "root",
    "SHELL": "/bin/bash",
    "PWD": "/",
    "UID": "1000",
    "LOGLEVEL": "info",
    "LS_COLORS": "x",
    "XDG_CONFIG_HOME": "/x",
    "SSH_AUTH_SOCK": "/x",
    "LD_LIBRARY_PATH": "/x",
    "PYTHONPATH": "/x",
    "VIRTUAL_ENV": "/x",
    "CUDA_VISIBLE_DEVICES": "0",
    "OMP_NUM_THREADS": "1",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "KUBERNETES_PORT_443_TCP": "tcp://10.0.0.1:443",
    "RAY_ADDRESS": "auto",
    "CI": "true",
    "GITHUB_TOKEN": "x",
    "GITHUB_WORKSPACE": "/x",
    "GITHUB_API_URL": "x",
    "RUNNER_OS": "Linux",
    "AZURE_EXTENSION_DIR": "/x",
    "AWS_ACCESS_KEY_ID": "x",
    "DOCKER_HOST": "x",
    "JENKINS_URL": "x",
    "BUILD_NUMBER": "1",
    "GITLAB_CI": "true",
    "CI_JOB_TOKEN": "x",
    "CI_API_V4_URL": "x",
    "DEBUG_COLORS": "1",
    "API_KEY": "x",
    "API_TOKEN": "x",
    "API_URL": "x",
    "MAX_JOBS": "4",
    "MAX_WORKERS": "4",
    "PIXYZ_URL": "http://x",
    "PIXYZ_TOKEN": "x",
    "PIXYZ_SESSION": "x",
}
"""Variables as on a workstation, a cluster and machines that build."""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing but what a test sets."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIXYZ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config_file, "SYSTEM_CONFIG", tmp_path / "etc.conf")
    monkeypatch.setattr(settings_module, "PIXYZ_FOLDER", tmp_path / "opt")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)


def in_file(tmp_path: Path, *lines: str) -> Path:
    """Write the configuration file of the home."""
    file = tmp_path / "home" / "pixyz-scheduler.conf"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - ANY_TEXT))
@pytest.mark.parametrize("place", ["environment", "file"])
def test_each_bad_setting_is_one_sentence(
    name: str, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given a value of no use, when loaded, then one sentence has name, place and, unless secret, value."""
    if place == "environment":
        monkeypatch.setenv(name, "2 parsecs")
        where = "in the environment"
    else:
        where = f"in {in_file(tmp_path, '# first', '', f'{name} = 2 parsecs')}, line 3"
    with pytest.raises(InvalidBackendParameter) as caught:
        load_settings()
    begin = f"{name} ({where}) " if name in SECRET_NAMES else f"{name}=2 parsecs ({where}) "
    assert caught.value.message.startswith(begin)
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message
    assert ("parsecs" in caught.value.message) == (name not in SECRET_NAMES)


def test_the_sentence_says_what_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given a size in an unknown unit, when loaded, then the sentence says which unit a bare number has."""
    file = in_file(tmp_path, "MAX_MEMORY_USAGE=2 parsecs", "MAX_LOG_BYTES=x", "CLEANUP_DELAY=x")
    with pytest.raises(InvalidBackendParameter) as caught:
        load_settings()
    assert sorted(caught.value.message.splitlines()) == [
        f"CLEANUP_DELAY=x (in {file}, line 3) is not a duration: write a number of seconds, "
        "or a duration such as 90s, 1h30m or 7d.",
        f"MAX_LOG_BYTES=x (in {file}, line 2) is not a size: write a number of bytes, or a size such as 2GB or 512MB.",
        f"MAX_MEMORY_USAGE=2 parsecs (in {file}, line 1) is not a size: write a number of KB, "
        "or a size such as 2GB or 512MB.",
    ]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("SHARE_PATH", __file__, "is a file: name a folder"),
        ("QUEUE_NAME", "cpu,a/b", "cannot name the queue 'a/b'"),
        ("LICENSE_PORT", "27000@server", "is not a whole number"),
        ("LICENSE_PORT", "0", "is too small: it must be at least 1"),
        ("DEBUG", "maybe", "must be true or false"),
        ("MAX_ARCHIVE_RATIO", "inf", "is not a finite number"),
        ("PIXYZ_POOLS", '{"a": "x"}', "a is not a whole number"),
        ("PIXYZ_POOLS", '{"a": 1,}', "is not valid JSON"),
        (
            "PIXYZ_QUEUES",
            '{"gpu": {"memory_limit": "2 parsecs"}}',
            "queue 'gpu': memory_limit '2 parsecs' is not a size",
        ),
        ("PIXYZ_QUEUES", '{"gpu": {"num_gpu": 1}}', "queue 'gpu' has no setting num_gpu; did you mean num_gpus?"),
        ("PIXYZ_QUEUES", '{"gpu": 3}', "gpu must be a JSON object"),
        (
            "PIXYZ_QUEUES",
            '{"gpu": {"gpu": 1}}',
            "must be 'require' or 'prefer', not 1. The number of cards is num_gpus.",
        ),
        ("PIXYZ_QUEUES", '{"gpu": {"gpu": "requires"}}', "not 'requires'. Did you mean 'require'?"),
        ("PIXYZ_QUEUES", '{"gpu": {"gpu_memory": "8 cards"}}', "queue 'gpu': gpu_memory '8 cards' is not a size"),
        ("PIXYZ_QUEUES", '{"a b": {}}', "cannot name the queue 'a b'"),
        ("PIXYZ_QUEUES", '{"gpu": {"labels": {"a": "(b)"}}}', "labels: a must be the value of a label"),
        ("PIXYZ_QUEUES", '{"gpu": {"labels": {"a": 1}}}', "labels: a must be the value of a label"),
        ("PIXYZ_QUEUES", '{"gpu": {"labels": {"a b": "x"}}}', "labels: 'a b' is not a name"),
        ("PIXYZ_QUEUES", '{"gpu": {"resources": {"a": -1}}}', "resources: a must be a number from 0 on, not '-1'"),
        ("PIXYZ_QUEUES", '{"gpu": {"resources": [1]}}', "resources must be a JSON object"),
        ("PIXYZ_QUEUES", '{"gpu": {"num_cpus": 1}, "gpu": {}}', "'gpu' stands in it twice"),
        ("PIXYZ_POOLS", '{"a": ' * 2000, "is not valid JSON"),
        ("TRACKER_PORT", "8001", "is the port of API_PORT too"),
        ("PIXYZ_QUEUES", '{"gpu": {"num_gpus": 1.5}}', "num_gpus must be a fraction of one card, or a whole number"),
    ],
)
def test_what_is_wrong_is_said(name: str, text: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a mistake that only this setting can have, when loaded, then it is described."""
    monkeypatch.setenv(name, text)
    with pytest.raises(InvalidBackendParameter) as caught:
        load_settings()
    shown = text if len(text) <= 100 else f"{text[:97]}..."
    assert caught.value.message.startswith(f"{name}={shown} (in the environment)")
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/tmp/a\nb", "has a character that cannot be printed"),
        ("/tmp/\x1b[31m", "has a character that cannot be printed"),
        ("/tmp/" + "a" * 100_000, "cannot be the path of a folder: File name too long"),
        ("~no-such-user/share", "cannot be the path of a folder"),
    ],
)
def test_a_path_that_no_folder_can_have(path: str, complaint: str, tmp_path: Path) -> None:
    """Given a path that no folder can have, when loaded, then one short message says so."""
    with pytest.raises(InvalidBackendParameter) as caught:
        load_settings(share_path=path)
    assert complaint in caught.value.message
    assert len(caught.value.message) < 300


def test_labels_may_have_rays_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the operators of Ray's label selectors, when loaded, then the queue has them."""
    labels = {"a": "b", "c": "!d", "ray.io/accelerator-type": "in(A100, H100)", "e": "!in(f)"}
    monkeypatch.setenv("PIXYZ_QUEUES", json.dumps({"gpu": {"labels": labels}}))
    assert load_settings().queue_table["gpu"].labels == labels


def test_settings_that_do_not_go_together_name_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given an address for others and no token, when loaded, then both are named, with the place."""
    file = in_file(tmp_path, "API_HOST=0.0.0.0")
    with pytest.raises(InvalidBackendParameter) as caught:
        load_settings()
    assert caught.value.message == (
        f"GOD_PASSWORD_SHA256 must be set, since API_HOST=0.0.0.0 (in {file}, line 1) can be reached from other "
        "machines: set it to the SHA-256 of a long random token."
    )


@given(secret=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=6, max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_secret_is_printed(secret: str, tmp_path: Path) -> None:
    """Given secrets in settings, right or wrong, when all that is said of them is printed, then they are not in it."""
    secret = f"q7{secret.strip()}z9"
    in_json = json.dumps({"team": {"sha256": secret}})
    for name, text in (
        ("GOD_PASSWORD_SHA256", secret),
        ("PIXYZ_TOKENS", in_json),
        ("PIXYZ_TOKENS", secret),
        ("JOB_STORE_URL", f"postgresql://user:{secret}@host/jobs"),
        ("JOB_STORE_URL", f"mysql://user:{secret}@host/jobs"),
        ("JOB_STORE_URL", secret),
        ("GOD_PASSWORD", secret),
        ("REDIS_PASSWORD", secret),
    ):
        in_file(tmp_path, f"{name}={text}")
        reading = read_settings()
        said = "\n".join([*reading.sources.problems, *map(str, reading.sources.notes), *map(str, reading.rows())])
        assert secret not in said
        assert not {"q7", "z9"} & {said[place : place + 2] for place in range(len(said))}
    digest = hashlib.sha256(secret.encode()).hexdigest()
    in_file(tmp_path, f"GOD_PASSWORD_SHA256={digest}")
    assert digest not in str(read_settings().rows())


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("GOD_PASSWORD_SHA265", "GOD_PASSWORD_SHA256"),
        ("PIXYZ_TIME_LIMT", "PIXYZ_TIME_LIMIT"),
        ("MAX_MEMORY_USEAGE", "MAX_MEMORY_USAGE"),
        ("LICENCE_HOST", "LICENSE_HOST"),
        ("PIXZY_TIME_LIMIT", "PIXYZ_TIME_LIMIT"),
        ("CLEANUP_ENABLE", "CLEANUP_ENABLED"),
        ("CONCURRENT_TASK", "CONCURRENT_TASKS"),
    ],
)
def test_a_misspelt_name_is_reported(wrong: str, meant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given a typing error, in the environment or the file, when read, then the right name is proposed."""
    monkeypatch.setenv(wrong, "1")
    assert [str(note) for note in read_settings().sources.notes] == [
        f"{wrong} (in the environment) is not a setting. Did you mean {meant}?"
    ]
    monkeypatch.delenv(wrong)
    file = in_file(tmp_path, f"{wrong}=1")
    assert [str(note) for note in read_settings().sources.notes] == [
        f"{wrong} (in {file}, line 1) is not a setting. Did you mean {meant}?"
    ]


def test_an_ordinary_environment_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the variables of machines of all kinds, when read, then there is nothing to say."""
    for name, value in MACHINE.items():
        monkeypatch.setenv(name, value)
    reading = read_settings()
    assert (reading.sources.problems, reading.sources.notes, reading.rows()) == ([], [], [])


@given(name=st.from_regex(r"[A-Z]{1,8}(_[A-Z0-9]{1,8}){0,3}", fullmatch=True))
def test_a_name_of_others_is_no_misspelling(name: str) -> None:
    """Given any name, when it is taken for a misspelling, then it is close to what was meant."""
    meant = guess_in_environment(name, SETTINGS.keys())
    assert meant is None or abs(len(meant) - len(name)) <= len(meant) // 3


def test_a_known_name_is_never_reported(tmp_path: Path) -> None:
    """Given a file with every setting, when read, then none is taken for an old name or a typing error."""
    in_file(tmp_path, *(f"{name}=" for name in SETTINGS))
    assert read_settings().sources.notes == []


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("REDIS_MASTER_SERVICE_HOST", "JOB_STORE_URL"),
        ("REDIS_HOST", "JOB_STORE_URL"),
        ("REDIS_DATABASE", "JOB_STORE_URL"),
        ("CELERY_BROKER_URL", "PIXYZ_QUEUES"),
        ("RESULT_BACKEND", "JOB_STORE_URL"),
        ("FLOWER_PORT", "pixyz queue"),
        ("POOL_TYPE", "CONCURRENT_TASKS"),
        ("DOCKER_WORKER_IMAGE", "Remove it"),
        ("GOD_PASSWORD", "GOD_PASSWORD_SHA256"),
        ("STORAGE_BACKEND", "SHARE_PATH"),
    ],
)
def test_an_old_setting_without_a_meaning_is_named_once(
    name: str, advice: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Given a setting of a Celery-based scheduler, when read, then one note says what to do instead."""
    monkeypatch.setenv(name, "x")
    (note,) = read_settings().sources.notes
    assert note.found.startswith(f"{name} (in the environment) has no meaning here: ")
    assert advice in note.remedy
    monkeypatch.delenv(name)
    file = in_file(tmp_path, "API_PORT=1", f"{name}=x")
    (note,) = read_settings().sources.notes
    assert note.found.startswith(f"{name} (in {file}, line 2) has no meaning here: ")


@pytest.mark.parametrize(
    "name", ["UID", "S3_BUCKET", "AZURE_ACCOUNT", "CELERY_ANYTHING", "WORKER_POOL", "PIXYZ_HOME", "PIXYZ_URL", "FOO"]
)
def test_in_the_file_every_unknown_name_is_reported(name: str, tmp_path: Path) -> None:
    """Given a name that only a configuration file would have, when read, then it is named."""
    in_file(tmp_path, f"{name}=x")
    (note,) = read_settings().sources.notes
    assert note.found.startswith(f"{name} (in ")
    assert note.remedy


def test_a_whole_file_of_before_is_read(tmp_path: Path) -> None:
    """Given a configuration of the scheduler before, when read, then it works, and what has no meaning is named."""
    digest = hashlib.sha256(b"token").hexdigest()
    in_file(
        tmp_path,
        "[redis]",
        'REDIS_MASTER_SERVICE_HOST="127.0.0.1"',
        'REDIS_PASSWORD=""',
        "; licences",
        "LICENSE_FLEXLM=false  # true for FlexLM",
        "LICENSE_HOST=license.example.com",
        f'GOD_PASSWORD_SHA256="{digest.upper()}"',
        "UID=1001",
        "LOG_LEVEL=warn",
        'DEBUG="false"',
        "MAX_MEMORY_USAGE=2097152",
        "POOL_TYPE=solo",
        "QUEUE_NAME=cpu,gpu,zip,clean,control,gpuhigh,render",
        'CLEANUP_ENABLED="True"',
        "CLEANUP_DELAY=3600",
    )
    reading = read_settings()
    found = reading.checked()
    assert (found.god_password_sha256, found.license_flexlm, found.debug) == (digest, False, False)
    assert (found.log_level, found.cleanup_enabled, found.cleanup_delay) == ("WARNING", True, 3600)
    assert found.max_memory_usage == 2 << 30
    assert list(found.queue_table) == [*Settings().queue_table, "render"]
    assert [note.found.partition(" ")[0] for note in reading.sources.notes] == [
        "REDIS_MASTER_SERVICE_HOST",
        "REDIS_PASSWORD",
        "UID",
        "POOL_TYPE",
    ]


def test_a_line_that_cannot_be_read_is_not_left_out_in_silence(tmp_path: Path) -> None:
    """Given unreadable lines, when read, then one with a setting keeps the platform from starting, others are noted."""
    file = in_file(tmp_path, "API_PORT 8001", "=3", "hello world", "SHARE_PATH=${NOWHERE}/x", "LOG_LEVEL=DEBUG")
    reading = read_settings()
    assert reading.settings is None
    assert reading.sources.problems == [
        f"API_PORT (in {file}, line 1) cannot be read: write NAME=value.",
        f"SHARE_PATH (in {file}, line 4) cannot be read: ${{NOWHERE}} is not set: set it above, "
        "or write ${NOWHERE:-DEFAULT}.",
    ]
    assert [note.found for note in reading.sources.notes] == [
        f"Line 2 of {file} cannot be read.",
        f"hello (in {file}, line 3) is not a setting.",
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["API_PORT=1", "api_port=2", "API_PORT=3"], ["API_PORT is set more than once", "lines 1, 2 and 3"]),
        (["PROCESS_PATH=/nowhere"], ["PROCESS_PATH=/nowhere", "does not exist"]),
        (["PIXYZ_PYTHON_PATH=/nowhere"], ["PIXYZ_PYTHON_PATH=/nowhere", "does not exist"]),
        (["MAX_MEMORY_USAGE=8589934592"], ["is 8TB", "counts KB", "such as 8GB"]),
        (["MAX_MEMORY_USAGE_GPUHIGH=2048"], ["is 2MB", "counts KB", "such as 2GB"]),
    ],
)
def test_odd_settings_are_noted(lines: list[str], words: list[str], tmp_path: Path) -> None:
    """Given settings that can be used but look wrong, when read, then a note says why."""
    in_file(tmp_path, *lines)
    reading = read_settings()
    (note,) = reading.sources.notes
    assert reading.settings is not None
    assert all(word in str(note) for word in words)


def test_a_file_in_the_current_folder_is_mentioned(tmp_path: Path) -> None:
    """Given a file that does not count, when read, then a note says how to use it."""
    here = tmp_path / "pixyz-scheduler.conf"
    here.write_text("API_PORT=1111\n")
    reading = read_settings()
    assert reading.checked().api_port == 8001
    (note,) = reading.sources.notes
    assert str(here) in note.found
    assert note.remedy == f"To use it, set PIXYZ_CONFIG={here}."


def test_each_setting_has_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given settings from all sources, when listed, then each has what was written, what that means, and its place."""
    file = in_file(tmp_path, "MAX_MEMORY_USAGE=2097152", "API_PORT=1", "CLEANUP_DELAY=7d", "PRIORITY_AGEING=90")
    monkeypatch.setenv("api_port", "2222")
    monkeypatch.setenv("JOB_STORE_URL", "postgresql://user:geheim@host/jobs?sslpassword=geheim")
    rows: list[dict[str, Any]] = read_settings(api_host="::1").rows()
    assert [(row["name"], row["value"], row["source"]) for row in rows] == [
        ("API_HOST", "::1", "on the command line"),
        ("API_PORT", "2222", "in the environment"),
        ("CLEANUP_DELAY", "7d", f"in {file}, line 3"),
        ("JOB_STORE_URL", "postgresql://***@host/jobs", "in the environment"),
        ("MAX_MEMORY_USAGE", "2097152 (2GB)", f"in {file}, line 1"),
        ("PRIORITY_AGEING", "90 (1m30s)", f"in {file}, line 4"),
    ]
