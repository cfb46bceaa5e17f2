"""Files that strangers send: each bad one ends its own job with a sentence, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.malformed import cases
from tests.rest_client import RestClient
from tests.unit.kernel import good_files

BOUND_S, BOUND_BYTES = 30.0, 2 << 30
"""What reading a bad file may take at most: seconds, and bytes of all processes of its job."""
LEAST = 200
AT_ONCE = 12


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A file that can be read, by extension."""
    return good_files.make(tmp_path_factory.mktemp("good"))


def _convert(rest: RestClient, name: str, content: bytes) -> dict[str, Any]:
    params = {"extension": "glb", "quality": "low"}
    return rest.run(process="convert_file", file=(name, content), params=params, deadline_s=120)


def test_given_bad_files_when_they_are_converted_then_each_job_fails_with_a_sentence_and_workers_live_on(
    rest: RestClient, good: dict[str, bytes]
) -> None:
    """Given hundreds of bad files, when each is a job, then it fails with a sentence in bounded time and memory.

    And the workers that met them are the ones that convert good files afterwards.
    """
    table = list(cases(good))
    assert len(table) >= LEAST
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = list(pool.map(lambda case: _convert(rest, case[1], case[2]), table))
    faults = [
        f"{case[0]}: {fault}" for case, details in zip(table, ended, strict=True) if (fault := _fault(case, details))
    ]
    assert not faults, "\n".join([f"{len(faults)} of {len(table)}", *faults])

    workers = {details["attempts"][0]["pid"] for details in ended}
    assert [pid for pid in workers if not psutil.pid_exists(pid)] == []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        again = list(pool.map(lambda _: _convert(rest, "good.glb", good["glb"]), range(3 * len(workers))))
    assert {details["status"] for details in again} == {"SUCCESS"}
    assert workers & {details["attempts"][0]["pid"] for details in again}


def _fault(case: tuple[str, str, bytes], details: dict[str, Any]) -> str | None:
    """What is wrong with the end of a job whose input is bad; None when it is as it should be."""
    if details["status"] != "FAILURE":
        return f"ended {details['status']} with {details['result']}"
    attempts = details["attempts"]
    if [attempt["failure"] for attempt in attempts] != ["bad_input"]:
        return f"has attempts that ended {[attempt['failure'] for attempt in attempts]}: {details['error'][-300:]}"
    last = details["error"].strip().splitlines()[-1]
    _, _, sentence = last.partition(": ")
    if not sentence.endswith(".") or len(last) > 900:
        return f"says {last!r}"
    if attempts[0]["peak_rss"] > BOUND_BYTES:
        return f"took {attempts[0]['peak_rss']} bytes"
    began, ended = (datetime.fromisoformat(attempts[0][key]).timestamp() for key in ("started", "stopped"))
    return f"took {ended - began} s" if ended - began > BOUND_S else None


def test_given_each_good_file_when_it_is_converted_then_it_works(rest: RestClient, good: dict[str, bytes]) -> None:
    """Given the files that the bad ones were made from, when they are converted, then each job succeeds."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = dict(zip(good, pool.map(lambda kind: _convert(rest, f"good.{kind}", good[kind]), good), strict=True))
    assert {kind: details["error"] for kind, details in ended.items() if details["status"] != "SUCCESS"} == {}


def test_given_a_folder_of_the_tests_then_nothing_was_written_outside(good: dict[str, bytes]) -> None:
    """Given archives that name files elsewhere, when they were unpacked, then those files are not there."""
    assert not Path("/tmp/model.stl").exists()
