"""Imports of old scripts: each line loads by itself, in plain Python as on the platform."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import pixyz_worker
from pixyz_worker import celery_names, compat, pc, result, tasks
from pixyz_worker.old_modules import MODULES

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ROOT = Path(pixyz_worker.__file__).parents[1]
START = (ROOT / "pixyz_worker" / "pixyz_startup.pth").read_text(encoding="utf-8")
"""What Python executes when it starts."""

LINES = (
    "from celery.utils.log import get_task_logger",
    "from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded",
    "from celery.exceptions import Ignore, Reject, Retry, MaxRetriesExceededError",
    "from celery.exceptions import TaskRevokedError, ChordError, CeleryError, TaskError, InvalidTaskError",
    "from celery.exceptions import NotRegistered, WorkerLostError, ImproperlyConfigured, OperationalError",
    "from celery.exceptions import *; Retry",
    "from billiard.exceptions import SoftTimeLimitExceeded, WorkerLostError",
    "from kombu.exceptions import OperationalError",
    "from celery.result import AsyncResult, GroupResult, EagerResult, allow_join_result, denied_join_result",
    "from celery.canvas import chain, group, chord, xmap, xstarmap, Signature",
    "from celery.utils import uuid, gen_unique_id; len(uuid()) == 36 or 1 / 0",
    "from celery import current_task, current_app, shared_task",
    "from celery import states; states.IGNORED, states.REJECTED, states.precedence('SUCCESS')",
    "import celery.states, celery.utils.log; celery.utils.log.get_task_logger, celery.states.state",
    "import celery; celery.utils.log, celery.exceptions.Retry, celery.result.AsyncResult",
    "import pxz",
    "import pxz.core",
    "from pxz import core, scene, polygonal, algo, material, view, io, geom",
    "from pixyz_worker import PixyzException, InvalidFile, UnsafeFile",
    "from pixyz_worker import get_logger, share_dir, TaskProgress, ExternalPythonCode, FileInputTemporary",
    "from pixyz_worker import *; PixyzException, get_logger, share_dir, TaskProgress, each, sleep, ProgramContext, io",
    "from pixyz_worker.script import get_logger",
    "from pixyz_worker.share import *; get_logger, download_file, get_job_output_dir",
    "from pixyz_worker.share import get_logger, pixyz_schedule, PiXYZSession, is_valid_jobid",
    "from pixyz_worker.share import get_job_output_dir, get_first_3D_files_in_directory, download_file",
    "from pixyz_worker.share import cleanup_data_after_timeout, TaskInfos, get_input_dir",
    "from pixyz_worker.extcode import *; ExternalPythonCode, SignalSafeExecution",
    "from pixyz_worker.storage import *; StorageSharedManager, FileInputTemporary, ExecuteIfEnabled",
    "from pixyz_worker.config import share_dir, process_path",
    "from pixyz_worker.config import *; share_dir, version, debug, log_level, cleanup_delay, supported_archive",
    "from pixyz_worker.exception import *; PixyzWebError, Retry",
    "from pixyz_worker.exception import InvalidYamlFile, TaskNotCompletedError, InvalidConfigurationFile",
    "import pixyz_worker; pixyz_worker.config.share_dir",
    "import pixyz_worker; pixyz_worker.tasks.pixyz_execute",
    "import pixyz_worker; pixyz_worker.share.get_logger, pixyz_worker.exception.Retry, pixyz_worker.kernel",
    "import pixyz_worker.config; pixyz_worker.config.process_path",
    "from pixyz_worker.script import License; License.from_config()",
    "from pixyz_worker.script import PiXYZSession; PiXYZSession.initialize()",
    "from celery.result import ResultSet",
    "from celery import *; chain, shared_task",
    "from pixyz_worker.progress import TaskProgress",
    "from pixyz_worker.local import LocalPixyzTask, AsyncResultLocal, allow_join_result",
    "from pixyz_worker.tasks import pixyz_execute, app, sleep, package",
    "from pixyz_worker.script import *; ProgramContext().progress_output(1)",
)

REFUSED = {
    "from celery import Celery": "@shared_task",
    "from celery.schedules import crontab": "cron",
    "from celery.app.control import Control": "pixyz_execute",
    "from kombu import Exchange": "no message broker",
    "import celery.contrib.abortable": "pc.cancelled()",
    **{f"import pixyz_worker.{name}": advice[:30] for name, advice in MODULES.items()},
    **{f"from pixyz_worker import {name}": advice[:30] for name, advice in MODULES.items()},
    **{f"from pixyz_worker.{name} import anything": advice[:30] for name, advice in MODULES.items()},
}


def test_given_each_line_alone_when_it_is_the_first_of_a_script_then_it_loads(run_python: Run, tmp_path: Path) -> None:
    """Given nothing of pixyz_worker imported, when a forked child runs one line, then it ends well."""
    lines = list(LINES)
    assert _failures(run_python, tmp_path, lines) == ""


def test_given_a_script_on_the_platform_when_it_imports_each_line_then_it_loads(
    write_script: Callable[..., Path], tmp_path: Path
) -> None:
    """Given a script that is loaded as a worker does, when it runs the lines, then none fails."""
    script = write_script("def main(pc, params):\n    for line in params: exec(line, {})\n", header="")
    pc_ = pc.ProgramContext(script=str(script))
    lines = list(LINES)
    assert tasks.pixyz_execute(lines, pc_.clone(raw=True)) is None


def test_given_a_name_that_only_a_service_needs_when_imported_then_the_error_says_what_to_use(
    run_python: Run, tmp_path: Path
) -> None:
    """Given each refused line, when run, then it is an ImportError with the advice."""
    found = _failures(run_python, tmp_path, REFUSED).splitlines()
    assert len(found) == len(REFUSED)
    for line, told in zip(REFUSED, found, strict=True):
        assert told.startswith((f"{line} => ModuleNotFoundError", f"{line} => ImportError")), told
        assert REFUSED[line] in told


def test_given_a_module_of_old_when_asked_for_as_an_attribute_then_the_error_says_what_to_use(run_python: Run) -> None:
    """Given `import pixyz_worker`, when pixyz_worker.settings is used, then AttributeError advises."""
    done = run_python("-c", "import pixyz_worker; pixyz_worker.settings")
    assert "AttributeError" in done.stderr
    assert MODULES["settings"] in done.stderr
    assert run_python("-c", "import pixyz_worker; assert not hasattr(pixyz_worker, 'no_such')").returncode == 0


def test_given_the_start_of_python_when_nothing_is_asked_for_then_nothing_is_loaded(run_python: Run) -> None:
    """Given the finder, when other imports fail, then neither pixyz_worker nor anything else comes along."""
    code = f"""
