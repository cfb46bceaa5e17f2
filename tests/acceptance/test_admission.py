"""Which of the jobs that wait begins, and when: priority, age, shares, limits, seats; and what they are told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.admission_stage import (
    MAX_GROWTH,
    MAX_OWN_QUEUED,
    MAX_QUEUED,
    MAX_TASKS,
    MIB,
    SCRIPT,
    SEATS,
    Book,
    Submit,
    all_given_back,
    all_well,
    caller,
    check_full,
    limited_platform,
    row,
    run,
)
from tests.platforms import TestPlatform
from tests.rest_client import TERMINAL, RestClient
from tests.waiting import wait_until

SOON_S = 10.0


@pytest.fixture(scope="module")
def platform() -> Iterator[TestPlatform]:
    """A platform with small limits of all kinds."""
    platform = limited_platform()
    try:
        platform.up()
        yield platform
    finally:
        platform.close()


@pytest.fixture(scope="module")
def rest(platform: TestPlatform) -> Iterator[RestClient]:
    """A client with the machine's own token."""
    with platform.client() as client:
        yield client


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """An empty book."""
    return Book(tmp_path / "book")


@pytest.fixture
def submit(rest: RestClient, book: Book, gate: Path) -> Submit:
    """A function that submits an entrypoint of the script under a name; what else is given is its config."""

    def submit(
        entrypoint: str, name: str = "", params: dict[str, Any] | None = None, by: RestClient = rest, **config: Any
    ) -> str:
        given = {"book": str(book.path), "gate": str(gate), "name": name, **(params or {})}
        return by.submit(SCRIPT, params=given, config={"entrypoint": entrypoint, **config}, name=name or None)

    return submit


@pytest.fixture
def held(rest: RestClient, submit: Submit) -> str:
    """A job that holds the only place of queue `one` until the gate opens."""
    uuid = submit("gated", "holder", queue="one")
    rest.wait_for(uuid, "RUNNING")
    return uuid


# --- Whose turn it is ------------------------------------------------------------------------------------------------


def test_given_a_held_queue_when_it_is_free_then_priority_decides_and_among_equals_age(
    rest: RestClient, submit: Submit, book: Book, gate: Path, held: str
) -> None:
    """Given jobs of priority 5, 0, 9, 5 (its default), 9, when a place is free, then 9, 9, 5, 5, 0, the older first."""
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("5 a", {"priority": 5}),
        ("0", {"priority": 0}),
        ("9 a", {"priority": 9}),
        ("5 b", {}),
        ("9 b", {"priority": 9}),
    ]
    uuids = [submit("main", name, queue="one", **config) for name, config in wanted]
    gate.touch()
    all_well(rest, [held, *uuids])
    assert book.begun() == ["holder", "9 a", "9 b", "5 a", "5 b", "0"]


def test_given_two_tokens_when_both_want_a_queue_then_they_get_it_by_their_shares(
    platform: TestPlatform, rest: RestClient, submit: Submit, book: Book, gate: Path, held: str
) -> None:
    """Given shares 3 to 1 and the smaller one first in line, when eight have begun, then six are the larger one's."""
    with caller(platform, "small") as small, caller(platform, "big") as big:
        uuids = [submit("main", "small", {"seconds": 0.05}, by=small, queue="one") for _ in range(6)]
        uuids += [submit("main", "big", {"seconds": 0.05}, by=big, queue="one") for _ in range(9)]
    assert {row(rest, "submitters", name)["waiting"] for name in ("small", "big")} == {6, 9}
    gate.touch()
    all_well(rest, uuids)
    begun = book.begun()[1:9]
    assert 5 <= begun.count("big") <= 7, begun
    assert book.most_at_a_time() == 1


