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
from pixyz_ray.processes import process_help, process_names, process_source
from pixyz_ray.settings import Settings
from pixyz_ray.submission import Request, effective_config, make_graph_job, make_job
from pixyz_worker.exception import InvalidBackendParameter, InvalidScript, PixyzException
from pixyz_worker.loader import Schedule, ScriptInfo

SCRIPT = b"def main(pc, params):\n    pass\n"
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]
WITH_POOLS = Settings(_env_file=None, PIXYZ_POOLS={"catia": 3, "nx": 1})  # type: ignore[call-arg]
LONG = ("gpuhigh", "control")
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
    assert config.time_limit == (limit or scheduled_limit or (3600 if config.queue in LONG else 2400))
    assert config.wait is wait
    assert config.entrypoint == "main"


def test_default_limit() -> None:
    """Given operator's limits, when nobody asks for one, then the queue's holds; what is asked for may be longer."""
    settings = Settings(_env_file=None, pixyz_time_limit=7, pixyz_retry_time_limit=8)  # type: ignore[call-arg]
    limits = [effective_config({"queue": queue}, _info(None), settings).time_limit for queue in ("cpu", "gpuhigh")]
    assert limits == [7, 8]
    assert effective_config({"time_limit": 99_999}, _info(None), settings).time_limit == 99_999
    assert effective_config({}, _info(Schedule.of(time_limit=500)), settings).time_limit == 500


@pytest.mark.parametrize("asked", [{"time_limit": 101}, {}])
def test_limit_cap(asked: dict[str, Any]) -> None:
    """Given PIXYZ_MAX_TIME_LIMIT, when caller or schedule asks for more, then it is refused; defaults are cut to it."""
    settings = Settings(_env_file=None, pixyz_max_time_limit=100)  # type: ignore[call-arg]
    info = _info(None if asked else Schedule.of(time_limit=101))
    with pytest.raises(InvalidBackendParameter, match=r"101 s.*PIXYZ_MAX_TIME_LIMIT of 100 s"):
        effective_config(asked, info, settings)
    assert effective_config({"time_limit": 100}, info, settings).time_limit == 100
    assert effective_config({"queue": "gpuhigh"}, _info(None), settings).time_limit == 100


def test_default_queue() -> None:
    """Given no queue from caller or schedule, when a task asks with another default, then it runs there."""
    assert effective_config({}, _info(None), SETTINGS, default_queue="gpu").queue == "gpu"
    assert effective_config({"queue": "cpu"}, _info(None), SETTINGS, default_queue="gpu").queue == "cpu"
    with pytest.raises(InvalidBackendParameter, match="There is no queue 'fast'"):
        effective_config({}, _info(Schedule.of(queue="fast")), SETTINGS)


@given(st.text(max_size=40))
def test_given_any_text_as_params_when_submitted_then_a_job_or_a_sentence(text: str) -> None:
    """Never another exception."""
    for form in ({"params": text}, {"config": text}):
        try:
            job, _ = make_job("0", Request(script_name="a.py", script=SCRIPT, **form), SETTINGS)
        except (InvalidBackendParameter, InvalidScript) as error:
            assert str(error)
        else:
            assert json.loads(json.dumps(job.params)) == job.params


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
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


@given(json_values)
def test_any_params(value: Any) -> None:
    """Given any JSON, when sent as params, then the script gets it as it is; null counts as not given."""
    job, _ = make_job("0", Request(script_name="a.py", script=SCRIPT, params=json.dumps(value)), SETTINGS)
    assert job.params == ({} if value is None else value)


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
    # A `gpu` that is no text is the script's own.
    assert not job.config.keys() & POLICY_KEYS or not isinstance(job.config["gpu"], str)
    assert not job.config.keys() & (POLICY_KEYS - {"gpu"})
    assert None not in job.config.values()
    assert job.queue in QUEUES
    assert job.time_limit > 0


def test_gpu_without_queue() -> None:
    """Given a job that asks for a GPU and names no queue, when submitted, then it runs on queue gpu."""
    assert _job({"gpu": "require"}).queue == "gpu"
    assert _job({"gpu_memory": "8GB"}).queue == "gpu"
    assert _job({"gpu_memory": "8GB", "queue": "cpu"}).queue == "cpu"
    with pytest.raises(InvalidBackendParameter, match=r"queue cpu gives its jobs no GPU\. Use queue gpu"):
        _job({"gpu": "require", "queue": "cpu"})


