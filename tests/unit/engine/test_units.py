"""Sizes and durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.units import KILOBYTE, LARGEST_SIZE, format_duration, format_size, is_bare, parse_duration, parse_size


@given(size=st.integers(0, LARGEST_SIZE) | st.integers(0, 60).map(lambda power: 1 << power))
def test_a_size_is_read_back_as_it_was_written(size: int) -> None:
    """Given any size, when it is written with its unit and read, then it is the same, whatever a bare number counts."""
    assert parse_size(format_size(size)) == parse_size(format_size(size), bare=KILOBYTE) == size


@given(seconds=st.floats(0, 1e15) | st.integers(0, 10**12).map(float))
def test_a_duration_is_read_back_as_it_was_written(seconds: float) -> None:
    """Given any duration, when it is written with its units and read, then it is the same."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(
    amount=st.integers(0, 10**6),
    prefix=st.sampled_from(["", "k", "m", "g", "t"]),
    ending=st.sampled_from(["", "b", "ib", "byte", "bytes"]),
    space=st.sampled_from(["", " "]),
    capitals=st.booleans(),
)
def test_a_unit_counts_1024_however_it_is_written(
    amount: int, prefix: str, ending: str, space: str, capitals: bool
) -> None:
    """Given a number with a unit, when it is read, then KB, KiB, k and kb are the same."""
    if not prefix and ending in ("", "ib"):
        return
    text = f"{amount}{space}{prefix}{ending}"
    power = ["", "k", "m", "g", "t"].index(prefix)
    assert parse_size(text.upper() if capitals else text, bare=KILOBYTE) == amount * 1024**power


@pytest.mark.parametrize(
    ("text", "bare", "size"),
    [
        ("2097152", KILOBYTE, 2 << 30),
        ("2097152", 1, 2097152),
        ("2GB", KILOBYTE, 2 << 30),
        ("512MiB", 1, 512 << 20),
        ("1.5 g", 1, 3 << 29),
        ("1.5", KILOBYTE, 1536),
        ("1e9", 1, 10**9),
        ("200_000", 1, 200_000),
        (" 0 ", KILOBYTE, 0),
        ("7B", KILOBYTE, 7),
    ],
)
def test_sizes_of_people(text: str, bare: int, size: int) -> None:
    """Given a size as in a configuration, when it is read, then it is this number of bytes."""
    assert parse_size(text, bare=bare) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("7d", 604800),
        ("90s", 90),
        ("1h30m", 5400),
        ("1 h 30 min", 5400),
        ("2w", 1209600),
        ("500ms", 0.5),
        ("1.5H", 5400),
        ("0.1", 0.1),
    ],
)
def test_durations_of_people(text: str, seconds: float) -> None:
    """Given a duration as in a configuration, when it is read, then it is this number of seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "much", "2 parsecs", "-1", "1,5 GB", "2GBB", "GB", "1.5", "nan", "inf", "1e999", "9" * 400, "٣"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """Given something else, when it is read as a size, then it is refused, quickly."""
    with pytest.raises(ValueError, match=r"^(is not a size: write|is not a whole number of bytes|is too large)"):
        parse_size(text)


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "1h30", "2 parsecs", "1:30", "nan", "inf", "1e999", "9" * 400, "٣s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Given something else, when it is read as a duration, then it is refused, quickly."""
    with pytest.raises(ValueError, match=r"^(is not a duration: write|has the unknown unit|is too long)"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "bare"), [("12", True), (" 1e9 ", True), ("12 ", True), ("12B", False), ("x", False)])
def test_a_bare_number_is_told_from_one_with_a_unit(text: str, bare: bool) -> None:
    """Given a text, when asked, then only a number without a unit is bare."""
    assert is_bare(text) is bare
