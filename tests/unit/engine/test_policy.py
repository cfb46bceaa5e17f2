"""Policy: what a caller or a script may ask for, and what is told of a value that cannot be used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.failure import FailureClass
from pixyz_ray.policy import DEFAULT, MAX_KEEP_S, POLICY_KEYS, as_plain, from_plain, policy_of
from pixyz_ray.settings import Settings
from pixyz_ray.submission import effective_config
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.loader import ScriptInfo

GOOD: list[tuple[str, Any, Any]] = [
    ("priority", 0, 0),
    ("priority", 9, 9),
    ("pools", "catia", (("catia", 1),)),
    ("pools", ["nx", "catia"], (("catia", 1), ("nx", 1))),
    ("pools", {"nx": 1, "catia": 2}, (("catia", 2), ("nx", 1))),
    ("pools", {}, ()),
    ("pools", [], ()),
    ("retries", 0, 0),
    ("retries", 20, 20),
    ("retry_on", [], ()),
    ("retry_on", "user_error", ("user_error",)),
    ("retry_on", ["timeout", "crash", "crash"], ("crash", "timeout")),
    ("isolation", "warm", "warm"),
    ("isolation", "fresh", "fresh"),
    ("memory_limit", 16 * 2**20, 16 * 2**20),
    ("memory_limit", 2**40, 2**40),
    ("memory_limit", "8GiB", 8 * 2**30),
    ("gpu", "require", "require"),
    ("gpu", "prefer", "prefer"),
    ("gpu_memory", "8GB", 8 * 2**30),
    ("gpu_memory", 2**30, 2**30),
    ("keep", "7d", 7 * 86400.0),
    ("keep", True, True),
    ("keep", False, None),
    ("keep", 0, 0.0),
    ("keep", 3600, 3600.0),
    ("keep", 0.5, 0.5),
]

BAD: list[tuple[str, Any]] = [
    ("priority", -1),
    ("priority", 10),
    ("priority", 5.0),
    ("priority", "9"),
    ("priority", True),
    ("pools", 3),
    ("pools", ""),
    ("pools", [""]),
    ("pools", [1]),
    ("pools", [["catia"]]),
    ("pools", {"catia": 0}),
    ("pools", {"catia": 1.5}),
    ("pools", {"catia": True}),
    ("pools", {"catia": "1"}),
    ("pools", True),
    ("retries", -1),
    ("retries", 21),
    ("retries", 1.5),
    ("retries", False),
    ("retry_on", "never"),
    ("retry_on", ["crash", 1]),
    ("retry_on", [["crash"]]),
    ("retry_on", {"crash": 1}),
    ("retry_on", ["cancelled"]),
    ("retry_on", ["dependency_failed"]),
    ("retry_on", ["node_lost"]),
    ("retry_on", ["retry"]),
    ("isolation", "cold"),
    ("isolation", ["fresh"]),
    ("isolation", True),
    ("memory_limit", 0),
    ("memory_limit", 2**20),
    ("memory_limit", 1e9),
    ("memory_limit", "1 parsec"),
    ("memory_limit", "1MB"),
    ("memory_limit", True),
    ("gpu", "required"),
    ("gpu", ""),
    ("gpu_memory", "8 cards"),
    ("gpu_memory", 1),
    ("gpu_memory", True),
    ("keep", -1),
    ("keep", "for ever"),
    ("keep", float("nan")),
    ("keep", float("inf")),
    ("keep", [True]),
]


def test_given_the_tables_when_read_then_each_key_has_good_and_bad_values() -> None:
    """A new key gets its rows."""
    assert {key for key, _, _ in GOOD} == {key for key, _ in BAD} == POLICY_KEYS


@pytest.mark.parametrize(("key", "value", "taken"), GOOD, ids=[f"{key} {value}" for key, value, _ in GOOD])
def test_given_a_good_value_when_asked_for_then_it_is_taken(key: str, value: Any, taken: Any) -> None:
    """From a caller and from a script alike; all else stays as it is."""
    for policy in (policy_of({key: value}, {}), policy_of({}, {key: value})):
        found = getattr(policy, key)
        assert (found, type(found)) == (taken, type(taken))
        assert {name: getattr(policy, name) for name in POLICY_KEYS - {key}} == {
            name: getattr(DEFAULT, name) for name in POLICY_KEYS - {key}
        }


@pytest.mark.parametrize(("key", "value"), BAD, ids=[f"{key} {value}" for key, value in BAD])
def test_given_a_bad_value_when_asked_for_then_a_sentence_names_the_key_and_what_it_must_be(
    key: str, value: Any
) -> None:
    """From a caller and from a script alike."""
    for asked, scheduled in (({key: value}, {}), ({}, {key: value})):
        with pytest.raises(InvalidBackendParameter, match=rf"'{key}' must be .+, not .+\."):
            policy_of(asked, scheduled)


@pytest.mark.parametrize("failure", [one for one in FailureClass if ("retry_on", [str(one)]) not in BAD])
def test_given_any_class_that_may_be_retried_when_asked_for_then_it_is_taken(failure: FailureClass) -> None:
    """A cancelled job must stay cancelled; lost machines have rules of their own."""
    assert policy_of({"retry_on": [str(failure)]}, {}).retry_on == (str(failure),)


def test_given_a_schedule_and_a_caller_when_put_together_then_the_caller_is_stronger() -> None:
    """Each value for itself; null is not given."""
    scheduled = {"priority": 2, "pools": "catia", "keep": True}
    policy = policy_of({"priority": 8, "keep": None, "isolation": None}, scheduled)
    assert (policy.priority, policy.pools, policy.keep, policy.isolation) == (8, (("catia", 1),), True, "warm")
    assert policy_of({"keep": False, "pools": []}, scheduled).keep is None
    assert policy_of({"keep": False, "pools": []}, scheduled).pools == ()


def test_given_nothing_or_foreign_keys_when_asked_for_then_it_is_the_default() -> None:
    """The context's keys are nobody's business here."""
    assert policy_of({}, {}) is DEFAULT
    assert policy_of({"queue": "gpu", "x": 1}, {"time_limit": 3}) is DEFAULT
    assert policy_of({"priority": None}, {"keep": None}) is DEFAULT


def test_given_many_jobs_that_ask_for_the_same_when_read_then_they_share_one_value() -> None:
    """A hundred thousand of them wait in memory."""
    first = policy_of({"priority": 7, "pools": ["catia"]}, {})
    assert policy_of({"pools": {"catia": 1}}, {"priority": 7}) is first


def test_given_true_and_one_second_when_asked_to_keep_then_they_are_not_mixed_up() -> None:
    """Python takes them for equal."""
    for first, second in ((True, 1.0), (1.0, True), (1, True)):
        policies = [policy_of({"keep": first}, {}), policy_of({"keep": second}, {})]
        assert [policy.keep is True for policy in policies] == [first is True, second is True]


policies = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(0, 9),
        "pools": st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 9), max_size=3),
        "retries": st.integers(0, 20),
        "retry_on": st.lists(st.sampled_from(["crash", "timeout", "user_error", "license"]), max_size=3),
        "isolation": st.sampled_from(["warm", "fresh"]),
        "memory_limit": st.integers(2**24, 2**50),
        "keep": st.booleans() | st.integers(0, 9) | st.floats(0, 1e9),
    },
).map(lambda asked: policy_of(asked, {}))


@given(policies)
def test_given_any_policy_when_made_plain_and_read_again_then_it_is_the_same(policy: Any) -> None:
    """Through JSON, with what is as by default left out."""
    plain = as_plain(policy)
    again = from_plain(json.loads(json.dumps(plain)))
    assert again == policy
    assert type(again.keep) is type(policy.keep)
    assert not {name for name in plain if getattr(DEFAULT, name) == plain[name]}
    assert as_plain(DEFAULT) == {}


@given(st.dictionaries(st.sampled_from(sorted(POLICY_KEYS)), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=4,
)))  # fmt: skip
def test_given_any_values_when_asked_for_then_a_policy_or_a_sentence(asked: dict[str, Any]) -> None:
    """Never another exception; what is taken can be written down."""
    try:
        policy = policy_of(asked, {})
    except InvalidBackendParameter as error:
        assert len(str(error)) < 400
    else:
        json.dumps(as_plain(policy))
        hash(policy)


NUMBERS = [2**63, 10**30, 10**4000, -1, -(2**63), True, 1e300, float("inf"), float("nan"), "1e999", "", [], {}]
"""What no setting of a job takes as a number."""


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("key", ["priority", "retries", "memory_limit", "keep", "pools", "time_limit"])
def test_given_a_number_beyond_all_bounds_when_asked_for_then_a_sentence_names_the_key(key: str, value: Any) -> None:
    """Given 2**63, a negative number, a bool and others, when asked for, then each is refused in a sentence."""
    if (key == "keep" and value is True) or (key == "pools" and value in ([], {})):
        return
    asked = {key: {"catia": value} if key == "pools" else value}
    info = ScriptInfo(entrypoints=("main",), schedules={}, doc=None)
    with pytest.raises(InvalidBackendParameter, match=key):
        effective_config(asked, info, Settings(_env_file=None))  # type: ignore[call-arg]


def test_given_a_record_of_a_version_without_bounds_when_read_then_it_is_readable() -> None:
    """Given values above the bounds in a record, when read, then they count as the bounds."""
    policy = from_plain({"keep": 1e300, "memory_limit": 2**80, "priority": 3})
    assert (policy.keep, policy.memory_limit, policy.priority) == (MAX_KEEP_S, 2**63 - 1, 3)
