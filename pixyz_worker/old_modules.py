"""Modules that old versions of pixyz_worker had for their own service, and what scripts use instead."""

from __future__ import annotations

from collections.abc import Mapping

MODULES: Mapping[str, str] = {
    "process": "the pre-built processes are in the package `processes`: from processes import thumbnail_chained; "
    "as jobs they are started with `pixyz process -n NAME`",
    "settings": "it held the settings of Celery and its broker, and there is neither; a script finds what is "
    "configured in pixyz_worker.config, an operator sets it as docs/operating.md says",
    "signals": "it connected Celery's signals of workers; put what is to happen before and after a task into its "
    "entrypoint, with `with` or try/finally",
    "stop": "it stopped Celery's workers; use `pixyz cancel` for a job and `pixyz down` for the platform",
    "utils": "it looked into Celery's result backend; ask a handle, pc.AsyncResult(id), for .state, .parent, .children "
    "and .as_list(), or `pixyz graph -j ID` for the graph of a job",
    "watchdog": "the platform watches its workers by itself; limits are time_limit and memory_limit of "
    "@pixyz_schedule, and pc.cancelled() says when a job is being stopped",
}
"""What to use instead, by the module's name in pixyz_worker."""
