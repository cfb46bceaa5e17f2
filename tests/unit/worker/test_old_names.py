"""What old scripts import from pixyz_worker does what it says: job files, downloads, storage, child processes, logs."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import struct
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pixyz_worker
from pixyz_worker import config, extcode, job_files, share, storage
from pixyz_worker.download import download_file
from pixyz_worker.exception import (
    InternalError,
    InvalidBackendParameter,
    NotAvailable,
    PixyzException,
    PixyzExceptionUnpickleableExceptionWrapper,
    PixyzExitFault,
    PixyzFileNotFound,
    PixyzSecurityViolation,
    PixyzSignalFault,
    PixyzTimeout,
    PixyzWebError,
    SharePathInvalidError,
    SharePathNotFoundError,
)
from pixyz_worker.extcode import ExternalPythonCode, SignalSafeExecution
from pixyz_worker.logger import get_logger
from pixyz_worker.pc import ProgramContext
from pixyz_worker.progress import Progress

Run = Callable[..., "subprocess.CompletedProcess[str]"]
JOB = "0123abcd-0000-4000-8000-0123456789ab"
TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture
def share_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A share with one job, whose second attempt has begun."""
    monkeypatch.setenv("SHARE_PATH", str(tmp_path / "share"))
    for name in ("inputs", "outputs", ".outputs-2"):
        (tmp_path / "share" / JOB / name).mkdir(parents=True)
    (tmp_path / "share" / JOB / ".outputs-2" / "out.txt").write_text("second", encoding="utf-8")
    return tmp_path / "share"


class TestConfig:
    def test_given_the_environment_when_read_then_it_is_what_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Read each time, not when imported."""
        monkeypatch.setenv("PIXYZ_HOME", "/somewhere")
        monkeypatch.delenv("SHARE_PATH", raising=False)
        assert config.share_dir == "/somewhere/share"
        monkeypatch.setenv("SHARE_PATH", "/a/share")
        monkeypatch.setenv("PIXYZ_TIME_LIMIT", "many")
        assert config.share_dir == pixyz_worker.share_dir == "/a/share"
        with pytest.raises(InvalidBackendParameter, match="PIXYZ_TIME_LIMIT"):
            _ = config.time_limit
        assert Path(config.process_path, "sleep.py").is_file()
        for name in dir(config):
            assert name == "time_limit" or hasattr(config, name)
        with pytest.raises(AttributeError, match="CONCURRENT_TASKS"):
            _ = config.concurrency

    def test_given_a_running_job_without_share_path_when_read_then_it_is_where_the_job_lies(
        self, share_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Workers whose settings are in a file."""
        monkeypatch.delenv("SHARE_PATH")
        monkeypatch.setenv("PIXYZ_ATTEMPT", f"{JOB}/1")
        monkeypatch.chdir(share_folder / JOB / "inputs")
        assert config.share_dir == str(share_folder)


class TestJobFiles:
    def test_given_a_job_when_its_folders_are_asked_for_then_outputs_are_those_of_the_last_attempt(
        self, share_folder: Path
    ) -> None:
        """By id, as other jobs see them."""
        assert share.get_job_output_dir(JOB) == str(share_folder / JOB / ".outputs-2")
        assert share.get_job_output_dir_content(JOB) == ["out.txt"]
        assert Path(share.get_job_output_file_path(JOB, "out.txt", check_if_exists=True)).read_text() == "second"
        assert share.get_job_archive_file_path(JOB, "a.zip") == str(share_folder / JOB / "archives" / "a.zip")
        assert share.get_job_input_dir_content(JOB) == []
        assert share.is_job_in_share(JOB) and share.is_path_in_share(share.get_job_input_dir(JOB))
        assert share.is_a_valid_job_id_directory(share.get_job_share_dir(JOB))
        with pytest.raises(SharePathNotFoundError, match=r"no inputs/b\.txt"):
            share.get_job_input_file_path(JOB, "b.txt", check_if_exists=True)

    def test_given_a_job_that_is_not_there_when_asked_for_then_nothing_is_made(self, share_folder: Path) -> None:
        """A wrong id leaves no folders behind."""
        with pytest.raises(SharePathNotFoundError, match="no job"):
            share.get_job_output_dir(JOB.replace("0123", "3210"))
        with pytest.raises(SharePathInvalidError, match="not the id"):
            share.get_job_share_dir("../..")
        assert [path.name for path in share_folder.iterdir()] == [JOB]

    @given(st.text(st.sampled_from("./a\\\0"), max_size=12))
    def test_given_any_name_when_a_path_is_made_then_it_stays_in_the_job(self, name: str) -> None:
        """A path in the folder, or an error."""
        try:
            path = job_files.get_job_share_file_path(JOB, name)
        except SharePathInvalidError:
            return
        assert Path(path).is_relative_to(job_files.get_job_share_dir(JOB))

    def test_given_a_folder_when_its_3d_file_is_asked_for_then_it_is_the_top_or_none(self, tmp_path: Path) -> None:
        """Some path, or None."""
        assert share.get_first_3D_files_in_directory(tmp_path) is None
        (tmp_path / "notes.txt").touch()
        (tmp_path / "part.obj").write_text(TRIANGLE, encoding="utf-8")
        assert share.get_first_3D_files_in_directory(str(tmp_path)) == str(tmp_path / "part.obj")

    def test_given_a_name_without_a_meaning_here_when_used_then_it_says_what_to_use(self) -> None:
        """It can be imported, and never does nothing in silence."""
        for name in ("cleanup_data_after_timeout", "TaskInfos", "move_file_as_result_to_shared_storage"):
            with pytest.raises(NotAvailable, match=f"{name} is not available here: "):
                getattr(share, name)("an argument")
        seen: list[int] = []
        share.each(seen.append, [1, 2])
        assert seen == [1, 2]


