"""The end of a growing log in memory: characters stay whole, and any offset can be taken up again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.cluster.log_window import LogWindow, text_of


def _read(window: LogWindow, offset: int) -> tuple[str, int]:
    """Read to the end of the window, as far as its characters are whole."""
    text = ""
    while offset < window.end:
        piece, after = window.piece(offset)
        if after == offset:
            break
        text, offset = text + piece, after
    return text, offset


@given(text=st.text(max_size=60), cuts=st.lists(st.integers(0, 240), max_size=6))
def test_given_a_log_that_grows_in_any_pieces_when_read_then_characters_are_whole(text: str, cuts: list[int]) -> None:
    """And whoever takes up at the reader's offset misses nothing."""
    window, data, read, offset, taken_up = LogWindow(1000), text.encode(), "", 0, []
    for cut in [*sorted(cuts), len(data)]:
        window.append(data[window.end : cut])
        piece, offset = _read(window, offset)
        read += piece
        taken_up.append((offset, read))
    assert read == text
    for start, before in taken_up:
        assert before + _read(window, start)[0] == text


@given(pieces=st.lists(st.binary(max_size=50), max_size=20), limit=st.integers(1, 60))
def test_given_more_than_the_window_holds_when_appended_then_its_end_is_kept(pieces: list[bytes], limit: int) -> None:
    """Offsets are those of the whole log."""
    window, whole = LogWindow(limit), b""
    for piece in pieces:
        window.append(piece)
        whole += piece
        assert window.end == len(whole)
        assert window.end - window.start <= limit
        assert window.piece(window.start) == text_of(whole[window.start :], window.start)


def test_given_a_log_that_is_not_text_when_read_then_it_is_shown_as_well_as_can_be() -> None:
    """A script may print anything."""
    assert text_of(b"a\xff\xfeb" + bytes(range(256)), 0)[0].startswith("a\ufffd\ufffdb")