def test_given_a_token_for_one_job_at_a_time_when_it_sends_three_then_they_run_one_by_one(
    platform: TestPlatform, rest: RestClient, submit: Submit, book: Book, gate: Path
) -> None:
    """Given a token's own limit, when its jobs wait, then others pass them, and the reason names the token."""
    with caller(platform, "narrow") as narrow:
        first = submit("gated", "narrow 1", by=narrow, queue="free")
        rest.wait_for(first, "RUNNING")
        others = [submit("main", f"narrow {n}", by=narrow, queue="free") for n in (2, 3)]
    all_well(rest, [submit("main", "another's", queue="free")])
    assert rest.details(others[0])["waiting"]["reason"] == "token narrow runs its 1 job"
    gate.touch()
    all_well(rest, [first, *others])
    assert book.most_at_a_time("narrow") == 1


def test_given_a_queue_for_two_when_six_want_it_then_two_run_at_a_time(
    rest: RestClient, submit: Submit, book: Book, gate: Path
) -> None:
    """Given `concurrency` 2, when there is more to do, then two run, never three."""
    first = [submit("gated", f"first {n}", queue="two") for n in range(2)]
    others = [submit("main", f"{n}", {"seconds": 0.05}, queue="two") for n in range(4)]
    for uuid in first:
        rest.wait_for(uuid, "RUNNING")
    assert rest.details(others[0])["waiting"]["reason"] == "all 2 places of queue two are taken"
    gate.touch()
    all_well(rest, first + others)
    assert book.most_at_a_time() == 2


def test_given_a_queue_for_one_when_a_job_waits_for_its_children_there_then_they_run(
    rest: RestClient, submit: Submit, book: Book
) -> None:
    """Given a parent in `.get()` on a queue for one, when its children want that queue, then they get the place."""
    (pids,) = all_well(rest, [submit("parent", queue="one")])
    assert len(pids) == 2
    assert book.most_at_a_time() == 1


# --- Seats -----------------------------------------------------------------------------------------------------------


def test_given_two_seats_when_six_jobs_need_one_then_two_hold_one_at_a_time(
    rest: RestClient, submit: Submit, book: Book, gate: Path
) -> None:
    """Given a pool of 2, when jobs of two queues and a script's own schedule ask for it, then no third runs."""
    first = [
        submit("gated", "list", queue="free", pools=["catia"]),
        submit("gated", "text", queue="two", pools="catia"),
    ]
    for uuid in first:
        rest.wait_for(uuid, "RUNNING")
    others = [submit("main", f"{n}", {"seconds": 0.05}, queue="free", pools={"catia": 1}) for n in range(3)]
    others.append(submit("scheduled", "by schedule", queue="free"))
    assert {rest.details(uuid)["waiting"]["reason"] for uuid in others} == {"pool catia: 2 of 2 seats are held"}
    gate.touch()
    all_well(rest, first + others)
    assert book.most_at_a_time() == SEATS
    # Two seats are free nearly at once, and which of the two begins first is chance.
    assert "by schedule" in book.begun()[2:4]
    all_given_back(rest)


def test_given_a_group_and_a_chain_of_tasks_with_seats_when_they_run_then_two_hold_one_at_a_time(
    rest: RestClient, submit: Submit, book: Book
) -> None:
    """Given tasks with `.set(pools=...)`, when a script starts more of them than there are seats, then they wait."""
    all_well(rest, [submit("seats", params={"seconds": 0.1})])
    assert len(book.begun()) == 8
    assert book.most_at_a_time("member") <= SEATS
    assert book.most_at_a_time("step") == 1
    all_given_back(rest)


@pytest.mark.parametrize(
    ("entrypoint", "config", "failure"),
    [
        ("main", {}, None),
        ("fails", {}, "user_error"),
        ("crashes", {"retries": 0}, "crash"),
        ("lasts", {"retries": 0, "time_limit": 0.5}, "timeout"),
    ],
)
def test_given_the_only_seat_when_its_holder_ends_however_then_the_next_gets_it(
    rest: RestClient, submit: Submit, entrypoint: str, config: dict[str, Any], failure: str | None
) -> None:
    """Given a job on the only seat, when it ends well, badly, by a crash or its limit, then one that waits runs."""
    holder = submit(entrypoint, queue="free", pools=["seat"], **config)
    follower = submit("main", queue="free", pools=["seat"])
    details = rest.end(holder)
    assert [attempt["failure"] for attempt in details["attempts"]] == [failure]
    all_well(rest, [follower])
    all_given_back(rest)