class Handler(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/part.step")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", "999" if self.path == "/short" else "7")
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """A web server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_given_a_server_when_a_file_is_downloaded_then_it_is_whole_or_not_there(server: str, tmp_path: Path) -> None:
    """Errors of the server, of the way and of the size leave nothing behind."""
    target = tmp_path / "part.step"
    download_file(f"{server}/part.step", str(target))
    assert target.read_bytes() == b"content"
    target.unlink()
    with pytest.raises(PixyzWebError, match="404") as caught:
        download_file(f"{server}/missing", target)
    assert (caught.value.status_code, caught.value.url) == (404, f"{server}/missing")
    with pytest.raises(PixyzWebError, match="of 999"):
        download_file(f"{server}/short", target)
    with pytest.raises(PixyzWebError):
        download_file(f"{server}/away", target)
    with pytest.raises(PixyzSecurityViolation, match="3 bytes"):
        download_file(f"{server}/part.step", target, max_bytes=3)
    with pytest.raises(InvalidBackendParameter, match="http"):
        download_file(target.as_uri(), target)
    with pytest.raises(PixyzWebError, match="cannot be reached"):
        download_file("http://127.0.0.1:9/part.step", target, timeout_s=5)
    assert [*tmp_path.iterdir()] == []


class TestStorage:
    def test_given_an_archive_when_opened_then_its_root_file_is_there_for_the_with(self, tmp_path: Path) -> None:
        """A step of progress says so; nothing is left."""
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
            file.writestr("sub/a.obj", TRIANGLE)
            file.writestr("notes.txt", "no")
        progress = Progress(sink=lambda event: None)
        with storage.FileInputTemporary(str(tmp_path / "in.zip"), progress=progress) as opened:
            folder = Path(opened.directory)
            assert Path(str(opened.file)) == folder / "sub" / "a.obj"
            assert (folder / "notes.txt").is_file()
        assert not folder.exists() and not folder.parent.exists()
        assert [step.info for step in progress.steps] == ["Extracting archive"]
        with storage.FileInputTemporary(str(tmp_path / "in.zip"), root_file="notes.txt") as opened:
            assert str(opened.file).endswith("notes.txt")
        with storage.FileInputTemporary(__file__) as opened:
            assert opened.file == __file__
        with storage.FileInputTemporary(None) as opened:
            assert opened.file is None and Path(opened.directory).is_dir()

    def test_given_inputs_that_are_wrong_when_opened_then_the_error_says_so(self, tmp_path: Path) -> None:
        """And no folder is left."""
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
            file.writestr("a.obj", TRIANGLE)
        with pytest.raises(PixyzSecurityViolation):
            storage.FileInputTemporary("x.zip", root_file="../a.obj")
        with pytest.raises(InternalError), storage.FileInputTemporary(str(tmp_path / "none.zip")):
            raise AssertionError("never inside")
        wrong = storage.FileInputTemporary(str(tmp_path / "in.zip"), root_file="b.obj")
        with pytest.raises(PixyzFileNotFound), wrong:
            raise AssertionError("never inside")
        assert not Path(wrong.directory).exists()

    def test_given_a_job_when_its_storage_is_opened_then_it_is_the_jobs_own_folder(self, share_folder: Path) -> None:
        """It stays, and other ids are refused."""
        with storage.StorageSharedManager(JOB) as shared, storage.StorageOutputManager(JOB) as whole:
            assert shared.directory == whole.output_dir == str(share_folder / JOB / ".outputs-2")
            assert shared.get_full_output_filename("a") == f"{shared.directory}/a"
            assert whole.directory == str(share_folder / JOB)
        assert Path(shared.directory).is_dir()
        with pytest.raises(ValueError, match="not the id"):
            storage.StorageSharedManager("here")

    @pytest.mark.parametrize("enabled", [True, False])
    def test_given_a_with_that_may_be_switched_off_when_entered_then_it_is_one_or_not(self, enabled: bool) -> None:
        """What it stands for is at hand in both."""
        inner = storage.StorageTemporaryManager()
        outer = storage.ExecuteIfEnabled(inner, enabled)
        with outer as folder:
            assert folder is inner and outer.directory == inner.directory
        assert Path(inner.directory).is_dir() is not enabled
        inner.cleanup()


class TestChildren:
    """Functions in forked children. Threads of other tests would make Python warn of the fork."""

    pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

    def test_given_a_function_when_it_runs_in_a_child_then_result_and_context_come_back(self) -> None:
        """Large results too, and functions that no pickle takes."""
        pc = ProgramContext(entrypoint="main")

        def work(context: ProgramContext, size: int) -> str:
            context["seen"] = os.getpid()
            context.progress_next("not reported")
            return "x" * size

        assert len(SignalSafeExecution.run(work, pc, {"size": 1 << 20}, time_limit=1e9)) == 1 << 20
        assert pc["seen"] != os.getpid()
        assert SignalSafeExecution.run(lambda value: value + 1, 41) == 42

    @pytest.mark.parametrize(
        ("work", "kind"),
        [
            (lambda _: os.kill(os.getpid(), signal.SIGKILL), PixyzSignalFault),
            (lambda _: os._exit(3), PixyzExitFault),
            (lambda _: {}["missing"], KeyError),
            (lambda _: time.sleep(60), PixyzTimeout),
            (lambda _: threading.Lock(), PixyzException),
        ],
    )
    def test_given_a_function_that_fails_when_it_runs_in_a_child_then_the_caller_gets_an_error(
        self, work: Callable[[Any], Any], kind: type[Exception]
    ) -> None:
        """A crash of the child is none of the caller."""
        with pytest.raises(kind):
            SignalSafeExecution.run(work, None, time_limit=0.5 if kind is PixyzTimeout else 60)

    def test_given_an_error_that_no_pickle_takes_when_raised_in_a_child_then_its_text_comes_back(self) -> None:
        """As errors of C libraries are."""

        class Local(Exception):
            pass

        def work(_: Any) -> None:
            raise Local("deep inside")

        with pytest.raises(PixyzExceptionUnpickleableExceptionWrapper, match=r"Local: deep inside"):
            SignalSafeExecution.run(work, None)

    def test_given_a_child_that_ends_in_the_middle_of_its_answer_then_that_counts_as_none(self) -> None:
        """Then its exit code is told, and not that a file is at its end."""
        receiver, sender = multiprocessing.Pipe(duplex=False)
        with receiver:
            os.write(sender.fileno(), struct.pack("!i", 1000) + b"the beginning")
            sender.close()
            assert extcode._received(receiver, 60) is None

    def test_given_a_script_when_loaded_as_external_code_then_its_entrypoint_can_be_called(
        self, write_script: Callable[..., Path]
    ) -> None:
        """By the context's name and params."""
        script = write_script("def part(pc, params):\n    from celery import chain\n    return params['n'] * 2\n")
        code = ExternalPythonCode(str(script))
        assert code.execute(ProgramContext(entrypoint="part", params={"n": 4})) == 8
        assert code.module.part(None, {"n": 1}) == 2
        with pytest.raises(ValueError, match="no function 'main'"):
            code.execute(ProgramContext())
        with pytest.raises(ValueError, match="no script"):
            ExternalPythonCode(script.with_name("other.py"))


