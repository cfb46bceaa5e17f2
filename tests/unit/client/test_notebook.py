"""The notebook's view of a job, and its cell magic."""

from __future__ import annotations

from typing import Any

import pytest

from pixyz_ray import notebook
from pixyz_ray.client import Client


def test_a_view_shows_what_happened_escaped(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a job that prints and fails, when it is shown, then nothing of it is taken for HTML."""
    peer.error = "ValueError: <no>"
    peer.events = [
        server_kit.step(0, "Step <1>", 0),
        server_kit.log("<b>loud</b>\n"),
        server_kit.status("FAILURE", 40, peer.error),
    ]
    view = notebook.JobView(client.submit(process="sleep"))
    for event in view.job.events():
        view.take(event)
    page = view._repr_html_()
    assert "&lt;b&gt;loud&lt;/b&gt;" in page
    assert "Step &lt;1&gt;" in page
    assert "<no>" not in page
    assert repr(view) == f"Job [ {server_kit.UUID} ] FAILURE 40% (Step <1>)\nValueError: <no>"


def test_a_view_shows_notes_and_a_label(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a job without alias that has a note, when it has ended, then the note is shown, escaped."""
    peer.name, peer.notes = None, [["'<q>' is not a parameter."]]
    view = notebook.JobView(client.submit(process="sleep"))
    for event in view.job.events():
        view.take(event)
    view.finish()
    assert "Note: &#x27;&lt;q&gt;&#x27; is not a parameter." in view._repr_html_()
    assert f"<b>{server_kit.UUID}</b>" in view._repr_html_()
    assert repr(view).endswith("\nNote: '<q>' is not a parameter.")


def test_the_magic_runs_a_cell(peer: Any, server_kit: Any) -> None:
    """Given a shell with the extension, when a cell is run, then it is sent as a script, and `job` has the handle."""
    interactiveshell = pytest.importorskip("IPython.core.interactiveshell")
    peer.result = {"parts": 3}
    shell = interactiveshell.InteractiveShell()
    shell.run_line_magic("load_ext", "pixyz_ray.notebook")
    line = f"-p '{{\"n\": 3}}' -e other -u {peer.url} -t {server_kit.TOKEN}"
    shell.run_cell_magic("pixyz", line, "def other(pc, params): ...\n")
    assert peer.form["script"] == ("script.py", b"def other(pc, params): ...\n")
    assert (peer.form["params"], peer.form["config"]) == ('{"n": 3}', '{"entrypoint": "other", "strict": true}')
    assert shell.user_ns["job"].result() == {"parts": 3}
    with pytest.raises(ValueError, match="not valid JSON"):
        shell.run_cell_magic("pixyz", "-p {", "pass")
