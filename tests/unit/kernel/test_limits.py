"""What one file may cost: settings of the platform that reach the kernel through the environment."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import pytest

from pixyz_ray.cluster.environment import worker_environment
from pixyz_ray.settings import Settings
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.kernel.limits import Limits

NAMES = [field.name for field in fields(Limits)]


@pytest.fixture(autouse=True)
def no_limits_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the limits is set."""
    for name in NAMES:
        monkeypatch.delenv(name.upper(), raising=False)


def test_defaults_hold_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given no setting, or an empty one, when the limits are read, then they are the defaults."""
    monkeypatch.setenv("MAX_TRIANGLES", " ")
    assert Limits.from_environment() == Limits()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("text", "value"), [("0", 0), ("12", 12), (" 1e9 ", 1e9)])
def test_each_limit_can_be_set(name: str, text: str, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a number in the environment, when the limits are read, then it is that limit, in its kind."""
    monkeypatch.setenv(name.upper(), text)
    limits = Limits.from_environment()
    assert asdict(limits) == {**asdict(Limits()), name: value}
    assert type(getattr(limits, name)) is type(getattr(Limits(), name))


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf", "1 GB"])
def test_a_limit_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given something else, when the limits are read, then the sentence names the setting."""
    monkeypatch.setenv("MAX_IMPORT_BYTES", text)
    with pytest.raises(InvalidBackendParameter, match="MAX_IMPORT_BYTES must be a number"):
        Limits.from_environment()


def test_settings_of_the_platform_reach_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Given settings of the platform, when a worker is started with its environment, then they are the limits."""
    settings = Settings(share_path=tmp_path, **{name: number for number, name in enumerate(NAMES, start=7)})
    for name, value in worker_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert list(asdict(Limits.from_environment()).values()) == list(range(7, 7 + len(NAMES)))


def test_the_platform_has_the_defaults_of_the_kernel(tmp_path: Path) -> None:
    """Given no setting, when the platform starts its workers, then they have the defaults."""
    settings = Settings(share_path=tmp_path)
    assert {name: getattr(settings, name) for name in NAMES} == asdict(Limits())
