"""Fetching files over connections that break."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pixyz_ray.client import Client, ServerBusy
from pixyz_worker.exception import PixyzWebError

CONTENT = os.urandom(100_000)


@pytest.fixture
def path(server_kit: Any, peer: Any) -> str:
    """Path of a file that the job made."""
    peer.files["parts/bolt 1.glb"] = CONTENT
    return f"/jobs/{server_kit.UUID}/outputs/parts/bolt 1.glb"


def test_a_file_arrives_whole_with_progress(client: Client, path: str, tmp_path: Path, server_kit: Any) -> None:
    """Given a file, when it is fetched into a folder, then it has its own name there and nothing else is left."""
    seen: list[tuple[int, int | None]] = []
    saved = client.download(
        server_kit.UUID, "parts/bolt 1.glb", tmp_path, lambda done, total: seen.append((done, total))
    )
    assert saved == tmp_path / "bolt 1.glb"
    assert saved.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [file.name for file in tmp_path.iterdir()] == ["bolt 1.glb"]


def test_a_broken_download_is_resumed(client: Client, peer: Any, path: str, tmp_path: Path, server_kit: Any) -> None:
    """Given a connection that breaks twice, when the file is fetched, then only the rest is asked for."""
    peer.cut[path] = [40_000, 30_000]
    saved = client.download(server_kit.UUID, "parts/bolt 1.glb", tmp_path / "new" / "b.glb")
    assert saved.read_bytes() == CONTENT
    ranges = [request.headers.get("range") for request in peer.asked(path)]
    assert ranges == [None, "bytes=40000-", "bytes=70000-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(
    client: Client, peer: Any, path: str, tmp_path: Path, server_kit: Any
) -> None:
    """Given a file that is replaced after a break, when it is resumed, then it is not stitched together."""
    peer.cut[path] = [40_000]

    def replaced(done: int, total: int | None) -> None:
        peer.files["parts/bolt 1.glb"], peer.etag = b"new" * 1000, '"v2"'

    saved = client.download(server_kit.UUID, "parts/bolt 1.glb", tmp_path / "b.glb", replaced)
    assert saved.read_bytes() == b"new" * 1000


def test_a_missing_output_leaves_nothing(client: Client, path: str, tmp_path: Path, server_kit: Any) -> None:
    """Given no such output, when it is fetched, then the server's sentence is the error, and no file is made."""
    with pytest.raises(PixyzWebError, match="no output none") as caught:
        client.download(server_kit.UUID, "none", tmp_path / "none")
    assert caught.value.status_code == 404
    assert not list(tmp_path.iterdir())


def test_an_old_file_survives_a_failure(peer: Any, path: str, tmp_path: Path, server_kit: Any) -> None:
    """Given a file of before, when fetching fails for good, then it is still there."""
    peer.cut[path] = [10] + [0] * 100
    target = tmp_path / "b.glb"
    target.write_text("before")
    with Client(peer.url, server_kit.TOKEN, patience=0.3) as client, pytest.raises(Exception, match="broke"):
        client.download(server_kit.UUID, "parts/bolt 1.glb", target)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]


def test_too_early_is_waited_for(client: Client, peer: Any, tmp_path: Path, server_kit: Any) -> None:
    """Given an archive that is not packed yet, when it is fetched, then it is asked for again as the server says."""
    path = f"/jobs/{server_kit.UUID}/outputs/archive"
    peer.answers[path] = [server_kit.refusal(425, "not packed", **{"Retry-After": "0"})] * 3
    saved = client.download_all(server_kit.UUID, tmp_path)
    assert (saved.name, saved.read_bytes()) == (f"{server_kit.UUID}.zip", peer.archive)
    assert len(peer.asked(path)) == 4


def test_too_early_for_too_long_is_an_error(client: Client, peer: Any, tmp_path: Path, server_kit: Any) -> None:
    """Given an archive that is never packed, when the time is over, then the server's sentence is the error."""
    path = f"/jobs/{server_kit.UUID}/outputs/archive"
    peer.answers[path] = [
        server_kit.refusal(425, "the job is still running", **{"Retry-After": "0.05"}) for _ in range(99)
    ]
    with pytest.raises(ServerBusy, match="still running"):
        client.download_all(server_kit.UUID, tmp_path / "all.zip", timeout=0.2)
