"""Names of other packages: scripts get ours, also where the genuine package is installed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pixyz_worker.pc import ProgramContext
from pixyz_worker.tasks import pixyz_execute

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ERRORS_OF_IMPORT = ("ImportError", "ModuleNotFoundError")


@pytest.fixture
def genuine(tmp_path: Path) -> Path:
    """A folder with packages that are called as the genuine ones, and a library that uses celery."""
    site = tmp_path / "site"
    for name in ("celery", "celery/app", "pxz"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("whose = chain = 'genuine'", encoding="utf-8")
    (site / "celery" / "result.py").write_text("whose = 'genuine'", encoding="utf-8")
    library = "import celery, celery.app\ndef result():\n    import celery.result\n    return celery.result.whose\n"
    (site / "library.py").write_text(library, encoding="utf-8")
    return site


def check(run_python: Run, code: str, **environment: str) -> None:
    """Run code in a process of its own; it must end well."""
    done = run_python("-c", code, **environment)
    assert done.returncode == 0, done.stderr


def test_given_the_shims_when_celery_is_imported_then_it_is_ours(run_python: Run, genuine: Path) -> None:
    """Every form in which scripts import it; a genuine celery does not change that."""
    code = f"""
import sys
sys.path.insert(0, {str(genuine)!r})
from pixyz_worker import canvas, compat, result
compat.install()
compat.install()
assert sum(isinstance(finder, compat.ShimFinder) for finder in sys.meta_path) == 1
import celery, celery.result
from celery import chain, group, chord, chunks
from celery.result import AsyncResult, GroupResult, allow_join_result
from celery.canvas import chain as again
assert not hasattr(celery, "whose")
assert celery.result.AsyncResult is result.AsyncResult is AsyncResult
assert chain is canvas.chain is again and chord is canvas.chord
assert celery.__name__ == "celery" and celery.__spec__.origin == "pixyz_worker"
with allow_join_result():
    pass
try:
    import celery.app
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("not ours to answer for")
"""
    check(run_python, code)


def test_given_nothing_installed_when_imported_then_the_import_system_is_as_it_was(run_python: Run) -> None:
    """Only the script surface and the loader install the finder."""
    check(run_python, "import sys; n = len(sys.meta_path); import pixyz_worker.compat; assert len(sys.meta_path) == n")
    check(
        run_python, "import sys; n = len(sys.meta_path); import pixyz_worker.script; assert len(sys.meta_path) == n + 1"
    )


def test_given_a_name_when_its_shim_does_not_want_it_then_the_genuine_one_is_imported(
    run_python: Run, genuine: Path
) -> None:
    """The seam: a line in the table, and when it counts."""
    code = f"""
import sys, types
sys.path.insert(0, {str(genuine)!r})
from pixyz_worker import compat
def ours():
    module = types.ModuleType("any")
    module.whose = "ours"
    return module
compat.SHIMS["pxz"] = compat.Shim(factory=ours, when=compat.without_sdk)
compat.SHIMS["pxz.core"] = compat.Shim(factory=ours, when=compat.without_sdk)
compat.install()
import pxz
print(pxz.whose)
"""
    assert run_python("-c", code).stdout == "genuine\n"
    assert run_python("-c", code, DISABLE_PIXYZ="1").stdout == "ours\n"
    without = code.replace(str(genuine), "/nowhere") + "import pxz.core; print(pxz.core.whose, pxz.core.__name__)"
    assert run_python("-c", without).stdout == "ours\nours pxz.core\n"


def test_given_no_sdk_when_pxz_is_imported_then_it_is_our_kernel(run_python: Run) -> None:
    """Every form in which scripts import it; no 3D library comes along."""
    code = """
from pixyz_worker.script import *
import pxz
from pxz import core, scene, polygonal, algo, material, view, io, geom
import pxz.core
assert pxz.core is core is sys.modules["pxz.core"]
assert io.importScene and core.resetSession() is None
assert not {"numpy", "trimesh", "cascadio"} & sys.modules.keys()
with PiXYZSession() as session, License() as seat:
    assert seat.sdk is None, "ours is not taken for the SDK"
try:
    algo.voxelize([1], 0.1)
except AttributeError as error:
    assert "needs the Pixyz SDK" in str(error)
else:
    raise AssertionError("not ours to answer for")
"""
    check(run_python, code)


def test_given_an_empty_folder_when_asked_for_then_it_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder called pxz beside a script is not the SDK."""
    from pixyz_worker import compat

    (tmp_path / "pxz_like").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not compat.is_installed("pxz_like")
    assert not compat.is_installed("no_such_package")
    assert compat.is_installed("json")


