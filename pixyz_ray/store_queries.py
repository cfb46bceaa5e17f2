"""Queries of the job store, built once so that SQLAlchemy compiles each of them once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, exists, or_, select

from pixyz_ray.jobs import TERMINAL, JobState
from pixyz_ray.store_schema import AGEING, GRAPHS, JOBS, WAITING

JOB = (JOBS.c.uuid, JOBS.c.state, JOBS.c.record, JOBS.c.result)
"""Columns that a job is read from."""
BY_UUID = select(*JOB).where(JOBS.c.uuid == bindparam("key"))
SEQ_OF = select(JOBS.c.seq).where(JOBS.c.uuid == bindparam("key"))
LISTED = select(
    JOBS.c.seq,
    JOBS.c.uuid,
    JOBS.c.alias,
    JOBS.c.state,
    JOBS.c.progress,
    JOBS.c.error,
    JOBS.c.name,
    JOBS.c.process,
    JOBS.c.script,
).order_by(JOBS.c.seq.desc())
"""Jobs as lists show them, newest first."""
LISTED_NAMES = ("uuid", "name", "status", "progress", "error", "label", "process", "script")
"""Names of the values of LISTED after the first."""
_LIVE_STATES = [str(state) for state in JobState if state not in TERMINAL]
LIVE = select(*JOB).where(JOBS.c.state.in_(_LIVE_STATES), JOBS.c.waits.is_(None))
"""Jobs that have not ended and do not wait to be given to Ray."""
WAITING_JOBS = select(JOBS.c.seq, JOBS.c.uuid, JOBS.c.requested, JOBS.c.waits).where(WAITING).order_by(JOBS.c.seq)
"""Jobs that wait to be given to Ray, oldest first."""
GRAPH = select(GRAPHS.c.uuid, GRAPHS.c.parent, GRAPHS.c.root, GRAPHS.c.record).order_by(GRAPHS.c.seq)
"""Graphs, oldest first."""


def _due(by: ColumnElement[bool], graph_lasts: ColumnElement[bool], order: ColumnElement[float]) -> Select[Any]:
    """Return the query for jobs whose time has come, and whose graphs have ended and are as old."""
    lasts = exists().where(GRAPHS.c.root == JOBS.c.uuid, or_(GRAPHS.c.ended.is_(False), graph_lasts))
    return select(JOBS.c.uuid).where(AGEING, by, ~lasts).order_by(order).limit(bindparam("limit"))


DUE_BY_DELAY = _due(
    JOBS.c.expires.is_(None) & (JOBS.c.stopped <= bindparam("time")),
    GRAPHS.c.stopped > bindparam("time"),
    JOBS.c.stopped,
)
"""Jobs without a `keep` that ended at `time` or before."""
DUE_BY_ITSELF = _due(
    JOBS.c.expires <= bindparam("time"),
    GRAPHS.c.stopped + JOBS.c.expires - JOBS.c.stopped > bindparam("time"),
    JOBS.c.expires,
)
"""Jobs whose `keep` is over at `time`."""
