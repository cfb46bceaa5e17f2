"""Jobs of a graph's nodes, each made when its turn comes: what their calls have in common is worked out once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixyz_ray.graphs import Graph, Node
from pixyz_ray.jobs import Job, JobState
from pixyz_ray.policy import DEFAULT, POLICY_KEYS, Policy
from pixyz_ray.settings import Settings
from pixyz_ray.storage import JobFolder, plain_name
from pixyz_ray.submission import effective_config, inspected
from pixyz_worker.exception import InvalidBackendParameter, InvalidScript, PixyzException
from pixyz_worker.loader import ScriptInfo
from pixyz_worker.plan import FAIL_FAST


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
        self.scopes = [call["options"].get(FAIL_FAST) for call in graph.calls]
        """Number of the fail_fast composition that a call belongs to, or None."""

    def template(self, node: Node) -> Job:
        """Return a job that asks for what a task's job will ask for: its queue, its policy."""
        return self._templates[node.calls[0][0]]

    def job(self, node: Node) -> Job:
        """Return the job that a node is, before its first attempt."""
        if node.kind == "group":
            return self._group(node)
        number, params = node.calls[0]
        first = self._templates[number]
        if node.kind == "task":
            return replace(first, uuid=node.id, params=params)
        calls = tuple(self._part_call(number, params) for number, params in node.calls)
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

    def _part_call(self, number: int, params: Any) -> Mapping[str, Any]:
        job = self._templates[number]
        call = {"entrypoint": job.entrypoint, "params": params, "config": job.config}
        return {**call, "wait": True, "wait_timeout": job.wait_timeout} if job.wait else call

    def _template(self, call: Mapping[str, Any]) -> Job:
        """Return a job with all but the identity and the params of those that make this call."""
        context, options = call["context"], call["options"]
        script, digest, info = self._script(call["script"])
        asked = {key: context[key] for key in ("entrypoint", "root_file", "compute_only", "raw") if key in context}
        wanted = {"queue", "time_limit"} | POLICY_KEYS
        asked |= {key: value for key, value in options.items() if key in wanted and value is not None}
        config = effective_config(asked, info, self._settings)
        return replace(
            self._blank(config.entrypoint),
            script=script,
            script_digest=digest,
            input_file=self._input(context.get("input_file")),
            config=config.extra | {"data": context.get("data")},
            queue=config.queue,
            time_limit=config.time_limit,
            wait=config.wait,
            wait_timeout=config.wait_timeout,
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
            source = (self._home.script / safe).read_bytes()
        except OSError:
            raise InvalidScript(f"The graph names the script {safe!r}, which its job does not have.") from None
        return safe, hashlib.sha256(source).hexdigest(), inspected(source, safe)

    def _input(self, given: str | None) -> str | None:
        """Return an input as a path relative to the share; a node may take any file of a job's folder."""
        if given is None:
            return None
        share = self._settings.share_path
        try:
            return Path(given).resolve().relative_to(share.resolve()).as_posix()
        except ValueError:
            raise InvalidBackendParameter(
                f"input_file {given[:200]!r} is not in the folder of a job, where other machines would find it; "
                "copy it below pc.get_output_dir() first."
            ) from None
