"""Licence seats: real calls where the Pixyz SDK is there, nothing where it is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pixyz_worker.exception import InvalidBackendParameter, PixyzException
from pixyz_worker.license import License
from pixyz_worker.pc import ProgramContext
from pixyz_worker.session import PiXYZSession

TOP = """
import json, os
session = None
def note(*call):
    with open(os.environ["PXZ_CALLS"], "a") as file:
        file.write(json.dumps(call) + "\\n")
def initialize():
    note("initialize")
    return "a session"
def release():
    note("release")
def get_current_session():
    return session
def set_current_session(value):
    global session
    session = value
"""
CORE = """
import os
from pxz import note
def configureLicenseServer(host, port, flexlm):
    note("configureLicenseServer", host, port, flexlm)
def checkLicense():
    note("checkLicense")
    return os.environ.get("PXZ_HAS_SEAT") == "1"
def resetSession():
    note("resetSession")
"""
SESSION = [["initialize"], ["resetSession"], ["resetSession"], ["release"]]


def forget_pxz() -> None:
    """Let the next import of pxz look again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pxz"]:
        del sys.modules[name]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Any]]]:
    """A package that stands for the genuine SDK; gives the calls that it got."""
    package = tmp_path / "sdk" / "pxz"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(TOP, encoding="utf-8")
    (package / "core.py").write_text(CORE, encoding="utf-8")
    log = tmp_path / "calls"
    log.touch()
    for name in ("LICENSE_HOST", "LICENSE_PORT", "LICENSE_FLEXLM", "LICENSE_ACQUIRE_AT_START", "DISABLE_PIXYZ"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PXZ_CALLS", str(log))
    monkeypatch.syspath_prepend(str(tmp_path / "sdk"))
    forget_pxz()
    yield lambda: [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    forget_pxz()


def test_given_the_sdk_when_a_session_is_held_then_its_scene_is_reset_and_the_seat_given_back(
    calls: Callable[[], list[Any]],
) -> None:
    """Also when the script fails."""
    with pytest.raises(KeyError), PiXYZSession(ProgramContext()):
        raise KeyError("the script's own")
    assert calls() == SESSION


def test_given_a_licence_server_when_a_seat_is_taken_then_the_sdk_is_told(
    calls: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are read when the seat is taken."""
    monkeypatch.setenv("LICENSE_HOST", "licences")
    monkeypatch.setenv("LICENSE_PORT", "28000")
    monkeypatch.setenv("LICENSE_FLEXLM", "true")
    monkeypatch.setenv("LICENSE_ACQUIRE_AT_START", "1")
    monkeypatch.setenv("PXZ_HAS_SEAT", "1")
    with License():
        assert calls() == [["initialize"], ["configureLicenseServer", "licences", 28000, True], ["checkLicense"]]
    assert calls()[-1] == ["release"]


def test_given_no_seat_when_one_is_wanted_at_start_then_the_error_says_where_to_look(
    calls: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was taken is given back."""
    monkeypatch.setenv("LICENSE_ACQUIRE_AT_START", "1")
    with pytest.raises(PixyzException, match="LICENSE_HOST"), License():
        raise AssertionError("never inside")
    assert calls() == [["initialize"], ["checkLicense"], ["release"]]


def test_given_a_seat_when_another_is_wanted_inside_then_it_is_the_same(calls: Callable[[], list[Any]]) -> None:
    """A session inside a session does not release what is not its own."""
    with License(), License():
        pass
    assert calls() == [["initialize"], ["release"]]


def test_given_disable_pixyz_when_a_session_is_held_then_the_sdk_is_left_alone(
    calls: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A switch for machines where the SDK is installed without a licence."""
    monkeypatch.setenv("DISABLE_PIXYZ", "true")
    with PiXYZSession(ProgramContext()), License():
        pass
    assert calls() == []


def test_given_no_sdk_when_a_session_is_held_then_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same script runs on a machine without the SDK."""
    forget_pxz()
    with PiXYZSession() as session, License() as seat:
        assert isinstance(session, PiXYZSession)
        assert seat.sdk is None
    monkeypatch.setenv("LICENSE_PORT", "many")
    with pytest.raises(InvalidBackendParameter, match="LICENSE_PORT"), License():
        raise AssertionError("never inside")
    forget_pxz()


def test_given_a_licence_of_old_when_used_step_by_step_then_the_sdk_gets_the_same_calls(
    calls: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """License.from_config() and the static methods of a session, as scripts of the peer write them."""
    monkeypatch.setenv("PXZ_HAS_SEAT", "1")
    licence = License("licences", 28000, acquire_at_start=True, flexlm=True)
    assert (licence.host, licence.port, licence.is_acquire_at_start()) == ("licences", 28000, True)
    PiXYZSession.initialize()
    PiXYZSession.initialize()
    licence.configure_license()
    PiXYZSession.reset()
    PiXYZSession.release()
    PiXYZSession.release()
    PiXYZSession.reset()
    told = ["configureLicenseServer", "licences", 28000, True]
    assert calls() == [["initialize"], told, ["checkLicense"], ["resetSession"], ["release"]]
    with PiXYZSession(License.from_config()):
        pass
    assert calls()[5:] == SESSION


def test_given_no_sdk_when_sessions_of_old_begin_and_end_then_the_kernels_scenes_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Our own kernel takes the same calls; only who insists on the SDK is told that it is not there."""
    from pixyz_worker.kernel import session
    from pixyz_worker.kernel.scene import Scene

    forget_pxz()
    monkeypatch.setenv("DISABLE_PIXYZ", "1")
    for end in (PiXYZSession.reset, PiXYZSession.release):
        PiXYZSession.initialize()
        session.add(Scene(name="part", glb=b"not read"))
        end()
        assert session.scenes() == ()
    assert License.from_config().disable_pixyz and not License.from_config().is_acquire_at_start()
    with pytest.raises(PixyzException, match="not installed"):
        PiXYZSession.initialize(mandatory=True)