class TestLogger:
    def test_given_loggers_above_each_other_when_a_line_is_written_then_it_is_there_once(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On what is stderr at that time, from INFO on."""
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        inner, outer = get_logger("old.script.part"), get_logger("old.script")
        assert get_logger("old.script") is outer and len(outer.handlers) == 1
        inner.info("a line of %s", "mine")
        outer.debug("not shown")
        text = capsys.readouterr().err
        assert text.count("a line of mine") == 1 and "INFO/old.script.part" in text
        assert "not shown" not in text

    def test_given_a_script_that_configures_logging_when_a_line_is_written_then_its_own_handlers_have_it(
        self, run_python: Run
    ) -> None:
        """Whether it does that before or after the logger is made."""
        code = (
            "import logging; from pixyz_worker import get_logger; one = get_logger('one')\n"
            "logging.basicConfig(format='mine %(message)s'); one.info('1'); get_logger('two').info('2')"
        )
        assert run_python("-c", code).stderr == "mine 1\nmine 2\n"
        shown = "from celery.utils.log import get_task_logger as g; g('n').debug('deep')"
        code = f"import pixyz_worker.script; {shown}"
        assert "DEBUG/n] deep" in run_python("-c", code, LOG_LEVEL="DEBUG").stderr
        assert run_python("-c", code).stderr == ""
