"""What to use instead of the parts of Celery that scripts do not have here."""

from __future__ import annotations

from collections.abc import Mapping

_APP = "the platform is no application of Celery; make functions tasks with @shared_task, or use pixyz_execute"
_TIMETABLE = "the platform has no timetable; let cron or a systemd timer call `pixyz exec` or the client"
_SIGNALS = "put what is to happen before and after a task into its function, with `with` or try/finally"
_WORKERS = "`pixyz up` starts the platform, which starts its workers by itself"
_BROKER = "there is no message broker; tasks go to the platform"

ADVICE: Mapping[str, str] = {
    "celery.Celery": _APP,
    "celery.Task": "write functions; with @shared_task(bind=True) a function gets the running task",
    "celery.VERSION": "this is not Celery, and has no version of it",
    "celery._state": "celery.current_task is the running task",
    "celery.abstract_task": _APP,
    "celery.app": _APP,
    "celery.apps": _WORKERS,
    "celery.backends": "ask handles for results: pc.AsyncResult(id)",
    "celery.beat": _TIMETABLE,
    "celery.bin": "the platform's command is `pixyz`",
    "celery.bootsteps": _WORKERS,
    "celery.bugreport": "`pixyz doctor` looks at the platform",
    "celery.concurrency": _WORKERS,
    "celery.contrib": "a running script asks pc.cancelled() whether it is being stopped",
    "celery.events": "clients follow a job with GET /jobs/{id}/events",
    "celery.loaders": _APP,
    "celery.schedules": _TIMETABLE,
    "celery.security": "tokens are the platform's: see GOD_PASSWORD_SHA256 and PIXYZ_TOKENS",
    "celery.signals": _SIGNALS,
    "celery.task": "the decorator is celery.shared_task",
    "celery.worker": _WORKERS,
    "celery.utils.functional": "the standard library has functools and itertools",
    "celery.utils.time": "the standard library has datetime",
    "billiard.Pool": "use multiprocessing, or start tasks with group",
    "billiard.Process": "use multiprocessing",
    "kombu.Connection": _BROKER,
    "kombu.Exchange": _BROKER,
    "kombu.Queue": f"{_BROKER}; queues are the operator's: PIXYZ_QUEUES",
    "kombu.utils": _BROKER,
}
"""Advice by the full name of the module or attribute that does not exist here."""
