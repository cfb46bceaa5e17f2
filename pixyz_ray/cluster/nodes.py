"""The registry of machines: which there are, which of them may run jobs, and why the others may not.

It follows Ray's list of nodes, and runs a small task on each (node_probe.py) when it joins and now and then: more often
while something is wrong. A machine that hangs costs the deadline of its probe and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from pixyz_ray.cluster.errors import UnknownNode
from pixyz_ray.cluster.fitness import problem_of
from pixyz_ray.cluster.node import Node, NodeState, death_of, new_node, node_view
from pixyz_ray.machine_gate import Closed
from pixyz_ray.version import VERSION
from pixyz_worker.exception import InvalidBackendParameter
from pixyz_worker.nearest import SIMILAR, suggestion

_log = logging.getLogger(__name__)
_EVERY_S = 30.0
_UNFIT_EVERY_S = 10.0
_DRAINING_EVERY_S = 2.0
_CONFIRM_AGAIN_S = 0.25
"""Pause before the second probe of a drained machine on which nothing runs any more; it doubles each time."""
_PROBE_PATIENCE_S = 20.0
_ORDER_PATIENCE_S = 10.0
_MAX_SILENT = 2
"""Probes in a row that a machine may leave unanswered."""
_KEPT_DEAD_S = 600.0
_MAX_DEAD = 100
_SHORT_ID = 8
_LEAST_PREFIX = 6


class NodeSource(Protocol):
    """What the registry asks of Ray."""

    async def nodes(self) -> Sequence[Mapping[str, Any]]:
        """Return Ray's records of all nodes."""

    async def probe(self, node_id: str, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run the probe on a node and return its answer, however long it takes."""


class NodeRegistry:
    """All machines of the cluster, on one event loop.

    Args:
        source: Ray.
        own: Ray's id of the machine of the tracker.
        share: SHARE_PATH.
        on_change: called when other machines may run jobs than before, or when the memory of GPUs has become known.
        end_attempt: ends a job's running attempt; takes the job and a message for its owner.
    """

    def __init__(
        self,
        source: NodeSource,
        *,
        own: str,
        share: str,
        on_change: Callable[[], None],
        end_attempt: Callable[[str, str], None],
    ) -> None:
        self._source = source
        self._own = own
        self._share = share
        self.share_id = ""
        """Id of the share's marker; empty while the head cannot see the share."""
        self._on_change = on_change
        self._end_attempt = end_attempt
        self._nodes: dict[str, Node] = {}
        self._node_of: dict[str, Node] = {}
        self._lost: frozenset[str] = frozenset()
        self._excluded: frozenset[str] = frozenset()
        self._working: set[asyncio.Task[None]] = set()
        self._due: dict[str, asyncio.TimerHandle] = {}

    # --- Machines for jobs -------------------------------------------------------------------------------------------

    def excluded(self) -> frozenset[str]:
        """Return Ray's ids of the machines that must get no job; nearly always none."""
        return self._excluded

    def trouble(self) -> str | None:
        """Return why no job can begin on any machine, or None."""
        alive = [node for node in self._nodes.values() if node.left is None]
        if not alive or any(not node.is_excluded for node in alive):
            return None
        return "No machine can run jobs. " + " ".join(node.reason or "" for node in alive)

    def warnings(self) -> list[str]:
        """Return a message about each machine that is unfit, or one about all where no job can begin on any."""
        if (trouble := self.trouble()) is not None:
            return [trouble]
        return [node.problem for node in self._nodes.values() if node.left is None and node.problem is not None]

    def usable(self) -> list[dict[str, Any]]:
        """Return Ray's records of the machines that may run jobs, with the memory of their GPUs."""
        return [
            {
                "NodeID": node.id,
                "Alive": True,
                "Resources": node.resources,
                "Labels": node.labels,
                "GpuMemories": node.gpu_memories,
            }
            for node in self._nodes.values()
            if node.left is None and not node.is_excluded
        ]

    # --- Attempts ----------------------------------------------------------------------------------------------------

    def on_start(self, uuid: str, node_id: str | None) -> None:
        """Record that an attempt of a job runs on a machine."""
        if node_id is not None and (node := self._nodes.get(node_id)) is not None:
            node.running.add(uuid)
            self._node_of[uuid] = node

    def on_end(self, uuid: str) -> None:
        """Record that a job's attempt is over."""
        if (node := self._node_of.pop(uuid, None)) is not None:
            node.running.discard(uuid)
            node.ended.discard(uuid)
            self._confirm(node)

    def on_refusal(self, node_id: str, message: str, *, unfit: bool) -> None:
        """Record that a worker has refused an attempt: send no more there until a probe has found it fit."""
        node = self._nodes.get(node_id)
        if node is None or node.left is not None:
            return
        if not unfit:
            # This tracker may be new, and does not know yet that the machine is being drained.
            if node.gate is None and not node.opening:
                self._begin_probe(node)
            return
        if node.problem is None:
            self._set_problem(node, message)
            # The next probe comes after the usual pause: now it would find the same.
            node.probed = time.monotonic()

    def on_lost(self, node_ids: frozenset[str]) -> None:
        """Send no more to these machines, which are lost, and to no others for that reason."""
        self._lost = node_ids
        for node in self._nodes.values():
            node.is_lost = node.id in node_ids
        self._update()

    # --- Following the cluster ---------------------------------------------------------------------------------------

    async def refresh(self) -> bool:
        """Take over Ray's list of nodes, and begin the probes that are due; return whether a machine has left.

        Raises:
            TimeoutError: Ray does not answer.
        """
        async with asyncio.timeout(_ORDER_PATIENCE_S):
            records = await self._source.nodes()
        seen = {str(record["NodeID"]): record for record in records if record["Alive"]}
        for node_id, record in seen.items():
            if node_id not in self._nodes:
                self._nodes[node_id] = new_node(node_id, record)
        now = time.time()
        left = [node for node in self._nodes.values() if node.id not in seen and node.left is None]
        if left:
            deaths = {str(record["NodeID"]): death_of(record) for record in records if not record["Alive"]}
            for node in left:
                node.left, node.death = now, deaths.get(node.id, "")
        self._forget_dead(now)
        self._update()
        for node in self._nodes.values():
            if node.left is None and not node.lock.locked() and self._is_due(node):
                self._begin_probe(node)
        return bool(left)

    def _forget_dead(self, now: float) -> None:
        dead = sorted((node for node in self._nodes.values() if node.left is not None), key=lambda one: one.left or 0.0)
        for number, node in enumerate(dead):
            if now - (node.left or 0.0) > _KEPT_DEAD_S or number < len(dead) - _MAX_DEAD:
                del self._nodes[node.id]

    def _is_due(self, node: Node) -> bool:
        if node.probed is None:
            return True
        if node.state is NodeState.UNFIT or node.silent:
            every_s = _UNFIT_EVERY_S
        elif (node.state is NodeState.DRAINING and not node.running) or node.opening:
            every_s = _DRAINING_EVERY_S
        else:
            every_s = _EVERY_S
        return time.monotonic() - node.probed >= every_s

    def _begin_probe(self, node: Node) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._probe(node))
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return task

    async def _probe(self, node: Node) -> None:
        async with node.lock:
            known = node.gpu_memories
            order = {
                "share": self._share,
                "share_id": self.share_id,
                "version": VERSION,
                "session": node.session,
                "gate": _gate_order(node),
            }
            try:
                async with asyncio.timeout(_PROBE_PATIENCE_S):
                    report = await self._source.probe(node.id, order)
            except Exception as error:
                self._on_silence(node, error)
            else:
                self._on_report(node, order["gate"], report)
            node.probed = time.monotonic()
        self._update()
        if node.gpu_memories != known:
            self._on_change()

    async def answered(self, timeout_s: float) -> None:
        """Return when the probes that run now have ended, or after some seconds."""
        if self._working:
            await asyncio.wait([*self._working], timeout=timeout_s)

    def _on_silence(self, node: Node, error: Exception) -> None:
        node.silent += 1
        # This process runs on its own machine, whatever a probe says; Ray says which machines are dead.
        if node.id == self._own or node.silent < _MAX_SILENT or node.left is not None:
            return
        what = f"no answer within {_PROBE_PATIENCE_S:g} s" if isinstance(error, TimeoutError) else str(error)[-300:]
        self._set_problem(
            node, f"Machine {node.name} gets no jobs since it cannot be probed: {what}. See the logs of its Ray."
        )

    def _on_report(self, node: Node, ordered: Any, report: Mapping[str, Any]) -> None:
        node.silent, node.report = 0, report
        if ordered == _gate_order(node):
            found = report["gate"]
            if ordered == "keep" and found is not None:
                node.gate = Closed.from_plain(found)
                self._set_alarm(node)
            node.confirmed = node.gate is not None and found is not None
            node.opening = False
        self._set_problem(node, problem_of(node.name, report))

    def _set_problem(self, node: Node, problem: str | None) -> None:
        if problem != node.problem:
            if problem is None:
                _log.info("machine %s is fit for jobs again", node.name)
            else:
                _log.warning("%s", problem)
            node.problem = problem
            self._update()

    def _update(self) -> None:
        excluded = frozenset(node.id for node in self._nodes.values() if node.is_excluded) | self._lost
        if excluded != self._excluded:
            self._excluded = excluded
            self._on_change()

    # --- Draining ----------------------------------------------------------------------------------------------------

    async def drain(self, name: str, deadline_s: float | None) -> Node:
        """Let no more attempts begin on a machine; return when the machine itself knows, or does not answer.

        Args:
            name: host name, address, or beginning of the id.
            deadline_s: seconds after which attempts that still run there are ended; None to let them end.
        """
        node = self.find(name, alive=True)
        now = time.time()
        deadline = None if deadline_s is None else now + deadline_s
        node.gate = Closed(since=node.gate.since if node.gate else now, deadline=deadline)
        node.confirmed = node.opening = False
        self._update()
        self._set_alarm(node)
        await self._order(node)
        return node

    async def undrain(self, name: str) -> Node:
        """Let attempts begin on a machine again; return when it has opened its gate, or does not answer."""
        node = self.find(name, alive=True)
        node.gate, node.confirmed, node.opening = None, False, True
        self._set_alarm(node)
        await self._order(node)
        return node

    async def check(self, name: str) -> Node:
        """Probe a machine now, and return it."""
        node = self.find(name, alive=True)
        await self._order(node)
        return node

    async def _order(self, node: Node) -> None:
        """Probe a machine, and wait for its answer for a moment; the probe goes on."""
        await asyncio.wait([self._begin_probe(node)], timeout=_ORDER_PATIENCE_S)

    def _confirm(self, node: Node, again_s: float = _CONFIRM_AGAIN_S) -> None:
        """Probe a machine that is being drained, when the tracker's last job there is over, until it says the same.

        Args:
            node: the machine.
            again_s: seconds before the next probe, if its worker is still busy.
        """

        def go_on(probe: asyncio.Task[None]) -> None:
            if not probe.cancelled() and again_s < _DRAINING_EVERY_S and self._is_unconfirmed(node):
                asyncio.get_running_loop().call_later(again_s, self._confirm, node, 2 * again_s)

        if self._is_unconfirmed(node):
            self._begin_probe(node).add_done_callback(go_on)

    def _is_unconfirmed(self, node: Node) -> bool:
        return node.state is NodeState.DRAINING and not node.running and not node.silent

    def _set_alarm(self, node: Node) -> None:
        if (alarm := self._due.pop(node.id, None)) is not None:
            alarm.cancel()
        if node.gate is not None and node.gate.deadline is not None:
            delay_s = max(0.0, node.gate.deadline - time.time())
            self._due[node.id] = asyncio.get_running_loop().call_later(delay_s, self._enforce, node)

    def _enforce(self, node: Node) -> None:
        """End what still runs on a machine at its deadline."""
        self._due.pop(node.id, None)
        if node.gate is None or node.left is not None:
            return
        message = (
            f"Machine {node.name} is being drained, and the attempt was ended at the deadline for that. The job runs "
            "again on another machine; this is not counted as a retry."
        )
        for uuid in node.running - node.ended:
            node.ended.add(uuid)
            self._end_attempt(uuid, message)

    # --- Queries -----------------------------------------------------------------------------------------------------

    def find(self, name: str, *, alive: bool = False) -> Node:
        """Return a machine by host name, address, or id or its beginning; a live one before dead ones.

        Raises:
            UnknownNode: there is none; the message has the nearest name.
            InvalidBackendParameter: several have that name.
        """
        fitting = [node for node in self._nodes.values() if _is_named(node, name)]
        living = [node for node in fitting if node.left is None]
        if len(living) > 1:
            ids = ", ".join(node.id[:_SHORT_ID] for node in living)
            raise InvalidBackendParameter(f"Several machines are called {name[:100]!r}. Name one by its id: {ids}.")
        if living:
            return living[0]
        if fitting and not alive:
            return max(fitting, key=lambda node: node.left or 0.0)
        if fitting:
            raise UnknownNode(f"Machine {name[:100]!r} has left the cluster.")
        known = sorted(node.name for node in self._nodes.values() if node.left is None)
        hint = suggestion(name, known, cutoff=SIMILAR)
        if len(name) < _LEAST_PREFIX and any(node.id.startswith(name) for node in self._nodes.values()):
            hint = f" Of an id, give at least {_LEAST_PREFIX} characters."
        raise UnknownNode(f"There is no machine {name[:100]!r}.{hint} Known: {', '.join(known)}.")

    def views(self, used: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
        """Return all machines as plain values, live ones first, by name.

        Args:
            used: resources in use by Ray's id of the machine.
        """
        nodes = sorted(self._nodes.values(), key=lambda node: (node.left is not None, node.name, node.id))
        return [self.view(node, used) for node in nodes]

    def view(self, node: Node, used: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Return a machine as plain values; see `views`."""
        return {**node_view(node, used.get(node.id)), "head": node.id == self._own}

    def environments(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        """Yield the name of each live machine that has answered, and Ray's variables in its environment."""
        for node in self._nodes.values():
            if node.left is None and node.report is not None:
                yield node.name, node.report["environment"]

    def close(self) -> None:
        """Stop all timers and probes."""
        for alarm in self._due.values():
            alarm.cancel()
        for task in self._working:
            task.cancel()


def _gate_order(node: Node) -> Any:
    """Return what the machine is to do with its gate."""
    if node.gate is not None:
        return asdict(node.gate)
    return "open" if node.opening else "keep"


def _is_named(node: Node, name: str) -> bool:
    if name in (node.name, node.address, node.id):
        return True
    return len(name) >= _LEAST_PREFIX and node.id.startswith(name)
