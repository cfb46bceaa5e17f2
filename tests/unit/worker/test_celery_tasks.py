"""Tasks as Celery's users write them: @shared_task, current_app, the running task and its retry."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_worker import celery_states, celery_tasks
from pixyz_worker.canvas import chain
from pixyz_worker.celery_results import EagerResult, denied_join_result
from pixyz_worker.celery_tasks import app, shared_task
from pixyz_worker.current import CURRENT, current_task
from pixyz_worker.exception import InvalidBackendParameter, MaxRetriesExceededError, NotAvailable, PixyzException, Retry
from pixyz_worker.running_task import MAX_RETRY_DELAY_S, RunningTask, TaskRequest, retry_delay_s


@shared_task
def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    return x + y


@shared_task(bind=True, name="shop.who", queue="gpu", max_retries=5, default_retry_delay=7, acks_late=True)
def who(self: Any, x: int) -> list[Any]:
    """Return what it knows of itself."""
    return [self.name, self.max_retries, x]


@pytest.mark.parametrize(
    ("when", "delay"),
    [
        (None, 180.0),
        (2, 2.0),
        (-1, 0.0),
        (float("inf"), MAX_RETRY_DELAY_S),
        (float("nan"), 0.0),
        ("soon", 180.0),
        (datetime(1970, 1, 1, 0, 2), 20.0),
        (datetime.max, MAX_RETRY_DELAY_S),
    ],
)
def test_retry_waits_for_a_finite_time(when: Any, delay: float) -> None:
    """Given a Retry that a script raises itself, with anything in it, then the delay is a number of seconds."""
    assert retry_delay_s(Retry(when=when), 100.0) == delay


@pytest.fixture
def running() -> Iterator[RunningTask]:
    """A task that runs here, at its second attempt."""
    yield from running_at(1)


def running_at(retries: int) -> Iterator[RunningTask]:
    """A task that runs here, after this many retries."""
    task = RunningTask(request=TaskRequest(id="an id", retries=retries))
    token = current_task.set(task)
    yield task
    current_task.reset(token)


def test_given_a_function_when_it_is_a_shared_task_then_it_is_called_sent_and_composed() -> None:
    """The ways in which scripts use one."""
    assert add(1, 2) == add.run(1, y=2) == 3
    assert add.delay(3, 4).get() == add.apply_async((3,), {"y": 4}).get() == 7
    assert chain(add.s(1, 2), add.s(10), add.si(5, 5))().get() == 10
    assert add.signature((1,), {"y": 2}, queue="gpu").options["queue"] == "gpu"
    assert add.name == f"{__name__}.add"
    assert who.schedule == {"queue": "gpu"}
    assert who.delay(3).get() == ["shop.who", 5, 3]


@pytest.mark.parametrize(
    ("option", "error", "told"),
    [
        ("soft_time_limit", NotAvailable, "SoftTimeLimitExceeded"),
        ("autoretry_for", NotAvailable, "self.retry"),
        ("rate_limit", NotAvailable, "pools"),
        ("base", NotAvailable, "functions"),
        ("qeue", TypeError, "do you mean 'queue'"),
        ("time_limit", TypeError, "number of seconds"),
    ],
)
def test_given_an_option_that_cannot_be_kept_when_a_task_is_made_then_the_error_says_so(
    option: str, error: type[Exception], told: str
) -> None:
    """At once, not when the task runs."""
    with pytest.raises(error, match=told):
        shared_task(**{option: "x"})(add.__wrapped__)


def test_given_a_name_that_a_task_does_not_have_when_asked_for_then_the_error_says_what_there_is() -> None:
    """Nothing half works."""
    with pytest.raises(AttributeError, match="apply_async"):
        _ = add.backend
    with pytest.raises(AttributeError, match=r"pixyz_worker\.config"):
        _ = app.conf
    with pytest.raises(AttributeError, match="pixyz queue"):
        _ = app.control.inspect
    with pytest.raises(PixyzException, match="pixyz_execute"):
        app.send_task("other.task")
    with pytest.raises(NotAvailable, match="download_all"):
        celery_tasks.package.delay("an id")
    with pytest.raises(NotAvailable, match="leave it out"), denied_join_result():
        raise AssertionError("never inside")


def test_given_no_running_task_when_it_is_asked_for_then_it_is_false_and_says_so() -> None:
    """Outside of a task there is none."""
    assert not CURRENT
    assert app.current_task is CURRENT is pickle.loads(pickle.dumps(CURRENT))  # noqa: S301 - our own bytes
    with pytest.raises(AttributeError, match="no task runs here"):
        _ = CURRENT.request
    with pytest.raises(NotAvailable, match="no task runs here"):
        CURRENT.retry()


def test_given_a_running_task_when_asked_for_then_its_names_are_those_of_the_task(running: RunningTask) -> None:
    """The proxy stands for what runs."""
    assert CURRENT
    assert (CURRENT.request.id, add.request.retries) == ("an id", 1)
    assert CURRENT._get_current_object() is running
    CURRENT.update_state(state="CONVERTING", meta={"done": 1})
    for wrong in ({"state": "SUCCESS"}, {"task_id": "another"}, {"meta": {1, 2}}, {"meta": "x" * 100_000}):
        with pytest.raises(InvalidBackendParameter):
            CURRENT.update_state(**wrong)


def test_given_a_running_task_when_it_is_retried_then_the_error_says_how(running: RunningTask) -> None:
    """As often as it may be, with the delay of the call or of the task."""
    cause = ValueError("busy")
    with pytest.raises(Retry) as caught:
        CURRENT.retry(exc=cause, countdown=2)
    assert (caught.value.exc, caught.value.when) == (cause, 2)
    with pytest.raises(Retry) as caught:
        who.retry()
    assert caught.value.when == 7
    with pytest.raises(NotAvailable, match="args"):
        CURRENT.retry(args=(1,))
    for task in running_at(3):
        with pytest.raises(ValueError, match="busy"):
            task.retry(exc=cause)
        with pytest.raises(MaxRetriesExceededError, match="3 times"):
            CURRENT.retry()
        with pytest.raises(Retry):
            CURRENT.retry(max_retries=4)
        with pytest.raises(Retry):
            who.retry()


def test_given_an_eager_result_when_asked_then_it_answers_as_a_handle_does() -> None:
    """Values and errors, also after pickling."""
    for handle in (EagerResult("a", 3, "SUCCESS"), pickle.loads(pickle.dumps(EagerResult("a", 3, "SUCCESS")))):  # noqa: S301
        assert (handle.get(), handle.state, handle.ready(), handle.id) == (3, "SUCCESS", True, "a")
    failed = EagerResult("b", ValueError("no"), "FAILURE", "ValueError: no")
    with pytest.raises(ValueError, match="no"):
        failed.get()
    assert failed.failed() and failed.traceback == "ValueError: no"


@given(st.sampled_from(celery_states.PRECEDENCE), st.sampled_from(celery_states.PRECEDENCE))
def test_given_two_states_when_compared_then_the_order_is_that_of_the_table(one: str | None, two: str | None) -> None:
    """A total order, that of PRECEDENCE."""
    first, second = celery_states.state(one or "other"), celery_states.state(two or "another")
    less = celery_states.PRECEDENCE.index(one) > celery_states.PRECEDENCE.index(two)
    assert (first < second) is less
    assert (first >= second) is not less
    assert (first > second) is (second < first)
    assert (first <= second) is (second >= first)
