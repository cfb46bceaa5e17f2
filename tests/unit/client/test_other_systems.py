"""The command line and the client where modules and functions of POSIX are missing, as on Windows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixyz_ray.cli.interrupt import interruptible
from pixyz_ray.client import Client, FileNotWritten, find_address
from pixyz_ray.client.form import Upload
from pixyz_ray.client.local_name import local_name

WITHOUT_POSIX = """
import builtins, os, sys

MISSING = {"fcntl", "resource", "termios", "pwd", "grp", "pty", "tty"}
load = builtins.__import__


def without_posix(name, namespace=None, *rest, **more):
    # The standard library chooses by sys.platform, and may load what belongs to this system.
    if name in MISSING and (namespace or {}).get("__name__", "").startswith("pixyz"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return load(name, namespace, *rest, **more)


builtins.__import__ = without_posix
for name in ("fork", "forkpty", "getuid", "geteuid", "memfd_create", "sched_getaffinity", "killpg", "chown"):
    delattr(os, name)
"""
PROGRAM = WITHOUT_POSIX + "from pixyz_ray.cli import main\nmain()\n"
CLIENT = (
    WITHOUT_POSIX
    + """
from pixyz_ray.client import Client

with Client() as client:
    job = client.submit("s.py", input_file="s.py", params=[1])
    assert [event.status for event in job.events()] == ["SUCCESS"]
    assert job.result(timeout=5) is None
    assert job.outputs() == ["metadata.json", "output.glb"]
    print(job.download("output.glb").read_text(), job.notes(), len(list(client.all_jobs())))
"""
)


@pytest.fixture
def environment(peer: Any, server_kit: Any, tmp_path: Path) -> dict[str, str]:
    """Variables of a process that talks to the peer."""
    (tmp_path / "s.py").write_text("def main(pc, params): ...")
    peer.files = {"output.glb": b"glTF", "metadata.json": b"{}"}
    peer.parameters = [{"name": "t", "type": "number", "default": 1, "doc": "seconds"}]
    peer.graphs = [{"uuid": server_kit.UUID, "state": "SUCCESS", "nodes": [], "edges": []}]
    return {**os.environ, "PIXYZ_URL": peer.url, "PIXYZ_TOKEN": server_kit.TOKEN, "PYTHONUTF8": "1"}


def python(code: str, *arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=60)


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "version",
        "list",
        "doc -n sleep --text",
        "exec --help",
        "exec -s s.py -i s.py -rw --logs",
        "process -n sleep -bw",
        "metadata -i s.py -o m.json",
        "jobs",
        "status -j ID -w",
        "details -j ID",
        "logs -j ID -f",
        "cancel -j ID",
        "graph -j ID -f json",
        "outputs -j ID",
        "download -j ID -f output.glb -o new/b.glb",
        "download_all -j ID -o all.zip",
        "completion bash",
    ],
)
def test_given_no_posix_when_a_command_is_run_then_it_works(
    environment: dict[str, str], server_kit: Any, tmp_path: Path, line: str
) -> None:
    """Each command that talks to a platform."""
    words = line.replace("ID", server_kit.UUID).split()
    done = python(PROGRAM, *words, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr.replace("Saved", "")) == (0, ""), done.stderr


def test_given_no_posix_when_the_client_is_used_then_it_works(environment: dict[str, str], tmp_path: Path) -> None:
    """Submit, follow, fetch, list."""
    done = python(CLIENT, env=environment, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("glTF [] 1\n", "")


# --- Names of files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bolt 1.glb", "bolt 1.glb"),
        ("größe.png", "größe.png"),
        ("a:b.png", "a_b.png"),
        ("..\\..\\evil.exe", ".._.._evil.exe"),
        ("C:\\x", "C__x"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("console.txt", "console.txt"),
        ("end.", "end_"),
        ("..", "._"),
        ("what?*", "what__"),
    ],
)
def test_given_an_output_when_its_name_is_not_one_of_windows_then_it_becomes_one(name: str, expected: str) -> None:
    """A script on Linux may name its outputs by characters that mean something else on Windows."""
    assert local_name(name, windows=True) == expected
    assert local_name(name, windows=False) == name


@given(st.text(min_size=1))
def test_given_any_name_when_made_local_then_it_stays_in_its_folder(name: str) -> None:
    """One component, no drive, no stream, no way up; and doing it again changes nothing."""
    local = local_name(name, windows=True)
    assert not set(local) & set('<>:"/\\|?*')
    assert local not in {"", ".", ".."}
    assert local_name(local, windows=True) == local


@pytest.mark.skipif(os.name == "nt", reason="a backslash separates components there anyway")
def test_given_a_path_with_backslashes_when_sent_then_the_last_component_is_its_name(tmp_path: Path) -> None:
    """On POSIX it is one long name, as a tool on Windows writes it into an archive; the server may run on either."""
    path = tmp_path / "C:\\parts\\bolt.step"
    path.write_bytes(b"x")
    assert Upload.of(path, "input").filename == "bolt.step"
    assert Upload.of(str(path), "input").filename == "bolt.step"
    (tmp_path / "odd\\").write_bytes(b"x")
    assert Upload.of(tmp_path / "odd\\", "input").filename == "odd"


# --- Files that others hold, and files that cannot be written --------------------------------------------------------


def test_given_a_target_that_is_held_open_when_downloaded_then_it_waits_a_little(
    client: Client, peer: Any, server_kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to replace an open file; a virus scanner closes it soon, a viewer does not."""
    peer.files["a.glb"] = b"glTF"
    replace, refusals = Path.replace, [3]

    def held(self: Path, target: Path) -> Path:
        refusals[0] -= 1
        if refusals[0] >= 0:
            raise PermissionError(13, "The process cannot access the file", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", held)
    assert client.download(server_kit.UUID, "a.glb", tmp_path / "a.glb").read_bytes() == b"glTF"
    refusals[0] = 1_000_000
    monkeypatch.setattr("pixyz_ray.client.download._HELD_OPEN_S", 0.2)
    (tmp_path / "a.glb").write_bytes(b"old")
    with pytest.raises(FileNotWritten, match="another program has it open"):
        client.download(server_kit.UUID, "a.glb", tmp_path / "a.glb")
    assert [(file.name, file.read_bytes()) for file in tmp_path.glob("*.*")] == [("a.glb", b"old")]


def test_given_a_target_that_cannot_be_written_when_downloaded_then_a_sentence_names_it(
    environment: dict[str, str], server_kit: Any, tmp_path: Path
) -> None:
    """A file where a folder should be: exit code 2, no traceback."""
    words = ["download", "-j", server_kit.UUID, "-f", "output.glb", "-o", "s.py/x.glb"]
    done = python("from pixyz_ray.cli import main; main()", *words, env=environment, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert str(Path("s.py", "x.glb")) in done.stderr
    words = ["graph", "-j", server_kit.UUID, "-f", "json", "-o", "none/x.json"]
    done = python("from pixyz_ray.cli import main; main()", *words, env=environment, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


# --- The configuration file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "place"),
    [
        ("linux", ".config/pixyz"),
        ("win32", ".config/pixyz"),
        ("win32", "AppData/Roaming/pixyz"),
        ("darwin", ".config/pixyz"),
        ("darwin", "Library/Application Support/pixyz"),
    ],
)
def test_given_a_system_when_the_configuration_is_looked_up_then_it_is_where_that_system_has_it(
    platform: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~/.config` works everywhere, and comes first."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path / "AppData" / "Roaming"))
    monkeypatch.setattr(sys, "platform", platform)
    assert find_address().source == "default"
    file = tmp_path / place / "client.toml"
    file.parent.mkdir(parents=True)
    file.write_text('url = "https://pixyz.example.org"\ntoken = "t"\n', encoding="utf-8")
    address = find_address()
    assert (address.url, address.token, address.source) == ("https://pixyz.example.org", "t", str(file))


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


def test_given_an_iterator_when_read_by_a_thread_then_items_and_errors_are_the_same() -> None:
    """The order is kept, and an error is raised where it would have been."""

    def items() -> Iterator[int]:
        yield from range(500)
        raise ValueError("broken")

    seen = []
    with pytest.raises(ValueError, match="broken"):
        for item in interruptible(items(), threaded=True):
            seen.append(item)
    assert seen == list(range(500))
    assert list(interruptible(iter("abc"), threaded=True)) == ["a", "b", "c"]


def test_given_a_read_that_blocks_when_interrupted_then_it_ends_at_once() -> None:
    """The main thread is never inside the read, so that Python can raise KeyboardInterrupt between two looks."""
    import _thread

    released = threading.Event()

    def silent() -> Iterator[int]:
        yield 1
        released.wait(60)

    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in interruptible(silent(), threaded=True):
                _thread.interrupt_main()
        assert time.monotonic() - began < 10
    finally:
        released.set()
