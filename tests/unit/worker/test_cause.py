"""Errors as text, and back: what a handle raises is what the task failed with."""

from __future__ import annotations

from traceback import format_exception

import pytest

from pixyz_worker.cause import error_of, not_run
from pixyz_worker.exception import InvalidFile, PixyzException, PixyzExitFault, PixyzSignalFault, PixyzWebError

ERRORS = [
    ValueError("bad part"),
    ValueError("two\nlines: of it"),
    RuntimeError(),
    KeyError("no such key"),
    InvalidFile("not a file:\nlook at it"),
    PixyzExitFault(3),
    PixyzSignalFault(11),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_given_an_error_as_text_when_read_then_it_is_the_same_error(error: Exception) -> None:
    """Also from the text of a task that was not run because of it, and of one after that."""
    with pytest.raises(type(error)) as raised:
        raise error
    text = "".join(format_exception(raised.value))
    blamed = not_run("some-id", "some", text)
    for told in (text, blamed, not_run("other-id", "other", blamed), f"Task x ended with FAILURE.\n{blamed}"):
        read = error_of(told)
        assert (type(read), str(read), vars(read)) == (type(error), str(error), vars(error))


def test_given_an_exit_as_text_when_read_then_it_is_the_fault_that_a_task_has() -> None:
    """With the code; a message counts as 1."""
    codes = {text: error_of(text) for text in ("SystemExit: 3", "SystemExit: -1", "SystemExit: I give up")}
    assert {text: getattr(error, "exit_code", None) for text, error in codes.items()} == {
        "SystemExit: 3": 3,
        "SystemExit: -1": -1,
        "SystemExit: I give up": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("The job was cancelled.", "The job was cancelled."),
        (not_run("some-id", "some", "The job was cancelled.", cancelled=True), "Not run, because task some-id (some) "),
        ("mine.Special: my own kind", "mine.Special: my own kind"),
        ("".join(format_exception(PixyzWebError(404, "http://here", "gone"))), "http://here answered 404: gone"),
        ("", ""),
    ],
)
def test_given_a_text_of_no_known_kind_when_read_then_its_last_words_are_kept(text: str, message: str) -> None:
    """As the root of the errors."""
    error = error_of(text)
    assert type(error) is PixyzException
    assert message in str(error)


def test_given_a_long_error_when_others_were_not_run_for_it_then_they_tell_its_beginning() -> None:
    """There may be thousands of them."""
    assert len(not_run("some-id", "some", f"ValueError: {'x' * 100_000}")) < 2000
