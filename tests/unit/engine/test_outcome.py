"""What comes out of a script: JSON or a sentence, and tracebacks of the script's own frames."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.outcome import MAX_ERROR_CHARS, full_traceback, user_traceback
from pixyz_worker.values import NotJson, checked_json

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just({1}),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(values)
def test_given_any_value_when_checked_then_it_is_json_or_a_sentence_says_where_not(value: Any) -> None:
    """What passes looks the same to every client."""
    try:
        checked = checked_json(value)
    except NotJson as error:
        assert "result" in str(error)
    else:
        assert json.loads(json.dumps(checked, allow_nan=False)) == checked


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [0, {"b": math.nan}]}, ["result['a'][1]['b']", "nan"]),
        ({"a": {2: 1}}, ["key of result['a']", "2", "int"]),
        ([{1, 2}], ["result[0]", "set"]),
        ((1, Path()), ["result[1]", "Path"]),
    ],
)
def test_given_a_value_that_is_not_json_when_checked_then_key_and_type_are_named(value: Any, words: list[str]) -> None:
    """The first that is wrong."""
    with pytest.raises(NotJson) as caught:
        checked_json(value)
    assert all(word in str(caught.value) for word in words)


def _error_of(path: Path, source: str) -> BaseException:
    path.write_text(source)
    try:
        exec(compile(source, str(path), "exec"), {})  # noqa: S102 - a script is what is tested
    except BaseException as error:
        return error
    raise AssertionError("the source must raise")


def test_given_an_error_in_a_library_when_shown_then_the_users_frames_alone_or_all(tmp_path: Path) -> None:
    """Cut for the record, from the script's first frame on for the log; never the platform's frames."""
    script = tmp_path / "s.py"
    error = _error_of(script, "import json\ndef f():\n    json.loads('{')\nf()\n")
    cut, full = user_traceback(error, script), full_traceback(error, script)
    assert [line.strip() for line in cut.splitlines() if "File" in line] == [
        'File "s.py", line 4, in <module>',
        'File "s.py", line 3, in f',
    ]
    assert cut.splitlines()[-1].startswith("json.decoder.JSONDecodeError: ")
    assert "decoder.py" in full
    assert "test_outcome" not in cut + full


def test_given_causes_and_groups_when_shown_then_their_frames_are_cut_too(tmp_path: Path) -> None:
    """Each error of the chain."""
    script = tmp_path / "s.py"
    source = (
        "try:\n    int('x')\nexcept ValueError as e:\n"
        "    raise ExceptionGroup('g', [TypeError('t'), OSError('o')]) from e\n"
    )
    text = user_traceback(_error_of(script, source), script)
    assert "invalid literal" in text
    assert "TypeError: t" in text
    assert "test_outcome" not in text


def test_given_a_huge_message_when_shown_then_it_is_cut_in_the_middle(tmp_path: Path) -> None:
    """Begin and end stay."""
    script = tmp_path / "s.py"
    text = user_traceback(_error_of(script, "raise ValueError('a' * 10**6 + 'the end')\n"), script)
    assert len(text) < MAX_ERROR_CHARS + 100
    assert text.endswith("the end")
    assert text.startswith("Traceback")


def test_given_an_error_without_a_frame_of_the_script_when_shown_then_its_message_is(tmp_path: Path) -> None:
    """Such as a call with wrong arguments."""
    text = user_traceback(TypeError("main() takes 0 positional arguments"), tmp_path / "s.py")
    assert text.splitlines()[-1] == "TypeError: main() takes 0 positional arguments"
