"""A platform on one machine that is replaced, and stopped, while jobs run."""

from __future__ import annotations

import pytest

from tests.platforms import TestPlatform

pytestmark = pytest.mark.slow

SCRIPT = """
import time

def main(pc, params):
    time.sleep(params["seconds"] if pc["retry"] == 0 else 0)
    return pc["retry"]
"""


def test_given_running_jobs_when_replaced_and_stopped_then_they_have_their_time_and_none_is_lost(
    platform: TestPlatform,
) -> None:
    """Given a short and a long job, when the platform is replaced, then the long one alone is run again."""
    with platform.client() as rest:
        short, long = (rest.submit(SCRIPT, params={"seconds": seconds}) for seconds in (2, 60))
        for uuid in (short, long):
            rest.wait_for(uuid, "RUNNING")
    done = platform.cli("up", "--detach", "--port", str(platform.port), "--replace", "--drain", "4", timeout_s=150)
    assert done.returncode == 0, done.stderr
    platform.sessions.append(platform.record.session)
    assert "Waiting for " in done.stdout
    with platform.client() as rest:
        assert [rest.end(uuid)["result"] for uuid in (short, long)] == [0, 1]
        first, second = rest.details(long)["attempts"]
        assert (first["failure"], second["failure"]) == ("node_lost", None)
        assert "was upgraded while the attempt ran" in first["error"]
        last = rest.submit(SCRIPT, params={"seconds": 2})
        rest.wait_for(last, "RUNNING")

    done = platform.cli("down", "--drain", "30", timeout_s=60)
    assert "Waiting for 1 running job, " in done.stdout
    platform.up()
    with platform.client() as rest:
        assert rest.end(last)["result"] == 0
