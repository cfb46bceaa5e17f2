"""Old scripts on the platform: what they import does there what it did."""

from __future__ import annotations

from tests.rest_client import RestClient

NAMES = """
from pathlib import Path

from celery import current_app, shared_task
from celery.utils.log import get_task_logger
from pixyz_worker import config, share
from pixyz_worker.extcode import SignalSafeExecution
from pixyz_worker.script import *

logger = get_task_logger("old.script")

@shared_task(queue="cpu")
def add(x, y):
    return x + y

def main(pc, params):
    logger.info("a line of the logger")
    job = Path(pc.get_output_dir()).parent
    (job / "outputs" / "a.txt").write_text("A")
    return {
        "sum": add.delay(40, 2).get(timeout=20),
        "share": config.share_dir == str(job.parent),
        "processes": Path(config.process_path, "sleep.py").is_file(),
        "outputs": share.get_job_output_dir_content(job.name),
        "child": SignalSafeExecution.run(lambda pc: pc["n"] + 1, pc.clone(n=1), time_limit=20),
        "app": current_app.main,
    }
"""

SOFT_LIMIT = """
import time
from celery.exceptions import SoftTimeLimitExceeded

def main(pc, params):
    while True:
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            print("tidied up", flush=True)
            raise
        except Exception:
            print("held up", flush=True)
"""


def test_given_names_of_old_scripts_when_used_in_a_job_then_they_work(rest: RestClient) -> None:
    """Given a job, when it uses tasks, share, child processes and loggers, then each gives what it should."""
    details = rest.run(NAMES, deadline_s=60)
    assert details["status"] == "SUCCESS", details
    assert details["result"] == {
        "sum": 42,
        "share": True,
        "processes": True,
        "outputs": ["a.txt"],
        "child": 2,
        "app": "pixyz_worker",
    }
    lines = [line for line in rest.log(details["uuid"]).splitlines() if "a line of the logger" in line]
    assert len(lines) == 1
    assert "INFO/old.script]" in lines[0]


def test_given_a_script_that_catches_the_soft_time_limit_when_it_is_reached_then_it_tidies_up(rest: RestClient) -> None:
    """Given a time limit, when it ends a script, then the script catches that by Celery's name, on both attempts."""
    details = rest.run(SOFT_LIMIT, config={"time_limit": 1, "queue": "control"}, deadline_s=30)
    assert [attempt["failure"] for attempt in details["attempts"]] == ["timeout", "timeout"]
    log = rest.log(details["uuid"])
    assert log.count("tidied up") == 2
    assert "held up" not in log