def test_own_gpu() -> None:
    """Given a script with a `gpu` of its own, such as the number of a device, when submitted, then it gets that."""
    job = _job({"gpu": 1})
    assert (job.queue, job.policy, job.config) == ("cpu", DEFAULT, {"gpu": 1})


# --- How a job is treated among others -------------------------------------------------------------------------------

WISHES: dict[str, Any] = {
    "priority": 8,
    "pools": {"catia": 2},
    "retries": 3,
    "retry_on": ["user_error", "crash"],
    "isolation": "fresh",
    "memory_limit": 2**30,
    "gpu": "prefer",
    "gpu_memory": 2**33,
    "keep": True,
}
GRANTED = Policy(
    priority=8,
    pools=(("catia", 2),),
    retries=3,
    retry_on=("crash", "user_error"),
    isolation="fresh",
    memory_limit=2**30,
    gpu="prefer",
    gpu_memory=2**33,
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
    job, _ = make_graph_job("0", request, SETTINGS)
    assert (job.policy.priority, job.policy.keep, job.submitter) == (7, 5.0, "team")


def _scheduled(arguments: str) -> bytes:
    return f"@pixyz_schedule({arguments})\ndef main(pc, params):\n    pass\n".encode()


# --- Keys of the config ----------------------------------------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(["own", "colour", "a b", "x"]), json_values, max_size=4))
def test_own_keys(own: Mapping[str, Any]) -> None:
    """Given keys of the script's own with any values, when submitted, then they reach its context without a note."""
    job = _job(own)
    assert job.config == {key: value for key, value in own.items() if value is not None}
    assert job.notes == ()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("time_limt", "time_limit"),
        ("entrypiont", "entrypoint"),
        ("compute-only", "compute_only"),
        ("Queue", "queue"),
        ("root file", "root_file"),
        ("prioritiy", "priority"),
    ],
)
def test_misspelt_key(key: str, meant: str) -> None:
    """Given a key that looks misspelt, when submitted, then it is passed on with a note; with strict it is refused."""
    job = _job({key: 5})
    assert job.config == {key: 5}
    expected = f"config key {key!r} is not known; did you mean {meant!r}? It was passed on to the script's context."
    assert job.notes == (expected,)
    with pytest.raises(InvalidBackendParameter, match=f"did you mean '{meant}'"):
        _job({key: 5, "strict": True})
    assert _job({key: 5, "strict": False}).config == {key: 5, "strict": False}


@pytest.mark.parametrize("key", ["script", "data", "shadow", "uuid", "input_dir", "params", "task", "time_request"])
def test_reserved_key(key: str, caplog: pytest.LogCaptureFixture) -> None:
    """Given a key that the platform sets itself, when submitted, then it is ignored, with a warning and a note."""
    job = _job({key: [1], "own": 1})
    assert job.config == {"own": 1}
    assert job.notes == (f"config key {key!r} ignored: the platform sets it itself.",)
    assert repr(key) in caplog.text


def test_reserved_keys_of_a_graph() -> None:
    """Given a graph from outside, when its config has such keys, then its job has the same notes."""
    config = '{"uuid": 1, "data": "x", "shadow": null, "priorty": 3}'
    job, _ = make_graph_job("0", Request(script_name="a.py", script=SCRIPT, config=config), SETTINGS)
    assert [note.split(" ")[:3] for note in job.notes] == [
        ["config", "keys", "'data',"],
        ["config", "key", "'priorty'"],
    ]


@pytest.mark.parametrize("value", ["yes", 1, [], {}])
def test_strict_is_a_flag(value: Any) -> None:
    """Given strict with a value that is neither true nor false, when submitted, then it is refused."""
    with pytest.raises(InvalidBackendParameter, match="'strict' must be of type bool"):
        _job({"strict": value})


# --- Parameters of processes -----------------------------------------------------------------------------------------


def _process_job(name: str, params: Any, settings: Settings = SETTINGS, **config: Any) -> Any:
    request = Request(process=name, params=json.dumps(params), config=json.dumps(config))
    return make_job("0", request, settings)[0]


