"""Tables of the command line: no cell is cut, however narrow the screen."""

from __future__ import annotations

import pytest

from pixyz_ray.cli.tables import show_table

COLUMNS = ("name", ">count", "reason…")
ROWS = [("a" * 60, 3, "why " * 20), ("b", None, "/a/path/" + "x" * 50)]


@pytest.mark.parametrize("columns", [None, "0", "10", "80", "400"])
def test_nothing_is_cut(
    columns: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a screen of any width, or none, when a table is printed, then every character of it is there."""
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    show_table(COLUMNS, ROWS)
    text = capsys.readouterr().out
    assert "…" not in text
    assert "a" * 60 in text
    assert text.count("why") == 20
    assert text.count("x") == 50


def test_lines_of_a_pipe_are_not_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no terminal, when a table is printed, then each row is one line; COLUMNS may ask for narrower ones."""
    monkeypatch.delenv("COLUMNS", raising=False)
    show_table(COLUMNS, ROWS)
    assert len(capsys.readouterr().out.splitlines()) == 3
    monkeypatch.setenv("COLUMNS", "100")
    show_table(COLUMNS, ROWS)
    assert len(capsys.readouterr().out.splitlines()) > 3
