"""What workers leave of the nodes of a graph: a line that was cut short costs its own node alone."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from pixyz_ray.node_outcomes import find_outcome, leave_outcome
from pixyz_ray.storage import JobFolder


@pytest.mark.parametrize("cut", [1, 20, 60, 90])
def test_given_half_a_line_when_another_follows_then_that_one_is_found(tmp_path: Path, cut: int) -> None:
    """Given an outcome of which a full disk took only a part, when the next is left, then it is read whole."""
    home = JobFolder(tmp_path, str(uuid4()))
    home.path.mkdir()
    lost, kept = str(uuid4()), str(uuid4())
    leave_outcome(home, lost, 1, json.dumps({"ok": True, "result": "a"}))
    (file,) = (home.path / "outcomes").iterdir()
    file.write_bytes(file.read_bytes()[:cut])
    leave_outcome(home, kept, 2, json.dumps({"ok": True, "result": "b"}))
    assert find_outcome(home, kept, 2) == {"ok": True, "result": "b"}
    assert find_outcome(home, lost, 1) is None
