"""The gate of a machine: while it is closed, no attempt begins there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from pixyz_ray.machine_gate import Closed, MachineGate


def test_closed_and_opened(tmp_path: Path) -> None:
    """Given a gate, when closed, then another process of the machine sees why, until it is opened."""
    gate, worker, other = (MachineGate(node, tmp_path) for node in ("b", "b", "c"))
    assert worker.closed() is None
    gate.close(Closed(since=1.0, deadline=2.0))
    assert worker.is_closed
    assert worker.closed() == Closed(since=1.0, deadline=2.0)
    assert not other.is_closed
    gate.open()
    gate.open()
    assert not worker.is_closed


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"since": "x"}'])
def test_damaged(tmp_path: Path, content: str) -> None:
    """Given a gate whose file is damaged, when read, then it is closed: somebody has wanted that."""
    (tmp_path / "b").write_text(content)
    assert MachineGate("b", tmp_path).closed() == Closed(since=0.0)


def test_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no folder, when used, then gates lie in a folder that only this user can change."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    MachineGate("b").close(Closed(since=1.0))
    assert (tmp_path / f"pixyz-gates-{os.geteuid()}").stat().st_mode & 0o077 == 0
