"""A job's script for the tests of retention: each entrypoint leaves files of another kind."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from pixyz_worker.script import ProgramContext, group, pixyz_execute


def main(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Leave a file."""
    Path(pc.get_output_dir("out.txt")).write_text("out", encoding="utf-8")


def gated(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Last until a file is there."""
    deadline = time.monotonic() + 90
    while not Path(params["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def node(pc: ProgramContext, params: dict[str, Any]) -> str:
    """Tell which job this is."""
    main(pc, params)
    return str(pc.get_output_dir())


def graph(pc: ProgramContext, params: dict[str, Any]) -> list[Any]:
    """Start tasks, whose folders are their own."""
    task = pc.clone(entrypoint="node", raw=True)
    return list(group(pixyz_execute.s({"n": n}, pc=task) for n in range(3))().get())


def links(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Leave links to what is not this job's, and folders that hide something from their owner."""
    outputs = Path(pc.get_output_dir("link")).parent
    (outputs / "link").symlink_to(params["outside"])
    (outputs / "file").symlink_to(Path(params["outside"]) / "kept.txt")
    os.link(Path(params["outside"]) / "kept.txt", outputs / "hard")
    hidden = outputs / "hidden"
    hidden.mkdir()
    (hidden / "a.txt").write_text("a", encoding="utf-8")
    hidden.chmod(0)


def many(pc: ProgramContext, params: dict[str, Any]) -> None:
    """Leave so much that removing it takes a while."""
    for folder in range(50):
        outputs = Path(pc.get_output_dir(f"{folder}/0")).parent
        outputs.mkdir(parents=True, exist_ok=True)
        for file in range(200):
            (outputs / str(file)).touch()
