"""Jobs of a graph's nodes, each made when its turn comes: what their calls have in common is worked out once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixyz_ray.cluster.inspection import inspector
from pixyz_ray.confined_files import FileTooLarge, read_file
from pixyz_ray.graphs import Graph, Node
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.policy import DEFAULT, POLICY_KEYS, Policy, shown
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder, plain_name
from pixyz_ray.submission import effective_config
from pixyz_worker.exception import InvalidBackendParameter, InvalidScript, PixyzException
from pixyz_worker.loader import MAX_SECONDS, ScriptInfo
from pixyz_worker.plan import FAIL_FAST
from pixyz_worker.task_options import PLAIN_START_OPTIONS
from pixyz_worker.wire import RUNNER_KEYS

_DEFAULT_QUEUE = "gpu"
"""Queue of a task that names none, as in the scheduler before this one; a job that names none runs on cpu."""
_KNOWN_KEYS = ("entrypoint", "root_file", "compute_only", "raw")
_NOT_OWN = RUNNER_KEYS - {"params"}
_MAX_NAME_CHARS = 200


class NodeJobs:
    """Makes the jobs of one graph.

    Args:
        graph: the graph.
        parent: job whose script started it.
        settings: folders, queues and limits.
        again: whether it had begun already; if it cannot go on, `problem` says why.

    Raises:
        InvalidBackendParameter, InvalidScript: one of its calls cannot be made; the sentence says why.
    """

    def __init__(self, graph: Graph, parent: Job, settings: Settings, *, again: bool = False) -> None:
        self._graph = graph
        self._parent = parent
        self._settings = settings
        self._home = JobFolder(settings.share_path, graph.root_id)
        self.problem: str | None = None
        """Why its jobs cannot be run any more: the script is gone, or a queue."""
        try:
            self._templates = [self._template(call) for call in graph.calls]
        except PixyzException as error:
            if not again:
                raise
            self.problem = str(error)
            self._templates = [self._blank(str(call["context"].get("entrypoint", "main"))) for call in graph.calls]
        self.start_options = [
            {key: float(value) for key, value in call["options"].items() if key in PLAIN_START_OPTIONS}
            for call in graph.calls
        ]
        """When the tasks that make a call may start, and when they are given up."""
        self.scopes = [call["options"].get(FAIL_FAST) for call in graph.calls]
        """Number of the fail_fast composition that a call belongs to, or None."""

    def template(self, node: Node) -> Job:
        """Return a job that asks for what a task's job will ask for: its queue, its policy."""
        template: Job = self._templates[node.calls[0][0]]
        return template

    def job(self, node: Node) -> Job:
        """Return the job that a node is, before its first attempt."""
        if node.kind == "group":
            return self._group(node)
        number, params, *pickled = node.calls[0]
        first: Job = self._templates[number]
        if node.kind == "task":
            if node.on_failure and node.fed:
                params, pickled = node.after, []
            return replace(first, uuid=node.id, params=params, params_packed=bool(pickled))
        calls = tuple(self._part_call(*call) for call in node.calls)
        config = {**first.config, "raw": True}
        return replace(first, uuid=node.id, kind="part", params=None, calls=calls, config=config)

    def _group(self, node: Node) -> Job:
        group = self._blank("group")
        return replace(group, uuid=node.id, entrypoint="", kind="group", total=len(node.members), done=0)

    def _blank(self, entrypoint: str) -> Job:
        """Return a job with what all of them have in common."""
        return Job(
            uuid="",
            name=f"{self._parent.name}/{entrypoint}",
            process=self._parent.process,
            script=self._parent.script,
            entrypoint=entrypoint,
            params=None,
            queue="control",
            state=JobState.PENDING,
            parent_id=self._parent.uuid,
            graph=self._graph.uuid,
            home=self._graph.root_id,
            requested=self._graph.plain["requested"],
            submitter=self._parent.submitter,
        )

    def _part_call(self, number: int, params: Any, pickled: bool = False) -> Mapping[str, Any]:
        job = self._templates[number]
        call = {"entrypoint": job.entrypoint, "params": params, "config": job.config}
        call |= {"params_packed": pickled, "packed": job.packed or {}}
        return {**call, "wait": True, "wait_timeout": job.wait_timeout} if job.wait else call

    def _template(self, call: Mapping[str, Any]) -> Job:
        """Return a job with all but the identity and the params of those that make this call."""
        context, options = call["context"], call["options"]
        script, digest, info = self._script(call["script"])
        asked = {key: context[key] for key in _KNOWN_KEYS if key in context}
        wanted = {"queue", "time_limit"} | POLICY_KEYS
        asked |= {key: value for key, value in options.items() if key in wanted and value is not None}
        config = effective_config(asked, info, self._settings, default_queue=_DEFAULT_QUEUE)
        own = {key: value for key, value in context.items() if key not in _KNOWN_KEYS and key not in _NOT_OWN}
        job = self._blank(str(options.get("shadow") or config.entrypoint)[:_MAX_NAME_CHARS])
        return replace(
            job,
            entrypoint=config.entrypoint,
            script=script,
            script_digest=digest,
            input_file=self._input(context.get("input_file")),
            config=config.extra | own | self._input_dir(context.get("input_dir")),
            packed={key: text for key, text in call.get("packed", {}).items() if key not in _NOT_OWN} or None,
            queue=config.queue,
            time_limit=config.time_limit,
            wait=config.wait,
            wait_timeout=_timeout(options.get("timeout"), config.wait_timeout),
            policy=self._inherited(config.policy),
        )

    def _inherited(self, policy: Policy) -> Policy:
        """Return a policy with the parent's priority, where it has none of its own."""
        wanted = self._parent.policy.priority
        return replace(policy, priority=wanted) if policy.priority == DEFAULT.priority != wanted else policy

    def _script(self, name: str) -> tuple[str, str, ScriptInfo]:
        """Return a script's name, digest and content as read."""
        safe = plain_name(name, "script.py")
        try:
            most = self._settings.max_script_bytes
            source = read_file(self._home.name, self._home.script.name, safe, max_bytes=most)
        except FileTooLarge:
            raise InvalidScript(f"The script {safe!r} takes more than {most} bytes (MAX_SCRIPT_BYTES).") from None
        except OSError:
            raise InvalidScript(f"The graph names the script {safe!r}, which its job does not have.") from None
        return safe, hashlib.sha256(source).hexdigest(), inspector().inspect(source, safe)

    def _input(self, given: str | None) -> str | None:
        """Return an input as a path relative to the share, where that is; any other path is the script's business."""
        if given is None:
            return None
        share = self._settings.share_path
        try:
            return Path(given).resolve().relative_to(share.resolve()).as_posix()
        except ValueError:
            return str(given)

    def _input_dir(self, given: str | None) -> dict[str, str | None]:
        return {} if given is None else {"input_dir": self._input(given)}


def _timeout(asked: Any, scheduled: float | None) -> float | None:
    """Return the seconds that a job waits for the graph whose handle it returns.

    Raises:
        InvalidBackendParameter: the option is no number of seconds.
    """
    if asked is None:
        return scheduled
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not 0 < asked <= MAX_SECONDS:
        what = f"a number of seconds above 0 and at most {MAX_SECONDS}"
        raise InvalidBackendParameter(f"the option 'timeout' must be {what}, not {shown(asked, repr)}")
    return float(asked)