import os, sys
before = set(sys.modules)
{START}
try:
    import no_such_module
except ModuleNotFoundError:
    pass
assert set(sys.modules) == before, set(sys.modules) - before
assert type(sys.meta_path[-1]).__name__ == "PixyzImports"
"""
    done = run_python("-S", "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("word", ["0", "off", "No", "FALSE"])
def test_given_the_switch_when_python_starts_then_the_names_are_not_there(run_python: Run, word: str) -> None:
    """Given PIXYZ_IMPORTS=0, when celery is imported, then it is not found."""
    done = run_python("-c", START + "import celery", PIXYZ_IMPORTS=word)
    assert "ModuleNotFoundError: No module named 'celery'" in done.stderr


@pytest.mark.parametrize(
    "missing", ["pixyz_worker.startup", "pixyz_worker", "pixyz_worker.compat", "pixyz_worker.old_modules"]
)
def test_given_a_part_that_is_gone_when_celery_is_imported_then_it_is_not_found(run_python: Run, missing: str) -> None:
    """Given a broken or removed install, when its names are imported, then that ends, and other imports work."""
    code = f"""
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Gone())
{START}
for name in ("celery", "pixyz_worker.settings", "pxz"):
    try:
        __import__(name)
    except ImportError:
        pass
    else:
        raise AssertionError(name)
import json
"""
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_given_a_genuine_package_when_imported_first_then_it_wins(run_python: Run, tmp_path: Path) -> None:
    """Given packages called celery and pxz on the path, when imported in plain Python, then they are those."""
    for name in ("celery", "pxz"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text("chain = 'genuine'", encoding="utf-8")
    paths = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
    check = "import celery, pxz; assert celery.chain == pxz.chain == 'genuine'\n"
    after = "from pixyz_worker.script import *\nfrom celery import chain as ours; assert ours is chain != 'genuine'\n"
    done = run_python("-c", START + paths + check + after)
    assert done.returncode == 0, done.stderr


def test_given_a_genuine_package_with_a_finder_that_came_later_when_imported_then_it_wins(run_python: Run) -> None:
    """Given an editable install whose finder is behind ours, when celery is imported, then it is that."""
    code = (
        START
        + """
import sys
from importlib.machinery import ModuleSpec
class Loader:
    def create_module(self, spec): return None
    def exec_module(self, module): module.whose = "genuine"
class Editable:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, Loader()) if name == "celery" else None
sys.meta_path.append(Editable())
import celery
assert celery.whose == "genuine"
"""
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_given_an_installed_library_when_it_looks_for_celery_then_there_is_none(
    run_python: Run, tmp_path: Path
) -> None:
    """Given a library that does `try: import celery`, when a script uses it, then it sees none; the script does."""
    site = tmp_path / "venv" / "site-packages"
    site.mkdir(parents=True)
    library = "try:\n    import celery\nexcept ImportError:\n    celery = None\n"
    (site / "library.py").write_text(library, encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n{START}import library\nassert library.celery is None\n"
    done = run_python("-c", code + "from celery import chain\nimport library\nassert library.celery is None")
    assert done.returncode == 0, done.stderr


def test_given_celery_as_the_first_line_when_a_script_is_run_then_its_names_are_those_of_the_sdk(
    run_python: Run, write_script: Callable[..., Path]
) -> None:
    """Given `from celery import chord` before pixyz_worker, when run by hand, then both are the same thing."""
    script = write_script(
        """
        from pixyz_worker.script import *
        assert (first, second) == (chord, group)

        def main(pc, params):
            return "ok"

        if __name__ == "__main__":
            print(main(ProgramContext.from_local(__file__), {}))
        """,
        header=f"{START}from celery import chord as first, group as second\n",
    )
    done = run_python(script)
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_given_the_tables_when_every_name_is_looked_up_then_it_is_there() -> None:
    """Given all that the modules of Celery offer, when fetched, then each name exists."""
    for name in celery_names.NAMES:
        made = celery_names.module(name)
        for offered in made.__all__:
            if offered != "ResultSet" or hasattr(result, "ResultSet"):
                assert getattr(made, offered) is not None, f"{name}.{offered}"
    assert compat.SHIMS.keys() >= set(celery_names.NAMES)


def _failures(run_python: Run, folder: Path, lines: object) -> str:
    """Run each line in a fork of a Python that has only the finder; return what failed, a line each."""
    code = f"""
import os, sys
{START}
for line in {list(lines)!r}:  # type: ignore
    sys.stdout.flush()
    if not (child := os.fork()):
        try:
            exec(line, {{"__name__": "__main__"}})
        except BaseException as error:
            print(line, "=>", type(error).__name__ + ":", str(error).replace(chr(10), " "))
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""
    path = folder / "lines.py"
    path.write_text(code, encoding="utf-8")
    done = run_python(path)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