def test_given_the_only_seat_when_jobs_are_cancelled_then_it_is_given_back_and_those_who_wait_leave(
    rest: RestClient, submit: Submit, book: Book
) -> None:
    """Given a holder and two who wait, when the holder and one of them are cancelled, then the other has the seat."""
    holder = submit("lasts", "holder", queue="free", pools={"seat": 1})
    rest.wait_for(holder, "RUNNING")
    waits, last = (submit("main", name, queue="free", pools={"seat": 1}) for name in ("waits", "last"))
    assert rest.details(waits)["waiting"]["reason"] == "pool seat: 1 of 1 seat is held"
    assert row(rest, "pools", "seat") == {"name": "seat", "seats": 1, "held": 1, "resting": 0, "waiting": 2}
    for uuid in (waits, holder):
        assert rest.http.post(f"/jobs/{uuid}/cancel").json()["status"] == "REVOKED"
    all_well(rest, [last])
    assert book.begun() == ["holder", "last"]
    assert rest.details(waits)["attempts"] == []
    all_given_back(rest)


@pytest.mark.parametrize(
    ("pools", "sentence"),
    [
        ({"nx": 1}, "There is no pool 'nx'. Pools: catia, seat."),
        ({"catia": 3}, "Pool 'catia' has 2 seats, and 3 are asked for."),
        ({"catia": 0}, "'pools' must be names of pools"),
        ("nx", "There is no pool 'nx'."),
    ],
)
def test_given_seats_that_there_are_not_when_submitted_then_400_says_so(
    rest: RestClient, pools: Any, sentence: str
) -> None:
    """Given what would wait for ever, when it is sent, then it is refused."""
    answer = rest.post(SCRIPT, config={"pools": pools})
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]["details"]


# --- A full queue ----------------------------------------------------------------------------------------------------


def test_given_a_full_queue_when_one_more_is_submitted_then_429_and_later_it_is_taken(
    platform: TestPlatform, rest: RestClient, submit: Submit, gate: Path, held: str
) -> None:
    """Given MAX_QUEUED_JOBS that wait, when another comes, then 429; nothing of it is kept, and there is room again."""
    uuids = [submit("main", queue="one") for _ in range(MAX_QUEUED)]
    folders = set((platform.home / "share").iterdir())
    check_full(rest.post(SCRIPT, config={"queue": "free"}), rf"takes no more jobs.*{MAX_QUEUED} .*Try again in \d+ s\.")
    assert set((platform.home / "share").iterdir()) == folders
    for uuid in uuids[1:]:
        rest.http.delete(f"/jobs/{uuid}")
    gate.touch()
    all_well(rest, [held, uuids[0], submit("main", queue="one")])


def test_given_a_token_with_a_limit_when_it_is_reached_then_it_is_refused_and_others_are_not(
    platform: TestPlatform, rest: RestClient, submit: Submit, gate: Path, held: str
) -> None:
    """Given `max_queued` of a token, when it sends one more, then 429 names it, and another token's is taken."""
    with caller(platform, "modest") as modest:
        uuids = [submit("main", by=modest, queue="one") for _ in range(MAX_OWN_QUEUED)]
        check_full(modest.post(SCRIPT, config={"queue": "one"}), f"Token modest has {MAX_OWN_QUEUED} jobs waiting")
    uuids.append(submit("main", queue="one"))
    gate.touch()
    all_well(rest, uuids)


# --- What is told ----------------------------------------------------------------------------------------------------