LOADED_SCRIPT = """
from celery import chain
import beside

def main(pc, params):
    from celery.result import AsyncResult
    import celery.canvas
    handle = beside.chain(pixyz_execute.s({"n": 20}, pc.clone(entrypoint="more", raw=True))).apply_async()
    return [chain is beside.chain is celery.canvas.chain, isinstance(handle, AsyncResult), handle.get()]

def more(pc, params):
    from celery import group
    import celery
    return params["n"] + (group is celery.group is not None)
"""


def test_given_a_genuine_celery_in_use_when_a_script_is_loaded_then_the_script_has_ours_and_the_rest_that(
    run_python: Run, write_script: Callable[..., Path], genuine: Path
) -> None:
    """At its top, inside functions, in a module beside it, in its tasks; afterwards the genuine one is whole again."""
    script = write_script(LOADED_SCRIPT)
    (script.parent / "beside.py").write_text("from celery import chain", encoding="utf-8")
    code = f"""
import sys
sys.path.insert(0, {str(genuine)!r})
import library, celery
before = celery
import pixyz_worker.local
for _ in range(2):
    done = pixyz_worker.local.LocalPixyzTask.from_commandline({str(script)!r}, None, "main")
    assert done == [True, True, 21], done
    assert sys.modules["celery"] is before is library.celery and "celery.canvas" not in sys.modules
    assert library.result() == "genuine" == sys.modules["celery.app"].whose
"""
    check(run_python, code)


def test_given_a_genuine_celery_in_use_when_a_script_is_run_by_hand_then_it_has_ours(
    run_python: Run, write_script: Callable[..., Path], genuine: Path
) -> None:
    """`python script.py`, whatever was imported before: the same names as on a worker."""
    script = write_script(
        """
        from celery import chain
        from celery.result import AsyncResult
        import pixyz_worker.canvas

        assert chain is pixyz_worker.canvas.chain
        print("ours")
        """,
        header=f"import sys\nsys.path.insert(0, {str(genuine)!r})\nimport library\nfrom pixyz_worker.script import *\n",
    )
    done = run_python(script)
    assert done.stdout == "ours\n", done.stderr
    star = script.read_text(encoding="utf-8").replace("from pixyz_worker.script", "from pixyz_worker")
    script.write_text(star, encoding="utf-8")
    assert run_python(script).stdout == "ours\n"


def test_given_a_program_with_a_genuine_celery_when_a_module_of_it_imports_the_sdk_then_it_keeps_that(
    run_python: Run, genuine: Path
) -> None:
    """A service that has workers of its own and also builds graphs for the platform: no half of either."""
    (genuine / "service.py").write_text("import library\nfrom pixyz_worker.script import *\n", encoding="utf-8")
    code = f"""
import sys
sys.path.insert(0, {str(genuine)!r})
import service
assert service.library.result() == "genuine"
import celery.app, celery.result
assert celery.whose == celery.result.whose == "genuine"
try:
    import celery.canvas
except ModuleNotFoundError as error:
    assert error.name == "celery.canvas"
else:
    raise AssertionError("half of ours in the genuine one")
"""
    check(run_python, code)


@pytest.mark.parametrize(
    ("statement", "missing", "told"),
    [
        ("from celery import Celery", "celery.Celery", "@shared_task"),
        ("from celery import Task as Base", "celery.Task", "@shared_task(bind=True)"),
        ("import celery.app", "celery.app", "pixyz_execute"),
        ("from celery.schedules import crontab", "celery.schedules", "cron"),
        ("from celery.beat import Scheduler", "celery.beat", "cron"),
        ("from celery.signals import task_prerun", "celery.signals", "try/finally"),
        ("from celery.worker import WorkController", "celery.worker", "pixyz up"),
        ("from celery.result import nothing", "celery.result.nothing", "AsyncResult"),
        ("from celery.exceptions import nothing", "celery.exceptions.nothing", "TimeoutError"),
        ("import celery; celery.VERSION", "celery.VERSION", "not Celery"),
        ("import celery; celery.states.NONE", "celery.states.NONE", "SUCCESS"),
    ],
)
def test_given_a_name_that_we_do_not_have_when_imported_then_a_sentence_says_what_there_is(
    run_python: Run, genuine: Path, statement: str, missing: str, told: str
) -> None:
    """Also where the genuine package would have it: there are no halves."""
    code = f"import sys; sys.path.insert(0, {str(genuine)!r}); from pixyz_worker.script import *; {statement}"
    done = run_python("-c", code)
    assert done.returncode == 1
    kind, _, sentence = done.stderr.splitlines()[-1].partition(": ")
    assert kind == "AttributeError" if statement.startswith("import celery; ") else kind in ERRORS_OF_IMPORT
    assert f"has no {missing};" in sentence
    assert told in sentence


