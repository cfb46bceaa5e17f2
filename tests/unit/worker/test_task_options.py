"""Options of tasks: which there are, what they must be, and when a task may start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.task_options import WITHOUT_EFFECT, checked, due_time, epoch_seconds, expiry_time, start_options

SECONDS = st.floats(0, 1e6)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.none() | st.just(UTC))


@pytest.mark.parametrize("name", ["soft_time_limit", "routing_key", "exchange", "headers", "reply_to", "keep"])
def test_celery_options_that_cannot_be(name: str) -> None:
    """Given an option of Celery's without a meaning here, when given, then the error names it and the way to do it."""
    with pytest.raises(InvalidBackendParameter, match=name):
        checked({name: 1})
    assert checked({name: None}) == {}


@pytest.mark.parametrize(
    ("name", "near"), [("quueue", "queue"), ("timelimit", "time_limit"), ("count_down", "countdown")]
)
def test_misspelt_option(name: str, near: str) -> None:
    """Given an option that does not exist, when given, then the nearest name is told."""
    with pytest.raises(InvalidBackendParameter, match=f"did you mean '{near}'"):
        checked({name: 1})
    with pytest.raises(InvalidBackendParameter, match="context or params"):
        checked({"xyzzy_of_mine": 1})


def test_options_without_effect() -> None:
    """Given options about publishing, when given, then they are taken."""
    assert checked(dict.fromkeys(WITHOUT_EFFECT, 1)).keys() == WITHOUT_EFFECT


@pytest.mark.parametrize(
    "options",
    [
        {"countdown": "soon"},
        {"countdown": True},
        {"countdown": float("inf")},
        {"eta": 5},
        {"eta": "soon"},
        {"expires": [1]},
        {"task_id": "my-task"},
        {"task_id": "0123ABCD-0000-4000-8000-000000000000"},
        {"link": "a"},
        {"link_error": [1]},
    ],
    ids=str,
)
def test_bad_values(options: dict[str, Any]) -> None:
    """Given a value of the wrong kind, when given, then the error names the option."""
    with pytest.raises(InvalidBackendParameter, match=next(iter(options))):
        checked(options)


@given(
    st.fixed_dictionaries({}, optional={"countdown": SECONDS, "eta": MOMENTS, "expires": SECONDS | MOMENTS}), SECONDS
)
def test_times(options: dict[str, Any], base: float) -> None:
    """Given any start options, then a task is due at the latest of them, and expires at the earliest."""
    plain = start_options(checked(options))
    due, expiry = due_time(plain, base), expiry_time(plain, base)
    given_up = options.get("expires")
    wanted = [base + options["countdown"]] if options.get("countdown") else []
    wanted += [epoch_seconds(options["eta"])] if "eta" in options else []
    assert due == (max(wanted) if wanted else None)
    if given_up is None:
        assert expiry is None
    else:
        assert expiry == (epoch_seconds(given_up) if isinstance(given_up, datetime) else base + given_up)


def test_numbers_of_any_kind() -> None:
    """Given seconds as numbers of other types, or a countdown that is over, when given, then they are taken."""
    assert checked({"countdown": Decimal("0.5")}) == {"countdown": 0.5}
    assert checked({"countdown": np.int64(3), "expires": np.float32(1)}) == {"countdown": 3.0, "expires": 1.0}
    assert checked({"countdown": -2.5}) == {"countdown": 0.0}
    early = datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))
    assert start_options(checked({"eta": early})) == {"eta": 0.0}


def test_naive_times_are_utc() -> None:
    """Given a naive time, when it is taken, then it is in UTC."""
    aware = datetime(2026, 1, 1, tzinfo=UTC)
    assert epoch_seconds(aware.replace(tzinfo=None)) == epoch_seconds(aware)
    assert epoch_seconds(aware + timedelta(hours=1)) == epoch_seconds(aware) + 3600
    assert checked({"eta": "2026-01-01T00:00:00+00:00"})["eta"] == aware