def test_given_jobs_in_line_when_asked_then_each_tells_its_place_reason_and_expected_start(
    rest: RestClient, submit: Submit, gate: Path, held: str
) -> None:
    """Given three in line, when one before them leaves, then the others move up; who runs waits for nothing."""
    uuids = [submit("main", queue="one") for _ in range(3)]
    told = [rest.details(uuid)["waiting"] for uuid in uuids]
    assert [one["position"] for one in told] == [1, 2, 3]
    assert {one["reason"] for one in told} == {"the one place of queue one is taken"}
    starts = [datetime.fromisoformat(one["expected_start"]) for one in told]
    assert starts == sorted(starts)
    assert rest.details(held)["waiting"] is None
    listed = {job["uuid"]: job["waiting"] for job in rest.get("/jobs", params={"why": "true", "limit": 4})["jobs"]}
    assert [listed[uuid] and listed[uuid]["position"] for uuid in (held, *uuids)] == [None, 1, 2, 3]
    rest.http.delete(f"/jobs/{uuids[0]}")
    assert [rest.details(uuid)["waiting"]["position"] for uuid in uuids[1:]] == [1, 2]
    gate.touch()
    all_well(rest, uuids[1:])
    assert [rest.details(uuid)["waiting"] for uuid in uuids] == [None] * 3


def test_given_jobs_in_line_when_queues_and_metrics_are_asked_then_they_count_them(
    rest: RestClient, submit: Submit, gate: Path
) -> None:
    """Given one that runs on a seat and two that wait, when asked, then /queues and /metrics agree; no job ids."""
    held = submit("gated", queue="one", pools=["seat"])
    rest.wait_for(held, "RUNNING")
    uuids = [submit("main", queue="one") for _ in range(2)]
    seen = row(rest, "queues", "one")
    assert (seen["waiting"], seen["running"], seen["concurrency"], seen["places"]) == (2, 1, 1, 1)
    assert seen["oldest_wait"] >= 0
    assert (row(rest, "submitters", "local")["running"], row(rest, "submitters", "local")["waiting"]) == (1, 2)
    assert rest.get("/queues")["queued"] == 2
    text = rest.http.get("/metrics").text
    for line in (
        'pixyz_queue_depth{queue="one"} 2.0',
        'pixyz_queue_running{queue="one"} 1.0',
        'pixyz_pool_seats{pool="catia"} 2.0',
        'pixyz_pool_held{pool="seat"} 1.0',
        'pixyz_jobs{status="RUNNING"} 1.0',
    ):
        assert line in text.splitlines(), line
    for name in ("queue_oldest_seconds", "wait_seconds_bucket", "run_seconds_bucket", "workers"):
        assert re.search(f"^pixyz_{name}[ {{]", text, re.MULTILINE), name
    assert not any(uuid in text for uuid in (held, *uuids))
    gate.touch()
    all_well(rest, uuids)


# --- Retries as asked ------------------------------------------------------------------------------------------------


def test_given_retries_of_its_own_when_a_script_fails_twice_then_the_pause_is_told_and_the_third_run_counts(
    rest: RestClient, submit: Submit, book: Book
) -> None:
    """Given `retry_on` and `retries`, when attempts fail, then the next comes at once, the one after it later."""
    uuid = submit("twice", "twice", retry_on=["user_error"], retries=2, queue="free")
    rest.wait_for(uuid, "RETRY")
    told = wait_until(
        lambda: (rest.details(uuid)["waiting"] or {}) if len(rest.details(uuid)["attempts"]) == 2 else None,
        "it pauses after its second attempt",
    )
    assert told["position"] is None
    assert re.fullmatch(r"retried in [12] s", told["reason"])
    details = rest.end(uuid)
    assert (details["status"], details["result"], details["retry"], details["error"]) == ("SUCCESS", 2, 2, None)
    assert [one["failure"] for one in details["attempts"]] == ["user_error", "user_error", None]
    assert {one["queue"] for one in details["attempts"]} == {"free"}
    first, second, third = (entry.time for entry in book.entries())
    assert second - first < third - second
    assert third - second > 0.7