def test_unknown_parameter() -> None:
    """Given a parameter that a process does not declare, when submitted, then a note names the nearest one."""
    job = _process_job("generate_thumbnails", {"widht": 64, "height": 3, "zzz": 1})
    assert job.params == {"widht": 64, "height": 3, "zzz": 1}
    first, second = job.notes
    assert first.startswith("'widht' is not a parameter of generate_thumbnails. Did you mean 'width'? It is ignored. ")
    assert second.startswith(
        "'zzz' is not a parameter of generate_thumbnails. It is ignored. Parameters: width, height,"
    )
    assert _process_job("sleep", {"t": 1, "duration": 1, "steps": 2}, strict=True).notes == ()


def test_unknown_parameter_strict() -> None:
    """Given strict, when a parameter is unknown, then the request is refused."""
    with pytest.raises(
        InvalidBackendParameter, match=r"'durtion' is not a parameter of sleep\. Did you mean 'duration'"
    ):
        _process_job("sleep", {"durtion": 1}, strict=True)


def test_any_parameter() -> None:
    """Given a process that accepts any name, or params that are no object, when submitted, then there is no note."""
    assert _process_job("api_test", {"whatever": 1}, strict=True).notes == ()
    assert _process_job("api_test", [1, 2], strict=True).params == [1, 2]
    assert len(_process_job("sleep", {str(n): n for n in range(1000)}).notes) == 21


@pytest.mark.parametrize(
    ("doc", "notes"),
    [
        ("Makes something.", 0),
        ("Makes something.\n\nParameters: see the wiki.", 0),
        ("Makes something.\n\nParameters:\n    speed: as fast as can be.", 0),
        ("Makes something.\n\nParameters:\n    speed (number, default fast): how fast.", 0),
        ("Makes something.\n\nParameters: none.", 1),
        ("Makes something.\n\nParameters:\n    speed (number): how fast;\n        in m/s.\n\nNothing else.", 1),
    ],
)
def test_operators_process(tmp_path: Path, doc: str, notes: int) -> None:
    """Given an operator's own process, when it declares no parameters in the known form, then none is unknown."""
    (tmp_path / "make.py").write_text(f'"""{doc}"""\ndef main(pc, params): pass\n', encoding="utf-8")
    settings = Settings(_env_file=None, process_path=tmp_path)  # type: ignore[call-arg]
    assert len(_process_job("make", {"size": 1}, settings).notes) == notes


# --- Names and texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [("", None), ("bolt", "bolt"), ("x" * 500, "x" * 200), ("a\nb\0c", "a b c"), ("\ud800x", " x")],
)
def test_given_an_alias_when_submitted_then_it_can_be_shown_on_one_line(name: str, shown: str) -> None:
    """Whatever was sent."""
    job, _ = make_job("0", Request(script_name="a.py", script=SCRIPT, name=name), SETTINGS)
    assert (job.alias, job.name) == (shown, shown or "a.py")
    assert job.as_state()["name"] == shown
    item = job.as_list_item()
    assert (item["label"], item["process"], item["script"]) == (job.name, "custom", "a.py")


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
    help_text = {"doc": "Process 'a' documentation:\n\nDoc of it.", "parameters": None}
    assert process_help("a", settings) == help_text
    for name in ("__init__", "../a", "a.py", "c", "", "a\0"):
        with pytest.raises(InvalidBackendParameter, match="a, b"):
            process_source(name, settings)


@pytest.mark.parametrize("limit", ["60", 2_592_001, 0, True, [1] * 1000])
def test_time_limit_of_no_use(limit: Any) -> None:
    """Given a time limit of another kind or size, when submitted, then the sentence has figures without exponents."""
    words = r"above 0 and at most 2592000 \(30 days\), not "
    with pytest.raises(InvalidBackendParameter, match=words + re.escape(repr(limit)[:100])) as caught:
        _job({"time_limit": limit})
    assert len(str(caught.value)) < 250


def test_time_limit_above_the_servers() -> None:
    """Given large limits, when one is above the server's, then the sentence has both without exponents."""
    settings = Settings(_env_file=None, pixyz_max_time_limit=1_234_567)  # type: ignore[call-arg]
    with pytest.raises(InvalidBackendParameter, match=r"is 2000000\.5 s, more than .* of 1234567 s"):
        _job({"time_limit": 2_000_000.5}, settings=settings)
