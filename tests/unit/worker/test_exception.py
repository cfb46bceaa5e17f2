"""The error tree: one root, and every class survives pickling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pixyz_worker import exception
from pixyz_worker.exception import PixyzException

ARGUMENTS = {
    "PixyzWebError": (404, "http://127.0.0.1:8001/jobs/x", "not here"),
    "PixyzSignalFault": (11,),
    "PixyzExitFault": (3,),
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
    assert vars(back) == vars(error)
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
