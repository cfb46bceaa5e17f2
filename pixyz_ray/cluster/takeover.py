"""The tracker that is on the cluster already when a driver starts: kept, or drained and replaced.

Ray restarts the tracker wherever its driver is, so that one may be left from a supervisor that was killed, or was told
to leave by `pixyz up --replace`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import ray

from pixyz_ray.cluster.actor import make_tracker
from pixyz_ray.cluster.names import NAMESPACE, TRACKER
from pixyz_ray.failure import UPGRADED
from pixyz_ray.reaper import has_ended
from pixyz_ray.settings import Settings
from pixyz_ray.settings_digest import settings_digest
from pixyz_ray.version import VERSION
from pixyz_worker.exception import InternalError

Note = Callable[[str], None]
"""Takes a message about what is going on, for the operator."""

_ANSWER_S = 15.0
_LOOK_EVERY_S = 0.1
_NOTE_EVERY_S = 1.0
_DRAIN_OVERTIME_S = 20.0
_GONE_WITHIN_S = 15.0
_ATTENDED_WITHIN_S = 7.0
_GONE = (ValueError, ray.exceptions.RayActorError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Takeover:
    """The tracker to go on with."""

    tracker: Any
    """Its handle."""
    is_kept: bool
    """Whether it is one that was there before."""
    service: tuple[str, int] | None = None
    """Address and port of the HTTP service so far; None where no tracker was there, or it does not say."""


def take_over(settings: Settings, who: str, *, replace: bool, drain_s: float, note: Note) -> Takeover:
    """Return the tracker to go on with: the one that is there when it does what a new one would do, else a new one.

    Args:
        settings: the platform's settings.
        who: this driver, as messages name it.
        replace: whether a tracker is replaced in any case.
        drain_s: seconds that running attempts are given before it is replaced.
        note: told what is going on.

    Raises:
        InternalError: another driver keeps the platform up.
    """
    tracker = find_tracker()
    if tracker is None:
        return Takeover(tracker=make_tracker(settings), is_kept=False)
    about = about_tracker(tracker)
    if about is None:
        note("a tracker is there that does not answer, or is of an older version: it is replaced")
    else:
        if not replace:
            _check_unattended(tracker, about, who)
        difference = settings_difference(about, settings)
        if difference is None and not replace:
            note(f"the earlier tracker is kept, with {about['running']} running jobs")
            return Takeover(tracker=tracker, is_kept=True, service=_service(about))
        note(f"the earlier tracker {difference or 'is the same'}: it is replaced")
        drain_tracker(tracker, drain_s, UPGRADED, note)
    end_tracker(tracker, about)
    return Takeover(tracker=make_tracker(settings), is_kept=False, service=_service(about))


def find_tracker() -> Any | None:
    """Return the handle of the tracker on this cluster, or None."""
    try:
        return ray.get_actor(TRACKER, namespace=NAMESPACE)
    except ValueError:
        return None


def about_tracker(tracker: Any, *, timeout_s: float = _ANSWER_S) -> Mapping[str, Any] | None:
    """Return what a tracker says about itself; None when it does not answer, or is too old for the question."""
    try:
        about: Mapping[str, Any] = ray.get(tracker.about.remote(), timeout=timeout_s)
    except (AttributeError, ray.exceptions.RayError):
        return None
    return about


def drain_tracker(tracker: Any, drain_s: float, message: str, note: Note) -> None:
    """Drain a tracker (see drain.py), and say what it waits for; whatever goes wrong, go on.

    Args:
        tracker: its handle.
        drain_s: seconds for running attempts.
        message: what an attempt that is ended says about it.
        note: told how many run, once a second.
    """
    deadline = time.monotonic() + drain_s
    try:
        drained = tracker.drain.remote(drain_s, message)
        while not ray.wait([drained], timeout=_NOTE_EVERY_S)[0]:
            left_s = deadline - time.monotonic()
            if left_s < -_DRAIN_OVERTIME_S:
                note("the tracker has not finished in time: what still runs is run again")
                return
            about = about_tracker(tracker, timeout_s=_NOTE_EVERY_S)
            if about is not None and left_s > 0:
                note(f"waiting for {_count(about['running'])}, {left_s:.0f} s left")
        if ended := ray.get(drained)["ended"]:
            note(f"{_count(ended)} ended, to be run again by the next tracker")
    except (AttributeError, ray.exceptions.RayError) as error:
        note(f"the tracker cannot be drained ({type(error).__name__}): what runs is run again")


def end_tracker(tracker: Any, about: Mapping[str, Any] | None) -> None:
    """Kill a tracker, and return when its process is gone: two of them must never write to one job store.

    Raises:
        InternalError: Ray still has it after some seconds.
    """
    with suppress(*_GONE):
        ray.kill(tracker, no_restart=True)
    deadline = time.monotonic() + _GONE_WITHIN_S
    while find_tracker() is not None:
        if time.monotonic() > deadline:
            raise InternalError(f"Ray has not ended the tracker within {_GONE_WITHIN_S:g} s. Try again in a moment.")
        time.sleep(_LOOK_EVERY_S)
    if about is not None and about["node"] == socket.gethostname():
        with suppress(psutil.Error):
            has_ended(psutil.Process(about["pid"]), within_s=_GONE_WITHIN_S)


def _check_unattended(tracker: Any, about: Mapping[str, Any], who: str) -> None:
    """Refuse a tracker whose driver lives. One that died a moment ago has left the same sign, so look twice.

    Raises:
        InternalError: another driver attends to it.
    """
    began = time.monotonic()
    if about["attended_s"] is None or about["attended_s"] > _ATTENDED_WITHIN_S or about["attended_by"] == who:
        return
    while (waited_s := time.monotonic() - began) < _ATTENDED_WITHIN_S - about["attended_s"]:
        time.sleep(_LOOK_EVERY_S)
        now = about_tracker(tracker)
        if now is None:
            return
        if now["attended_s"] < waited_s:
            raise InternalError(
                f"The platform on this Ray is kept up by {about['attended_by']}. Stop it there with  pixyz down  or "
                "take it over with  pixyz up --address HOST:PORT --replace"
            )


def settings_difference(about: Mapping[str, Any], settings: Settings) -> str | None:
    """Return how a tracker differs from a new one, as a predicate for a message; None if it does not."""
    if about["version"] != VERSION:
        return f"has version {about['version']}"
    if about["settings"] != settings_digest(settings):
        return "has other settings"
    # After a restart by Ray, such as with the head, it has not been asked for anything yet; its driver opens it.
    return None if about["state"] in ("up", "opening") else f"does not work ({about['state']})"


def _service(about: Mapping[str, Any] | None) -> tuple[str, int] | None:
    return (about["service"][0], about["service"][1]) if about is not None else None


def _count(jobs: int) -> str:
    return f"{jobs} running job{'' if jobs == 1 else 's'}"
