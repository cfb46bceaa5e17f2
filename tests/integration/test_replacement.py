"""A platform on one machine that is replaced, and stopped, while jobs run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.platforms import TestPlatform

pytestmark = pytest.mark.slow

SCRIPT = """
import time
from pathlib import Path

def main(pc, params):
    book = Path(params["book"])
    book.write_text(book.read_text() + "x" if book.exists() else "x")
    time.sleep(params["seconds"] if book.read_text() == "x" else 0)
    return len(book.read_text())
"""


def test_given_running_jobs_when_replaced_and_stopped_then_they_have_their_time_and_none_is_lost(
    platform: TestPlatform, tmp_path: Path
) -> None:
    """Given a short and a long job, when the platform is replaced, then the long one alone is run again.

    The port, which is not given again, stays.
    """
    with platform.client() as rest:
        short, long = (
            rest.submit(SCRIPT, params={"seconds": seconds, "book": str(tmp_path / str(seconds))})
            for seconds in (2, 60)
        )
        for uuid in (short, long):
            rest.wait_for(uuid, "RUNNING")
    done = platform.cli("up", "--detach", "--replace", "--drain", "4", timeout_s=150)
    assert done.returncode == 0, done.stderr
    platform.sessions.append(platform.record.session)
    assert "Waiting for " in done.stdout
    with platform.client() as rest:
        assert [rest.end(uuid)["result"] for uuid in (short, long)] == [1, 2]
        first, second = rest.details(long)["attempts"]
        assert (first["failure"], second["failure"]) == ("node_lost", None)
        assert "was upgraded while the attempt ran" in first["error"]
        last = rest.submit(SCRIPT, params={"seconds": 2, "book": str(tmp_path / "last")})
        rest.wait_for(last, "RUNNING")

    done = platform.cli("down", "--drain", "30", timeout_s=60)
    assert "Waiting for 1 running job, " in done.stdout
    platform.up()
    with platform.client() as rest:
        assert rest.end(last)["result"] == 1
