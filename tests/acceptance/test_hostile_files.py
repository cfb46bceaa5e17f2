"""Scripts that replace their own files by links and FIFOs, or that are made to hurt their reader: others go on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.scripts import NOTHING, WAIT_AT_GATE
from tests.platforms import TestPlatform
from tests.rest_client import RestClient
from tests.waiting import wait_until

HOSTILE = (
    WAIT_AT_GATE
    + """
import shutil

def main(pc, params):
    job = Path(pc.get_output_dir()).parent
    print("before", flush=True)
    if params["kind"] == "fifo":
        os.rename(job / "job.log", job / "kept.log")
        os.mkfifo(job / "job.log")
    elif params["kind"] == "outputs":
        shutil.rmtree(pc.get_output_dir())
        Path(job, "outputs").symlink_to(params["target"])
        Path(job, "archives").symlink_to(params["target"])
    else:
        Path(pc.get_output_dir("a.txt")).symlink_to(params["target"] + "/secret.txt")
        os.mkfifo(pc.get_output_dir("fifo"))
        Path(pc.get_output_dir("real.txt")).write_text("real")
    wait_at(params["gate"])
"""
)
QUICKLY_S = 2.0


def test_given_a_fifo_in_place_of_the_log_when_it_is_asked_for_then_each_answer_comes_at_once(
    rest: RestClient, gate: Path
) -> None:
    """Nobody ever writes to it."""
    uuid = rest.submit(HOSTILE, params={"kind": "fifo", "gate": str(gate)})
    rest.wait_for(uuid, "RUNNING")
    began = time.monotonic()
    wait_until(lambda: rest.log(uuid) == "", "the log is a FIFO")
    for _ in range(20):
        assert rest.log(uuid) == ""
        rest.state(uuid)
    with rest.stream(uuid) as answer:
        assert next(answer.iter_lines()).startswith("id:")
    assert rest.http.get("/health").status_code == 200
    assert time.monotonic() - began < QUICKLY_S * 2
    gate.touch()
    assert rest.end(uuid)["status"] == "SUCCESS"
    assert "log" not in {event.event for event in rest.events(uuid)}


def test_given_links_in_place_of_folders_when_outputs_are_fetched_then_nothing_of_another_folder_comes(
    rest: RestClient, gate: Path, tmp_path: Path
) -> None:
    """Neither listed, nor fetched, nor packed; and nothing is written there."""
    gate.touch()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "secret.txt").write_text("secret")
    uuid = rest.submit(HOSTILE, params={"kind": "outputs", "gate": str(gate), "target": str(target)})
    rest.end(uuid)
    assert rest.get(f"/jobs/{uuid}/outputs") == {"outputs": []}
    assert rest.http.get(f"/jobs/{uuid}/outputs/secret.txt").status_code == 404
    assert rest.http.get(f"/jobs/{uuid}/outputs/archive").status_code >= 400
    assert [path.name for path in target.iterdir()] == ["secret.txt"]


def test_given_links_and_fifos_among_outputs_when_fetched_then_only_real_files_come(
    rest: RestClient, gate: Path, tmp_path: Path
) -> None:
    """A link that leads out is refused, and a FIFO is no file."""
    gate.touch()
    (tmp_path / "secret.txt").write_text("secret")
    uuid = rest.submit(HOSTILE, params={"kind": "files", "gate": str(gate), "target": str(tmp_path)})
    rest.end(uuid)
    assert rest.get(f"/jobs/{uuid}/outputs") == {"outputs": ["real.txt"]}
    assert rest.http.get(f"/jobs/{uuid}/outputs/a.txt").status_code == 400
    assert rest.http.get(f"/jobs/{uuid}/outputs/fifo").status_code == 404
    answer = rest.http.get(f"/jobs/{uuid}/outputs/real.txt", headers={"Range": "bytes=1-2"})
    assert (answer.status_code, answer.text) == (206, "ea")


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (b"x=1\n" * (3 << 18), 413),
        (b"(" * 500_000, 400),
        (b"x=" + b"1+" * 250_000 + b"1\n", 400),
        (b"x=" + b"-" * 500_000 + b"1\n", 400),
    ],
    ids=["3 MiB of lines", "parentheses", "a long sum", "signs"],
)
def test_given_a_script_made_to_hurt_its_reader_when_submitted_then_it_is_refused_and_others_are_served(
    rest: RestClient, platform: TestPlatform, script: bytes, status: int
) -> None:
    """The next job runs as ever."""
    answer = rest.post(script)
    assert answer.status_code == status, answer.text
    assert len(answer.json()["detail"]["details"]) < 300
    began = time.monotonic()
    assert rest.get("/health")["ready"]
    rest.submit(NOTHING)
    assert time.monotonic() - began < QUICKLY_S
