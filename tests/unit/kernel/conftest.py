"""Scenes with everything that a format can keep or lose, and the STEP sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pixyz_worker.kernel import session
from pixyz_worker.kernel.scene import Scene
from tests import opengl
from tests.unit.kernel import samples

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def clean_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts with nothing imported, on our own kernel."""
    monkeypatch.setenv("DISABLE_PIXYZ", "1")
    session.reset()
    yield
    session.reset()


@pytest.fixture(scope="session")
def need_extra() -> Callable[[str], None]:
    """Skips a test whose extra of the project cannot be used here; see tests/opengl.py."""
    return opengl.need_extra


@pytest.fixture(scope="session")
def sample() -> Path:
    """The STEP assembly of the repository."""
    return ROOT / "samples" / "bracket_assembly.step"


@pytest.fixture
def assembly() -> Scene:
    """A coloured, named assembly with instances; see samples.assembly."""
    return samples.assembly()


@pytest.fixture
def textured() -> Scene:
    """A textured square; see samples.textured."""
    return samples.textured()


@pytest.fixture
def points() -> Scene:
    """A red and a blue point; see samples.points."""
    return samples.points()
