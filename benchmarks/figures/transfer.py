"""A large file up and down: rate, memory of the replica, and whether it arrives whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

from benchmarks.goals import Result, compare
from benchmarks.load import LARGE_FILE, Connection, Form, Refused, wait_for_success
from benchmarks.sides import Sides, in_turn
from pixyz_ray.reaper import marked

_SCRIPT = b"""import hashlib
import os


def main(pc, params):
    path = pc["input_file"]
    os.link(path, os.path.join(pc["output_dir"], "large.bin"))
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": os.path.getsize(path), "sha256": digest}
"""
_MB_PER_S = "{:.0f} MB/s"
_RANGE = (12_345, 1_234_567)


def transfer(sides: Sides) -> list[Result]:
    """Send and fetch the same file with the same client."""
    large = sides.folder / LARGE_FILE
    digest = _make_file(large, sides.scale.transfer_bytes)
    form, bare_form = Form(script=_SCRIPT, file=large), Form(file=large)
    megabytes = sides.scale.transfer_bytes / 1e6
    jobs: list[str] = []
    with sides.ours.connect() as ours, sides.plain.connect() as plain:

        def upload() -> float:
            _remove(sides, jobs)
            began = time.perf_counter()
            jobs.append(ours.post("/jobs", form)["uuid"])
            seconds = time.perf_counter() - began
            wait_for_success(ours, jobs[-1])
            return megabytes / seconds

        def upload_plain() -> float:
            began = time.perf_counter()
            plain.post("/files", bare_form)
            return megabytes / (time.perf_counter() - began)

        upload_rates = in_turn(sides.scale.transfers, upload, upload_plain)
        path = f"/jobs/{jobs[-1]}/outputs/{LARGE_FILE}"
        download_rates = in_turn(
            sides.scale.transfers,
            lambda: megabytes / _download(ours, path),
            lambda: megabytes / _download(plain, "/file"),
        )
        whole = _is_whole(ours, jobs[-1], path, digest, large)
    peak = _peak_rss_mb(sides.ours.running.session)
    _remove(sides, jobs)
    large.unlink()
    return [
        compare("upload", *upload_rates, _MB_PER_S),
        compare("download", *download_rates, _MB_PER_S),
        Result(key="transfer-memory", ours=f"{peak:.0f} MB", values=(peak,)),
        Result(key="transfer-whole", ours="yes" if whole else "no", values=(float(whole),)),
    ]


def _make_file(path: Path, size: int) -> str:
    """Write random bytes and return their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size >> 20):
            piece = os.urandom(1 << 20)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _download(connection: Connection, path: str) -> float:
    began = time.perf_counter()
    connection.discard(connection.request("GET", path))
    return time.perf_counter() - began


def _is_whole(connection: Connection, uuid: str, path: str, digest: str, large: Path) -> bool:
    """Return whether the script got the file, whether it comes back, and whether a part of it does."""
    result = connection.get_json(f"/jobs/{uuid}/details")["result"]
    fetched = hashlib.sha256()
    for piece in connection.stream(connection.request("GET", path)):
        fetched.update(piece)
    first, last = _RANGE
    headers = connection.request("GET", path, f"Range: bytes={first}-{last}\r\n")
    part = b"".join(connection.stream(headers))
    with large.open("rb") as file:
        file.seek(first)
        wanted = file.read(last - first + 1)
    whole = result == {"size": large.stat().st_size, "sha256": digest} and fetched.hexdigest() == digest
    return whole and headers["status"] == "206" and part == wanted


def _remove(sides: Sides, uuids: list[str]) -> None:
    """Give the disk back."""
    for uuid in uuids:
        shutil.rmtree(sides.ours.share / uuid, ignore_errors=True)


def _peak_rss_mb(session: str) -> float:
    """Return the highest resident memory that the replica ever had, as the kernel kept it."""
    for process in marked(session):
        if "ServeReplica" in " ".join(process.cmdline()):
            status = Path(f"/proc/{process.pid}/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024 / 1e6
    raise Refused("the platform has no replica")