def test_given_the_names_of_celery_when_used_then_they_mean_what_they_say(run_python: Run) -> None:
    """Types, states, errors, and handles made of ids that have been JSON."""
    code = """
import json, pickle
from pixyz_worker.script import *
import celery
from celery import chain, group, chord, chunks, signature, uuid
from celery.canvas import Signature, maybe_signature
from celery.exceptions import TimeoutError, CeleryError
from celery.result import AsyncResult, GroupResult, ResultBase, result_from_tuple
from celery import states

pc = ProgramContext(script="nowhere.py")
one = pixyz_execute.s({}, pc)
made = {chain: one | one, group: group(one), chord: chord([one], one), chunks: pixyz_execute.chunks([1], 1)}
for kind, each in made.items():
    assert [isinstance(each, other) for other in made] == [kind is other for other in made]
    assert isinstance(each, Signature) and not isinstance(each, ResultBase)
    assert pickle.loads(pickle.dumps(kind)) is kind
assert isinstance(one, Signature) and not isinstance(one, (chain, group)) and not isinstance("one", Signature)
assert chain.__name__ == "chain" and "one after another" in chain.__doc__
assert maybe_signature(one) is one is signature(one)
for task in (pixyz_execute, "pixyz_execute", "pixyz_worker.tasks.pixyz_execute"):
    assert signature(task, args=({}, pc), queue="gpu") == one.set(queue="gpu") == Signature(task, ({}, pc), queue="gpu")
try:
    signature("other.task")
except CeleryError as error:
    assert "there is no task 'other.task' here" in str(error)

ids = (("c", (("g", (("a", None), None)), [(("b1", None), None), (("b2", None), [])])), None)
handle = result_from_tuple(json.loads(json.dumps(ids)))
assert handle.as_tuple() == ids and isinstance(handle, AsyncResult)
assert isinstance(handle.parent, GroupResult) and isinstance(handle.parent, ResultBase)
nested = None
for n in range(5000):
    nested = ((str(n), nested), None)
assert len(result_from_tuple(nested).as_list()) == 5000
for wrong in ("an id", ["a", None], None, 5, (("a",), None)):
    try:
        result_from_tuple(wrong)
    except CeleryError as error:
        assert "ids" in str(error)
    else:
        raise AssertionError(wrong)

assert states.SUCCESS == "SUCCESS" and states.READY_STATES == {"SUCCESS", "FAILURE", "REVOKED"}
assert states.READY_STATES | states.UNREADY_STATES == states.ALL_STATES
assert issubclass(TimeoutError, __builtins__.TimeoutError) and issubclass(TimeoutError, CeleryError)
assert celery.result.AsyncResult is celery.AsyncResult and len(uuid()) == 36
"""
    check(run_python, code)


def test_given_the_table_of_shims_when_compared_then_it_has_all_modules_of_celery_that_we_make() -> None:
    """The table names them, since it may not import what makes them."""
    from pixyz_worker import celery_advice, celery_names, compat

    assert {name for name in compat.SHIMS if name.partition(".")[0] != "pxz"} == set(celery_names.NAMES)
    offered = {f"{module}.{name}" for module, names in celery_names._OFFERS.items() for name in names}
    assert not offered & celery_advice.ADVICE.keys(), "what is there needs no advice"


def test_what_a_script_writes_into_celery_ends_with_it(write_script: Callable[..., Path]) -> None:
    """Given a script that overwrites names of celery, when the next one imports them, then they are whole."""
    script = write_script("""
        def spoil(pc, params):
            import celery, celery.exceptions
            celery.chain = celery.exceptions.SoftTimeLimitExceeded = None

        def use(pc, params):
            from celery import chain
            from celery.exceptions import SoftTimeLimitExceeded
            return [chain is None, SoftTimeLimitExceeded is None]
    """)
    pc = ProgramContext.from_local(script).update(raw=True)
    pixyz_execute({}, pc.clone(entrypoint="spoil"))
    assert pixyz_execute({}, pc.clone(entrypoint="use")) == [False, False]
