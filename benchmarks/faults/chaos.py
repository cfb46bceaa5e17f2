"""The chaos run: many jobs, sent over the whole of it, while the platform's parts are killed at random."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults.chaos_jobs import POOL, SEATS, Order, Sent, make_orders
from benchmarks.faults.killer import Killer
from benchmarks.faults.outages import Outage, Recovery
from benchmarks.faults.platform import Fragile
from benchmarks.faults.sender import Sender
from benchmarks.faults.verdict import Verdict, judge_jobs, judge_machine
from pixyz_ray.client import Client, PlatformUnreachable
from pixyz_ray.jobs import TERMINAL
from pixyz_worker.exception import PixyzWebError

_MOST_WAITING = 30
_LOOK_EVERY_S = 0.5
_TELL_EVERY_S = 10.0
_CLEAR_PATIENCE_S = 20.0
_PAGE = 300
_IDLE_MARGIN = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One chaos run."""

    jobs: int
    """Jobs that are sent."""
    pause_s: tuple[float, float] = (2.0, 4.0)
    """The least and the most seconds between two blows."""
    job_every_s: float = 0.25
    """Least seconds from one job to the next."""
    kills: int = 0
    """Processes to kill at least, before the last job is sent."""
    outages: tuple[Outage, ...] = ()
    """What takes the whole platform down, each before the last job is sent."""
    end_within_s: float = 240.0
    """Seconds after the last blow within which all must have ended."""
    idle_s: float = 5.0
    """Seconds that the idle platform is watched, before and after."""
    seed: int = 20
    """What decides by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a chaos run has shown."""

    plan: Plan
    """What was done."""
    verdict: Verdict
    """What is wrong."""
    blows: Counter[str]
    """Processes killed, by kind; and jobs cancelled."""
    recoveries: list[Recovery]
    """How the platform came back from each outage."""
    found_later: int
    """Jobs whose POST was not answered, and that the platform had."""
    failed_posts: int
    """Requests that were sent again."""
    idle: tuple[float, float]
    """Percent of one core that the idle platform took before and after."""
    seconds: float
    """How long it took, start and stop of the platform not counted."""

    @property
    def idle_again(self) -> bool:
        """Whether the platform takes no more than before."""
        return self.idle[1] <= self.idle[0] + _IDLE_MARGIN

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict.clean and self.idle_again


def chaos(plan: Plan, say: Say, folder: Path | None = None, **settings: str) -> Report:
    """Start a platform, run the plan on it, stop it, and return what was found.

    Args:
        plan: how much of what.
        say: takes lines that tell how it goes.
        folder: where to work; a temporary folder is made in it.
        settings: more settings of the platform, such as JOB_STORE_URL.
    """
    with TemporaryDirectory(prefix="pixyz-chaos-", dir=folder, ignore_cleanup_errors=True) as work:
        platform = Fragile(Path(work), PIXYZ_POOLS=f'{{"{POOL}": {SEATS}}}', **settings)
        platform.start()
        try:
            (ledgers := Path(work) / "ledgers").mkdir()
            orders = make_orders(plan.jobs, ledgers, random.Random(plan.seed))
            with platform.client() as client:
                return _Run(platform, client, plan, say).run(orders)
        finally:
            platform.stop()


