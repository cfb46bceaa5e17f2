"""What jobs leave, as a client of the REST contract sees it: the list of jobs, their outputs, their archive."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from urllib.parse import quote

from tests.acceptance.scripts import ECHO, GATED, NOTHING
from tests.rest_client import STATUSES, RestClient
from tests.waiting import wait_until

ITEM_KEYS = {"uuid", "name", "status", "progress", "error", "label", "process", "script"}

# --- Listing ---------------------------------------------------------------------------------------------------------


def test_given_jobs_when_listed_then_newest_first_and_page_by_page(rest: RestClient) -> None:
    """`limit` and `after` walk through all of them, each once."""
    ours = [rest.submit(NOTHING) for _ in range(5)][::-1]
    assert [job["uuid"] for job in rest.get("/jobs", params={"limit": 5})["jobs"]] == ours
    seen, after = [], None
    while len(seen) < 5:
        page = rest.get("/jobs", params={"limit": 2} | ({"after": after} if after else {}))
        assert all(job.keys() == ITEM_KEYS for job in page["jobs"])
        seen += [job["uuid"] for job in page["jobs"]]
        after = page["next"]
    assert seen[:5] == ours


def test_all_jobs(rest: RestClient) -> None:
    """Given more jobs than a page has, when listed without a limit, then all of them are there, each once."""
    first = rest.submit(NOTHING, name="first")
    for _ in range(110):
        rest.submit(NOTHING)
    answer = rest.get("/jobs")
    assert answer.keys() == {"jobs", "next"} and answer["next"] is None
    uuids = [job["uuid"] for job in answer["jobs"]]
    assert len(uuids) == len(set(uuids)) >= 111
    assert uuids[110] == first
    item = answer["jobs"][110]
    assert item.keys() == ITEM_KEYS
    assert (item["name"], item["label"], item["process"], item["script"]) == ("first", "first", "custom", "job.py")
    assert (answer["jobs"][0]["name"], answer["jobs"][0]["label"]) == (None, "job.py")
    for uuid in uuids[:111]:
        rest.end(uuid)
    ended = {job["uuid"] for job in rest.get("/jobs", params={"status": "SUCCESS"})["jobs"]}
    assert ended >= set(uuids[:111])
    assert rest.get("/jobs", params={"after": uuids[109]})["jobs"][0]["uuid"] == first


def test_given_jobs_in_several_states_when_filtered_then_only_that_state_is_listed(
    rest: RestClient, gate: Path
) -> None:
    """What is listed under a status has that status."""
    running = rest.submit(GATED, params={"gate": str(gate)})
    rest.wait_for(running, "RUNNING")
    failed = rest.run("def main(pc, params):\n    1 / 0\n")["uuid"]

    def listed(status: str) -> list[str]:
        jobs = rest.get("/jobs", params={"status": status})["jobs"]
        assert {job["status"] for job in jobs} <= {status}
        return [job["uuid"] for job in jobs]

    wait_until(lambda: running in listed("RUNNING"), "the running job is listed as such")
    assert failed in listed("FAILURE")
    assert running not in listed("SUCCESS")
    for status in sorted(STATUSES):
        listed(status)


def test_given_an_unknown_id_when_listing_after_it_then_nothing_is_listed(rest: RestClient) -> None:
    """The end of the list is never mistaken for its beginning."""
    after = "00000000-0000-4000-8000-000000000000"
    assert rest.get("/jobs", params={"after": after}) == {"jobs": [], "next": None}


# --- Outputs ---------------------------------------------------------------------------------------------------------


def test_given_outputs_when_asked_then_they_are_listed_and_can_be_fetched(rest: RestClient, finished: str) -> None:
    """Relative paths; each file whole, as octets, with its length."""
    assert rest.get(f"/jobs/{finished}/outputs") == {"outputs": ["a.txt", "deep/b c.txt"]}
    answer = rest.http.get(f"/jobs/{finished}/outputs/deep/b c.txt")
    assert answer.status_code == 200
    assert answer.content == b"B" * 9
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == "9"
    assert answer.headers["content-disposition"] == 'attachment; filename="b c.txt"'


def test_given_an_output_when_a_range_is_asked_then_206_and_that_part(rest: RestClient, finished: str) -> None:
    """A download that broke goes on where it stopped."""
    answer = rest.http.get(f"/jobs/{finished}/outputs/deep/b c.txt", headers={"Range": "bytes=3-5"})
    assert (answer.status_code, answer.content) == (206, b"BBB")
    assert answer.headers["content-range"] == "bytes 3-5/9"
    assert answer.headers["content-disposition"] == 'attachment; filename="b c.txt"'


def test_given_outputs_when_the_archive_is_asked_then_it_is_a_zip_of_them(rest: RestClient, finished: str) -> None:
    """The same names and contents, in a file with the job's name."""
    wait_until(lambda: _archive(rest, finished), "the archive is packed")
    head = rest.http.get(f"/jobs/{finished}/outputs/archive").headers["content-disposition"]
    assert head == f'attachment; filename="{finished}.zip"'
    answer = wait_until(lambda: _archive(rest, finished), "the archive is packed")
    with zipfile.ZipFile(io.BytesIO(answer)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.txt": b"A", "deep/b c.txt": b"B" * 9}


def test_given_a_running_job_when_its_archive_is_asked_then_425_until_it_is_done(rest: RestClient, gate: Path) -> None:
    """Too early, and the answer says when to ask again; a job without outputs has an empty archive."""
    uuid = rest.submit(GATED, params={"gate": str(gate)})
    answer = rest.http.get(f"/jobs/{uuid}/outputs/archive")
    assert answer.status_code == 425
    assert answer.json()["detail"]["code"] == 425
    assert int(answer.headers["retry-after"]) >= 1
    gate.touch()
    rest.end(uuid)
    packed = wait_until(lambda: _archive(rest, uuid), "the archive is packed")
    assert zipfile.ZipFile(io.BytesIO(packed)).namelist() == []


def test_given_a_link_out_of_the_outputs_when_asked_then_it_is_not_served(rest: RestClient) -> None:
    """A script cannot publish the server's files, not even its own tracks."""
    uuid = rest.run("import os\ndef main(pc, params):\n    os.symlink('/etc/hostname', pc.get_output_dir('link'))\n")[
        "uuid"
    ]
    assert rest.get(f"/jobs/{uuid}/outputs")["outputs"] == []
    assert rest.http.get(f"/jobs/{uuid}/outputs/link").status_code == 400


def test_given_outputs_with_odd_names_and_dates_when_asked_then_they_are_listed_and_packed(rest: RestClient) -> None:
    """Names that are not UTF-8, dates before 1980, links in the folder, empty files."""
    script = (
        "import os\ndef main(pc, params):\n    os.chdir(pc.get_output_dir())\n"
        "    open(b'not \\xff utf-8', 'w').close()\n    open('old', 'w').close(); os.utime('old', (0, 0))\n"
        "    os.symlink('old', 'link'); os.symlink('nowhere', 'broken'); os.mkdir('empty')\n"
        "    open('q?#%25 &.txt', 'w').write('odd')\n"
        "    open('Stück \\r\\n\"1\".txt', 'w').write('odd')\n"
    )
    details = rest.run(script)
    assert details["status"] == "SUCCESS", details["error"]
    uuid = details["uuid"]
    assert rest.get(f"/jobs/{uuid}/outputs")["outputs"] == [
        'Stück \r\n"1".txt',
        "link",
        "not \udcff utf-8",
        "old",
        "q?#%25 &.txt",
    ]
    odd = 'Stück \r\n"1".txt'
    named = rest.http.get(f"/jobs/{uuid}/outputs/{quote(odd)}")
    expected = "attachment; filename=\"St_ck ___1_.txt\"; filename*=UTF-8''St%C3%BCck%20%0D%0A%221%22.txt"
    assert (named.status_code, named.headers["content-disposition"]) == (200, expected)
    assert rest.http.get(f"/jobs/{uuid}/outputs/{quote('q?#%25 &.txt')}").content == b"odd"
    packed = wait_until(lambda: _archive(rest, uuid), "the archive is packed")
    assert len(zipfile.ZipFile(io.BytesIO(packed)).namelist()) == 5


def _archive(rest: RestClient, uuid: str) -> bytes | None:
    answer = rest.http.get(f"/jobs/{uuid}/outputs/archive")
    assert answer.status_code in (200, 425), answer.text
    return answer.content if answer.status_code == 200 else None


def test_given_many_submissions_when_params_echo_then_nobody_gets_anothers(rest: RestClient) -> None:
    """One worker serves many jobs; nothing of one is left for the next."""
    uuids = [rest.submit(ECHO, params={"n": n}) for n in range(20)]
    assert [rest.end(uuid)["result"] for uuid in uuids] == [{"n": n} for n in range(20)]
