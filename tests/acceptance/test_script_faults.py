"""Scripts that go wrong: each ends its job, in bounded time, with an error that its owner understands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.scripts import NOTHING
from tests.rest_client import RestClient

MAIN = "def main(pc, params):\n"

# --- Errors of Python ------------------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[str, str]] = {
    "an exception": (MAIN + "    params['x'].lower()\n", "KeyError: 'x'"),
    "a message of several lines": (MAIN + "    raise ValueError('a\\nb')\n", "b"),
    "an error while it is imported": ("import no_such_module_at_all\n" + MAIN + "    pass\n",
                                      "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    "an error at module level": ("1 / 0\n" + MAIN + "    pass\n", "ZeroDivisionError: division by zero"),
    "an exit code": ("import sys\n" + MAIN + "    sys.exit(3)\n", "SystemExit: 3"),
    "an exit with a message": ("import sys\n" + MAIN + "    sys.exit('no licence')\n", "SystemExit: no licence"),
    "an interrupt": (MAIN + "    raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "endless recursion": (MAIN + "    return main(pc, params)\n", "RecursionError: maximum recursion depth exceeded"),
    "an exception of its own": ("class Odd(Exception):\n    def __init__(self, a, b): super().__init__(a)\n"
                                + MAIN + "    raise Odd('why', 2)\n", "Odd: why"),
    "an exception with a lock in it": ("import threading\n" + MAIN + "    raise ValueError(threading.Lock())\n",
                                       "ValueError: <unlocked _thread.lock object"),
    "a wrong signature": ("def main():\n    pass\n",
                          "TypeError: main() takes 0 positional arguments but 2 were given"),
    "a lone surrogate": (MAIN + "    raise ValueError('\\ud800')\n", "ValueError: "),
    "a group of errors": (MAIN + "    raise ExceptionGroup('several', [ValueError('one'), TypeError('two')])\n",
                          "+------------------------------------"),
    "an async entrypoint": ("async def main(pc, params):\n    raise OSError('late')\n", "OSError: late"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_given_a_failing_script_when_it_runs_then_the_error_ends_with_type_and_message(
    rest: RestClient, case: str
) -> None:
    """Once, without a retry: it is the script's fault. The log has the error too."""
    script, last_line = FAILURES[case]
    details = rest.run(script)
    assert details["status"] == "FAILURE"
    assert last_line in details["error"].splitlines()[-1]
    assert (details["retry"], details["result"]) == (0, None)
    assert details["time_info"]["stopped"] is not None
    assert rest.state(details["uuid"])["error"] == details["error"]
    assert rest.log(details["uuid"])