class _Run:
    """One run, on a platform that is up."""

    def __init__(self, platform: Fragile, client: Client, plan: Plan, say: Say) -> None:
        self._platform = platform
        self._client = client
        self._plan = plan
        self._say = say
        self._began = time.monotonic()
        self._sent: list[Sent] = []
        self._by_id: dict[str, Sent] = {}
        self._sender = Sender(client)
        self._killer = Killer(platform, self._sent, plan.pause_s, plan.outages, random.Random(plan.seed + 1))
        self._looked = self._told = 0.0

    def run(self, orders: list[Order]) -> Report:
        """Send the jobs, wait for their ends, and look at everything."""
        time.sleep(self._plan.idle_s)
        idle = self._platform.cpu_percent(self._plan.idle_s)
        self._killer.start()
        try:
            self._send(orders)
        finally:
            self._killer.stop()
        self._wait_for_ends()
        verdict = self._judge()
        return Report(
            plan=self._plan,
            verdict=verdict,
            blows=self._killer.done,
            recoveries=self._killer.recoveries,
            found_later=sum(not one.answered for one in self._sent),
            failed_posts=self._sender.failed_posts,
            idle=(idle, self._idle_again(idle)),
            seconds=time.monotonic() - self._began,
        )

    def _send(self, orders: list[Order]) -> None:
        for order in orders:
            due = time.monotonic() + self._plan.job_every_s
            sent = self._sender.send(order)
            self._sent.append(sent)
            self._by_id[sent.uuid] = sent
            self._look()
            last = order is orders[-2:][0]
            while (
                time.monotonic() < due
                or self._open() > _MOST_WAITING
                or self._is_ahead_of_outages()
                or (last and not self._has_killed_enough())
            ):
                time.sleep(0.05)
                self._look()

    def _is_ahead_of_outages(self) -> bool:
        """Return whether the jobs to come have to wait, so that each outage meets its share of them."""
        if self._killer.trouble is not None:
            raise self._killer.trouble
        outages = len(self._plan.outages)
        made = outages - self._killer.outages_to_come
        return made < outages and len(self._sent) >= self._plan.jobs * (made + 1) / (outages + 1)

    def _has_killed_enough(self) -> bool:
        return self._killer.kills >= self._plan.kills and not self._killer.outages_to_come

    def _open(self) -> int:
        return sum(not one.seen for one in self._sent)

    def _look(self) -> None:
        """See which jobs have ended since, and what they came to: that must never change."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY_S:
            return
        self._looked = now
        with suppress(PlatformUnreachable, PixyzWebError):
            for job in self._client.jobs(limit=_PAGE)["jobs"]:
                self._see(job["uuid"], job["status"])
        if now - self._told > _TELL_EVERY_S:
            self._told = now
            self._tell()

    def _see(self, uuid: str, status: str) -> None:
        sent = self._by_id.get(uuid)
        if sent is not None and not sent.seen and status in TERMINAL:
            details = dict(self._client.details(uuid))
            sent.seen = {key: details[key] for key in ("status", "result", "attempt")}

    def _tell(self) -> None:
        ends = Counter(one.seen["status"] for one in self._sent if one.seen)
        self._say(
            f"{time.monotonic() - self._began:4.0f} s: {len(self._sent)} of {self._plan.jobs} jobs sent, "
            f"{self._open()} open, {dict(ends)}; {dict(self._killer.done)}; "
            f"{self._sender.failed_posts} requests sent again"
        )

    def _wait_for_ends(self) -> None:
        """Wait until all have ended, graphs with their nodes too; who has not by then is found by the verdict."""
        deadline = time.monotonic() + self._plan.end_within_s
        while time.monotonic() < deadline:
            self._look()
            with suppress(PlatformUnreachable, PixyzWebError):
                # Those that are not on the newest page any more.
                for one in self._sent:
                    if not one.seen:
                        self._see(one.uuid, self._client.state(one.uuid)["status"])
                standing = self._client.queues()["queues"]
                if not self._open() and not any(queue["waiting"] + queue["running"] for queue in standing):
                    return
            time.sleep(0.2)

    def _judge(self) -> Verdict:
        """Look at everything; what is just being cleared up has a while for that."""
        verdict = Verdict()
        known = judge_jobs(self._client, self._sent, verdict)
        deadline = time.monotonic() + _CLEAR_PATIENCE_S
        while True:
            left = Verdict()
            judge_machine(self._platform, self._client, known, self._sender.failed_posts, left)
            if left.clean or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        verdict.counts += left.counts
        verdict.troubles += left.troubles
        verdict.refused_strays = left.refused_strays
        return verdict

    def _idle_again(self, before: float) -> float:
        """Return what the platform takes now; workers that were just started settle first."""
        deadline = time.monotonic() + _CLEAR_PATIENCE_S
        while True:
            taken = self._platform.cpu_percent(self._plan.idle_s)
            if taken <= before + _IDLE_MARGIN or time.monotonic() > deadline:
                return taken
