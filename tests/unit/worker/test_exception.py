"""The error tree: one root, and every class survives pickling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pixyz_ray.sandbox import ToldToEnd
from pixyz_worker import exception
from pixyz_worker.exception import PixyzException, Retry

ARGUMENTS = {
    "PixyzWebError": (404, "http://127.0.0.1:8001/jobs/x", "not here"),
    "PixyzSignalFault": (11,),
    "PixyzExitFault": (3,),
    "Retry": (None, ValueError("the cause"), 5),
    "Reject": ("not here", True),
}


def tree(root: type[PixyzException] = PixyzException) -> Iterator[type[PixyzException]]:
    """The class and all below it that the module defines."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == exception.__name__:
            yield from tree(child)


@pytest.mark.parametrize("cls", [*tree()], ids=lambda cls: cls.__name__)
def test_given_any_error_when_pickled_then_all_of_it_comes_back(
    cls: type[PixyzException], through_pickle: Callable[[Any], Any]
) -> None:
    """Type, text, attributes and notes cross a process border."""
    error = cls(*ARGUMENTS.get(cls.__name__, ("a message",)))
    error.add_note("a note")
    back = through_pickle(error)
    assert type(back) is cls
    assert str(back) == str(error)
    assert {name: str(value) for name, value in vars(back).items()} == {
        name: str(value) for name, value in vars(error).items()
    }
    assert back.args == error.args


def test_given_the_docstring_when_read_then_it_draws_every_class() -> None:
    """The drawing of the tree is complete."""
    drawn = exception.__doc__ or ""
    assert not [cls.__name__ for cls in tree() if cls.__name__ not in drawn]


def test_given_the_contract_when_looked_up_then_each_name_stands_where_it_says() -> None:
    """Names and places that existing scripts rely on."""
    for name in (
        "InvalidBackendParameter",
        "InvalidFile",
        "InternalError",
        "PixyzWebError",
        "PixyzFileNotFound",
        "PixyzTimeout",
        "PixyzSharedDirectoryNotFound",
        "PixyzSecurityViolation",
        "PixyzExecutionFault",
        "SharePathNotFoundError",
        "SharePathInvalidError",
    ):
        assert issubclass(getattr(exception, name), PixyzException), name
    assert issubclass(exception.PixyzSignalFault, exception.PixyzExecutionFault)
    assert issubclass(exception.PixyzExitFault, exception.PixyzExecutionFault)
    assert issubclass(exception.SharePathInvalidError, ValueError)
    assert issubclass(exception.PixyzTimeout, TimeoutError)


def test_given_the_star_import_when_used_then_it_gives_every_error() -> None:
    """The list of names is complete."""
    assert set(exception.__all__) == {cls.__name__ for cls in tree()} | {"SoftTimeLimitExceeded"}


def test_given_a_retry_when_raised_then_it_says_when_and_why() -> None:
    """The fields that Celery's has, and the seconds until then."""
    retry = Retry(exc=ValueError("busy"), when=2.5)
    assert (retry.countdown, retry.excs, retry.is_eager, retry.sig) == (2.5, "ValueError('busy')", False, None)
    assert str(retry) == "Retry in 2.5s: ValueError('busy')"
    assert str(Retry("in a moment")) == "in a moment"
    assert Retry().countdown == 0 == Retry(when=datetime(2000, 1, 1)).countdown
    assert 50 < Retry(when=datetime.now(UTC) + timedelta(minutes=1)).countdown <= 60


def test_given_a_script_that_catches_every_exception_when_stopped_then_it_stops() -> None:
    """SoftTimeLimitExceeded is caught by its name, not by `except Exception`."""
    assert not issubclass(exception.SoftTimeLimitExceeded, Exception)
    with pytest.raises(exception.SoftTimeLimitExceeded):
        raise ToldToEnd(143)
    assert ToldToEnd(143).code == 143
    assert isinstance(ToldToEnd(143), SystemExit)


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (9, "SIGKILL"), (999, "unknown")])
def test_given_a_signal_when_it_kills_then_the_message_names_it(number: int, name: str) -> None:
    """A person reads names, not numbers."""
    assert name in str(exception.PixyzSignalFault(number))


def test_given_an_error_below_ours_with_its_own_constructor_when_pickled_then_it_comes_back(
    through_pickle: Callable[[Any], Any],
) -> None:
    """A script's own subclass survives too, whatever its constructor takes."""
    back = through_pickle(_OwnError(1, 2))
    assert (type(back), str(back), back.pair) == (_OwnError, "1 and 2", (1, 2))


class _OwnError(PixyzException):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.pair = (one, two)