def test_given_a_script_when_it_fails_in_a_library_then_the_traceback_shows_the_scripts_lines_alone(
    rest: RestClient,
) -> None:
    """The frames of platform and library are in the job's log, for those who want them."""
    script = "import json\n\ndef inner(text):\n    return json.loads(text)\n\n" + MAIN + "    return inner('{]')\n"
    details = rest.run(script, script_name="my script.py")
    lines = details["error"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    frames = [line.strip() for line in lines if line.strip().startswith("File ")]
    assert frames == ['File "my script.py", line 7, in main', 'File "my script.py", line 4, in inner']
    assert lines[-1].startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert "json/decoder.py" in rest.log(details["uuid"])
    assert "pixyz_ray" not in details["error"] + rest.log(details["uuid"])


def test_given_a_chain_of_errors_when_a_script_fails_then_the_cause_is_told_too(rest: RestClient) -> None:
    """As Python itself tells it."""
    script = (
        MAIN
        + "    try:\n        1 / 0\n    except ZeroDivisionError as e:\n        raise RuntimeError('wrap') from e\n"
    )
    error = rest.run(script)["error"]
    assert "ZeroDivisionError: division by zero" in error
    assert "direct cause" in error
    assert error.endswith("RuntimeError: wrap")


def test_given_an_exception_that_cannot_be_shown_when_raised_then_its_type_is_told(rest: RestClient) -> None:
    """Whatever its __str__ does."""
    script = "class Bad(Exception):\n    def __str__(self): raise RuntimeError('in str')\n" + MAIN + "    raise Bad()\n"
    details = rest.run(script)
    assert details["status"] == "FAILURE"
    assert "Bad" in details["error"].splitlines()[-1]


def test_given_sys_exit_without_a_fault_when_called_then_the_job_succeeds(rest: RestClient) -> None:
    """sys.exit() and sys.exit(0) are a script's way to say: done."""
    for call in ("sys.exit()", "sys.exit(0)"):
        details = rest.run("import sys\n" + MAIN + f"    {call}\n")
        assert (details["status"], details["result"]) == ("SUCCESS", None), details["error"]


def test_given_a_failed_job_when_the_tutorials_mistake_is_made_then_its_error_is_the_tutorials(
    rest: RestClient,
) -> None:
    """The tutorial's own example: the number 123 as an extension."""
    script = MAIN + "    extension = params.get('extension', 'pxz').lower()\n"
    details = rest.run(script, params={"extension": 123}, script_name="00_convert_a_file.py")
    assert details["error"].splitlines()[1] == '  File "00_convert_a_file.py", line 2, in main'
    assert details["error"].splitlines()[-1] == "AttributeError: 'int' object has no attribute 'lower'"


# --- Results that are not JSON ---------------------------------------------------------------------------------------

NOT_JSON: dict[str, tuple[str, list[str]]] = {
    "a set": ("{1}", ["result", "set"]),
    "not a number": ("float('nan')", ["nan"]),
    "infinity in a list": ("{'a': [1, float('inf')]}", ["result['a'][1]", "inf"]),
    "an array": ("__import__('numpy').zeros(3)", ["numpy.ndarray"]),
    "a number of numpy": ("{'n': __import__('numpy').int64(1)}", ["result['n']", "numpy.int64"]),
    "a nested key": ("{'a': {'b': [0, object()]}}", ["result['a']['b'][1]", "object"]),
    "a key that is no string": ("{'a': {1: 'x'}}", ["result['a']", "1", "int"]),
    "bytes": ("b'x'", ["bytes"]),
    "a path": ("{'file': __import__('pathlib').Path('x')}", ["result['file']", "Path"]),
    "itself": ("(lambda x: (x.append(x), x)[1])([])", ["nested too deeply"]),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_given_a_result_that_is_not_json_when_returned_then_a_sentence_names_key_and_type(
    rest: RestClient, case: str
) -> None:
    """Nobody has to guess which of a hundred values it was."""
    expression, words = NOT_JSON[case]
    details = rest.run(MAIN + f"    return {expression}\n")
    assert (details["status"], details["result"]) == ("FAILURE", None)
    assert all(word in details["error"] for word in words), details["error"]


EXTREME: dict[str, str] = {
    "a large integer": "10**30",
    "a very large integer": "10**400",
    "an integer that Python itself does not print": "10**5000",
    "many levels": "(lambda x: [x := [x] for _ in range(190)][-1])([])",
    "a long text": "'x' * 3_000_000",
    "lone surrogates": "'\\ud800'",
}


@pytest.mark.parametrize("case", EXTREME)
def test_given_an_extreme_result_when_returned_then_the_job_ends_and_can_be_asked(rest: RestClient, case: str) -> None:
    """It is kept, or refused with a sentence; it never silences the platform."""
    details = rest.run(MAIN + f"    return {EXTREME[case]}\n")
    if details["status"] == "SUCCESS":
        assert details["result"] == eval(EXTREME[case])
    else:
        assert "The result is not JSON" in details["error"]


# --- Processes that die ----------------------------------------------------------------------------------------------

DEATHS = {
    "SIGSEGV": "import ctypes\n" + MAIN + "    print('last words', flush=True)\n    ctypes.string_at(0)\n",
    "SIGKILL": "import os, signal\n"
    + MAIN
    + "    print('last words', flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n",
}


@pytest.mark.parametrize("case", DEATHS)
def test_given_a_process_that_dies_when_it_runs_then_it_is_tried_once_more_on_gpuhigh_and_fails(
    rest: RestClient, case: str
) -> None:
    """In bounded time, with a sentence; what it printed is kept."""
    details = rest.run(DEATHS[case], deadline_s=25)
    _expect_one_retry(details, "crash")
    assert case in details["error"]
    assert rest.log(details["uuid"]).count("last words") == 2


def test_given_a_process_that_leaves_by_itself_when_it_does_then_its_code_is_told(rest: RestClient) -> None:
    """It would leave again: there is no retry."""
    details = rest.run("import os\n" + MAIN + "    os._exit(7)\n")
    assert (details["status"], details["attempt"]) == ("FAILURE", 1)
    assert [(one["failure"], one["exit_code"]) for one in details["attempts"]] == [("exit", 7)]
    assert "exit code 7" in details["error"]


HANGS = {
    "a sleep": "import time\n" + MAIN + "    time.sleep(1000)\n",
    "a loop in C": MAIN + "    sum(range(10**15))\n",
    "a child process": "import subprocess\n" + MAIN + "    subprocess.run(['sleep', '1000'])\n",
}


@pytest.mark.parametrize("case", HANGS)
def test_given_a_time_limit_when_a_script_takes_longer_then_it_is_tried_once_more_and_fails(
    rest: RestClient, case: str
) -> None:
    """The message says which limit it was and how to raise it. On the same queue the retry has the same limit."""
    details = rest.run(HANGS[case], config={"time_limit": 0.3, "queue": "control"}, deadline_s=20)
    _expect_one_retry(details, "timeout", "control", "control")
    assert "0.3 s" in details["error"]
    assert "time_limit" in details["error"]


def _expect_one_retry(details: dict[str, Any], failure: str, *queues: str) -> None:
    assert (details["status"], details["retry"], details["attempt"]) == ("FAILURE", 1, 2)
    assert [attempt["queue"] for attempt in details["attempts"]] == [*(queues or ("cpu", "gpuhigh"))]
    assert [attempt["failure"] for attempt in details["attempts"]] == [failure, failure]
    assert all(attempt["stopped"] for attempt in details["attempts"])


def test_given_a_crash_on_the_last_queue_when_it_happens_then_there_is_no_retry(rest: RestClient) -> None:
    """gpuhigh is where retries end."""
    details = rest.run(DEATHS["SIGKILL"], config={"queue": "gpuhigh"})
    assert (details["status"], details["retry"]) == ("FAILURE", 0)


def test_given_a_crash_when_the_second_attempt_succeeds_then_the_job_does(rest: RestClient) -> None:
    """What the first attempt left in the outputs is not mixed with what the second makes."""
    script = (
        "import os\n" + MAIN + "    open(pc.get_output_dir(f\"{pc['retry']}.txt\"), 'w').close()\n"
        "    pc.progress_set_total(1)\n    pc.progress_next('only step')\n"
        "    if not pc['retry']: os.abort()\n    return pc['queue']\n"
    )
    details = rest.run(script)
    assert (details["status"], details["retry"], details["result"]) == ("SUCCESS", 1, "gpuhigh")
    assert rest.get(f"/jobs/{details['uuid']}/outputs")["outputs"] == ["1.txt"]
    assert [step["info"] for step in details["steps"]] == ["only step"]
    assert [attempt["failure"] for attempt in details["attempts"]] == ["crash", None]


def test_given_scripts_that_spoil_their_process_when_the_next_job_runs_then_it_is_not_hurt(rest: RestClient) -> None:
    """Environment, folder, arguments, standard output: each job finds them as they should be."""
    spoilers = (
        "import os\n" + MAIN + "    os.environ.clear(); os.chdir('/')\n",
        "import sys\n" + MAIN + "    sys.argv.clear(); sys.path.clear(); sys.stdout.close()\n",
        "import os\n" + MAIN + "    os.close(1); os.close(2)\n",
        "import sys\n" + MAIN + "    sys.stdout = None; sys.stderr = None\n",
        "import shutil\n" + MAIN + "    shutil.rmtree(pc.get_output_dir())\n",
        "import os, shutil\n" + MAIN + "    shutil.rmtree(os.getcwd())\n",
        "import threading, time\n" + MAIN + "    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n",
    )
    check = (
        "import os, sys\n" + MAIN + "    print('out'); print('err', file=sys.stderr)\n    return 'PATH' in os.environ\n"
    )
    for script in spoilers * 2:
        assert rest.run(script)["status"] in ("SUCCESS", "FAILURE"), script
        after = rest.run(check)
        assert (after["status"], after["result"]) == ("SUCCESS", True), (script, after["error"])
        assert rest.log(after["uuid"]) == "out\nerr\n", script
    assert rest.run(NOTHING)["status"] == "SUCCESS"