def test_given_no_retries_when_a_process_crashes_then_it_is_not_tried_again(
    rest: RestClient, submit: Submit, book: Book
) -> None:
    """Given `retries` 0, when the ladder would go on, then the job ends."""
    details = rest.end(submit("crashes", "once", retries=0))
    assert (details["status"], len(details["attempts"]), book.begun()) == ("FAILURE", 1, ["once"])


# --- Processes -------------------------------------------------------------------------------------------------------


def test_given_fresh_isolation_when_jobs_run_then_each_has_its_own_process_and_the_warm_ones_stay(
    rest: RestClient, submit: Submit
) -> None:
    """Given something left behind in a warm process, when fresh jobs run, then none sees it, and none is reused."""
    warm = {run(rest, submit, "leaves_module") for _ in range(4)}
    fresh = [run(rest, submit, "finds_module", isolation="fresh") for _ in range(3)]
    assert len({pid for pid, _ in fresh}) == 3
    assert not warm & {pid for pid, _ in fresh}
    assert not any(found for _, found in fresh)
    gone = [pid for pid, _ in fresh]
    wait_until(lambda: not any(map(psutil.pid_exists, gone)), "the fresh processes are gone", deadline_s=SOON_S)
    assert any(psutil.pid_exists(pid) for pid in warm)
    assert run(rest, submit, "main") not in gone


def test_given_a_thread_or_memory_left_behind_when_the_job_has_ended_then_the_next_has_another_process(
    rest: RestClient, submit: Submit
) -> None:
    """Given a thread that goes on, and memory beyond MAX_WORKER_GROWTH, then those processes go."""
    left = [
        run(rest, submit, "leaves_thread"),
        run(rest, submit, "leaks", params={"bytes": MAX_GROWTH + 50 * MIB}),
    ]
    after = [run(rest, submit, "main") for _ in range(4)]
    assert not set(left) & set(after)
    wait_until(lambda: not any(map(psutil.pid_exists, left)), "those processes are gone", deadline_s=SOON_S)


def test_given_a_most_of_tasks_when_more_jobs_run_then_no_process_had_more(
    rest: RestClient, submit: Submit, book: Book
) -> None:
    """Given MAX_TASKS_BEFORE_SHUTDOWN, when three times as many jobs run one by one, then processes are replaced."""
    pids = [run(rest, submit, "main", queue="one") for _ in range(3 * MAX_TASKS)]
    counts = {pid: pids.count(pid) for pid in pids}
    assert max(counts.values()) <= MAX_TASKS, counts
    assert len(counts) >= 3, counts


def test_given_a_token_of_a_submitter_when_a_machine_is_drained_then_only_the_operator_may(
    platform: TestPlatform, rest: RestClient, submit: Submit
) -> None:
    """Given a submitter's token, when it drains a machine, then 403; the operator may, and is told what waits now."""
    name = rest.get("/nodes")["nodes"][0]["name"]
    with RestClient(platform.url, "big") as big:
        assert big.get("/nodes")["nodes"][0]["name"] == name
        for method in ("POST", "DELETE"):
            refused = big.http.request(method, f"/nodes/{name}/drain", params={"deadline": 0})
            assert (refused.status_code, "operator's token" in refused.text) == (403, True), refused.text
    drained = rest.http.post(f"/nodes/{name}/drain").json()
    try:
        assert drained["state"] in ("draining", "drained")
        assert drained["notes"] == [
            f"No machine can run jobs now: all wait until there is one. `pixyz drain {name} --undo` lets jobs begin "
            "there again."
        ]
        uuid = submit("main")
        wait_until(
            lambda: "No machine can run jobs." in str(rest.get("/health")["warnings"]), "health says so", deadline_s=10
        )
        assert "No machine can run jobs." in rest.get(f"/jobs/{uuid}/details")["waiting"]["reason"]
        assert rest.state(uuid)["status"] not in TERMINAL
    finally:
        rest.http.delete(f"/nodes/{name}/drain").raise_for_status()
    assert rest.end(uuid)["status"] == "SUCCESS"
