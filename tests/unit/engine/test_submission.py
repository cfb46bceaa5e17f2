"""From a request to a job: defaults, schedule and caller, and mistakes told in a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.policy import DEFAULT, POLICY_KEYS, Policy
from pixyz_ray.settings import Settings
from pixyz_ray.submission import (
    Request,
    effective_config,
    make_graph_job,
    make_job,
    process_doc,
    process_names,
    process_source,
)
from pixyz_worker.exception import InvalidBackendParameter, InvalidScript, PixyzException
from pixyz_worker.loader import Schedule, ScriptInfo

SCRIPT = b"def main(pc, params):\n    pass\n"
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]
WITH_POOLS = Settings(_env_file=None, PIXYZ_POOLS={"catia": 3, "nx": 1})  # type: ignore[call-arg]
QUEUES = ["cpu", "gpu", "gpuhigh", "control", "zip", "clean"]


def _info(schedule: Schedule | None) -> ScriptInfo:
    return ScriptInfo(entrypoints=("main",), schedules={"main": schedule} if schedule else {}, doc=None)


queues = st.none() | st.sampled_from(QUEUES)
limits = st.none() | st.floats(0.001, 1e6)


@given(queues, limits, st.booleans(), queues, limits)
def test_given_any_schedule_and_any_caller_when_put_together_then_the_caller_is_strongest(
    scheduled_queue: str | None, scheduled_limit: float | None, wait: bool, queue: str | None, limit: float | None
) -> None:
    """Defaults < schedule < caller, each value for itself; null is not given."""
    schedule = Schedule.of(queue=scheduled_queue, time_limit=scheduled_limit, wait=wait)
    config = effective_config({"queue": queue, "time_limit": limit}, _info(schedule), SETTINGS)
    assert config.queue == (queue or scheduled_queue or ("control" if wait else "cpu"))
    assert config.time_limit == (limit or scheduled_limit or 3600)
    assert config.wait is wait
    assert config.entrypoint == "main"


def test_given_a_limit_above_the_queues_when_put_together_then_a_note_says_that_it_is_cut() -> None:
    """The job is taken, and its owner told."""
    config = effective_config({"time_limit": 99_999}, _info(None), SETTINGS)
    assert any("2400" in note and "cpu" in note for note in config.notes)
    assert effective_config({}, _info(None), SETTINGS).notes == ()


@given(st.text(max_size=40))
def test_given_any_text_as_params_when_submitted_then_a_job_or_a_sentence(text: str) -> None:
    """Never another exception."""
    for form in ({"params": text}, {"config": text}):
        try:
            job, _ = make_job("0", Request(script_name="a.py", script=SCRIPT, **form), SETTINGS)
        except (InvalidBackendParameter, InvalidScript) as error:
            assert str(error)
        else:
            assert isinstance(job.params, dict)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    "entrypoint",
    "queue",
    "time_limit",
    "compute_only",
    "raw",
    "root_file",
    "script",
    "data",
    "uuid",
    "params",
    "x",
    *sorted(POLICY_KEYS),
]


@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=5))
def test_given_any_config_when_submitted_then_the_platforms_own_keys_are_never_the_callers(
    config: Mapping[str, Any],
) -> None:
    """What the runner puts into the context cannot be set from outside."""
    try:
        job, _ = make_job("0", Request(script_name="a.py", script=SCRIPT, config=json.dumps(config)), SETTINGS)
    except PixyzException:
        return
    assert not job.config.keys() & {"script", "data", "shadow", "uuid", "params", "output_dir", "input_file", "task"}
    assert not job.config.keys() & POLICY_KEYS
    assert None not in job.config.values()
    assert job.queue in QUEUES
    assert job.time_limit > 0


# --- How a job is treated among others -------------------------------------------------------------------------------

WISHES: dict[str, Any] = {
    "priority": 8,
    "pools": {"catia": 2},
    "retries": 3,
    "retry_on": ["user_error", "crash"],
    "isolation": "fresh",
    "memory_limit": 2**30,
    "keep": True,
}
GRANTED = Policy(
    priority=8,
    pools=(("catia", 2),),
    retries=3,
    retry_on=("crash", "user_error"),
    isolation="fresh",
    memory_limit=2**30,
    keep=True,
)
SCHEDULED = "@pixyz_schedule({})\ndef main(pc, params):\n    pass\n".format(
    ", ".join(f"{key}={value!r}" for key, value in WISHES.items())
).encode()


def _job(config: Mapping[str, Any], source: bytes = SCRIPT, settings: Settings = WITH_POOLS) -> Any:
    request = Request(script_name="a.py", script=source, config=json.dumps(config), submitter="team")
    return make_job("0", request, settings)[0]


def test_given_wishes_in_the_config_when_submitted_then_the_job_has_them_and_its_context_does_not() -> None:
    """All of them, and beside them what does go to the context."""
    job = _job({**WISHES, "root_file": "a.step", "colour": "red"})
    assert job.policy == GRANTED
    assert job.config == {"root_file": "a.step", "colour": "red"}
    assert job.submitter == "team"


def test_given_wishes_in_the_schedule_when_submitted_then_the_job_has_them_unless_the_caller_has_his_own() -> None:
    """Read from the source, each for itself; null is not given."""
    assert _job({}, SCHEDULED).policy == GRANTED
    policy = _job({"priority": 1, "pools": ["nx"], "keep": None}, SCHEDULED).policy
    assert (policy.priority, policy.pools, policy.keep, policy.retries) == (1, (("nx", 1),), True, 3)
    assert _job({}).policy is DEFAULT


@pytest.mark.parametrize(
    ("pools", "words"),
    [
        ("creo", "There is no pool 'creo'. Pools: catia, nx."),
        (["catia", "creo"], "There is no pool 'creo'"),
        ({"catia": 4}, "Pool 'catia' has 3 seats, and 4 are asked for."),
    ],
)
def test_given_seats_that_there_can_never_be_when_submitted_then_it_is_refused(pools: Any, words: str) -> None:
    """It would wait for ever; from the schedule as from the caller."""
    for job in ({"config": {"pools": pools}}, {"config": {}, "source": _scheduled(f"pools={pools!r}")}):
        with pytest.raises(InvalidBackendParameter, match=re.escape(words)):
            _job(**job)


def test_given_a_platform_without_pools_when_one_is_asked_for_then_the_sentence_says_who_sets_them() -> None:
    """The operator, with a setting."""
    with pytest.raises(InvalidBackendParameter, match="PIXYZ_POOLS"):
        _job({"pools": "catia"}, settings=SETTINGS)


@pytest.mark.parametrize(
    ("argument", "key"),
    [("priority=11", "priority"), ("keep='long'", "keep"), ("retry_on=['sometimes']", "retry_on")],
)
def test_given_a_schedule_with_a_value_of_no_use_when_submitted_then_it_is_refused(argument: str, key: str) -> None:
    """As it would be in the config."""
    with pytest.raises(InvalidBackendParameter, match=f"'{key}' must be"):
        _job({}, _scheduled(argument))


def test_given_a_graph_from_outside_when_submitted_then_its_own_job_has_what_the_config_asks_for() -> None:
    """It hands its priority down to its tasks."""
    request = Request(script_name="a.py", script=SCRIPT, config='{"priority": 7, "keep": 5}', submitter="team")
    job, _ = make_graph_job("0", request)
    assert (job.policy.priority, job.policy.keep, job.submitter) == (7, 5.0, "team")


def _scheduled(arguments: str) -> bytes:
    return f"@pixyz_schedule({arguments})\ndef main(pc, params):\n    pass\n".encode()


# --- Names and texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [("", "a.py"), ("bolt", "bolt"), ("x" * 500, "x" * 200), ("a\nb\0c", "a b c"), ("\ud800x", " x")],
)
def test_given_an_alias_when_submitted_then_it_can_be_shown_on_one_line(name: str, shown: str) -> None:
    """Whatever was sent."""
    job, _ = make_job("0", Request(script_name="a.py", script=SCRIPT, name=name), SETTINGS)
    assert job.name == shown


def test_given_a_script_when_submitted_then_its_digest_and_source_are_those_sent() -> None:
    """What was accepted can be told later."""
    job, source = make_job("0", Request(script_name="a.py", script=SCRIPT), SETTINGS)
    assert source == SCRIPT
    assert len(job.script_digest) == 64
    assert (job.script, job.process, job.params) == ("a.py", "custom", {})


def test_given_a_folder_of_processes_when_listed_then_only_its_scripts_are(tmp_path: Path) -> None:
    """Sorted, without dunder files and folders; only a name of the list becomes a path."""
    for name in ("b.py", "a.py", "__init__.py", "notes.txt"):
        (tmp_path / name).write_text('"""Doc of it."""\ndef main(pc, params): pass\n')
    (tmp_path / "c.py").mkdir()
    settings = Settings(_env_file=None, process_path=tmp_path)  # type: ignore[call-arg]
    assert process_names(settings) == ["a", "b"]
    assert process_doc("a", settings) == "Process 'a' documentation:\n\nDoc of it."
    for name in ("__init__", "../a", "a.py", "c", "", "a\0"):
        with pytest.raises(InvalidBackendParameter, match="a, b"):
            process_source(name, settings)
