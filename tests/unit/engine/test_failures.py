"""Failures: what Ray and a watchdog say of a death, as a class and a sentence that says what to do."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from ray import exceptions as ray_errors

from pixyz_ray import failure
from pixyz_ray.cluster.failures import NOT_INSTALLED, RESULT_LOST, autopsy, classify, dead_node, lost_object
from pixyz_ray.failure import FailureClass
from pixyz_worker.exception import InternalError

CRASH, MEMORY, EXIT, LOST = (
    FailureClass.CRASH,
    FailureClass.OUT_OF_MEMORY,
    FailureClass.EXIT,
    FailureClass.NODE_LOST,
)

# --- What Ray says ---------------------------------------------------------------------------------------------------

RAY: list[tuple[Exception, FailureClass, str]] = [
    (ray_errors.OutOfMemoryError("m"), MEMORY, "ran out of memory"),
    (ray_errors.WorkerCrashedError(), CRASH, "ended abruptly"),
    (ray_errors.NodeDiedError("m"), LOST, "runs again"),
    (ray_errors.LocalRayletDiedError(), LOST, "runs again"),
    (ray_errors.ObjectLostError("00", None, ""), LOST, RESULT_LOST),
    (ray_errors.ObjectFetchTimedOutError("00", None, ""), LOST, RESULT_LOST),
    (ray_errors.ObjectFreedError("00", None, ""), LOST, RESULT_LOST),
    (ray_errors.ObjectReconstructionFailedError("00"), LOST, RESULT_LOST),
    (ray_errors.OwnerDiedError("00", None, ""), LOST, RESULT_LOST),
    (ray_errors.ReferenceCountingAssertionError("00", None, ""), LOST, RESULT_LOST),
    (ray_errors.TaskCancelledError(), FailureClass.CANCELLED, "cancelled"),
    (ray_errors.TaskUnschedulableError("m"), FailureClass.INTERNAL, "No machine of the cluster"),
    (ray_errors.RuntimeEnvSetupError("no such wheel"), FailureClass.INTERNAL, "no such wheel"),
    (ray_errors.OutOfDiskError("no room"), FailureClass.INTERNAL, "no room"),
    (ray_errors.ObjectStoreFullError("full"), FailureClass.INTERNAL, "full"),
    (ray_errors.RaySystemError(RuntimeError("broken")), FailureClass.INTERNAL, "broken"),
    (ray_errors.RpcError("gone"), FailureClass.INTERNAL, "gone"),
    (ValueError("of our own"), FailureClass.INTERNAL, "ValueError: of our own"),
]


@pytest.mark.parametrize(("error", "found", "words"), RAY, ids=[type(error).__name__ for error, _, _ in RAY])
def test_given_an_error_of_ray_when_classified_then_it_has_a_class_and_a_sentence(
    error: Exception, found: FailureClass, words: str
) -> None:
    """None is without."""
    classified, sentence = classify(error)
    assert classified is found
    assert words in sentence


@pytest.mark.parametrize("wrapped", [False, True], ids=["as it is", "as its cause"])
def test_given_what_the_platforms_own_part_could_not_do_when_classified_then_its_sentence_is_all_that_is_told(
    wrapped: bool,
) -> None:
    """No traceback of ours in a job's error."""
    error = ray_errors.RayTaskError("run_script", "Traceback: ...", InternalError("The disk is full."))
    found, sentence = classify(error.as_instanceof_cause() if wrapped else error)
    assert (found, sentence) == (FailureClass.INTERNAL, "InternalError: The disk is full.")


def test_given_a_lost_object_in_the_platforms_own_part_when_classified_then_the_job_runs_again() -> None:
    """Ray wraps what a task could not get."""
    lost = ray_errors.OwnerDiedError("00", None, "")
    error = ray_errors.RayTaskError("run_script", "Traceback: ...", lost)
    assert classify(error.as_instanceof_cause())[0] is LOST


# --- What a watchdog says --------------------------------------------------------------------------------------------

MIB = 2**20
AUTOPSIES: list[tuple[str, FailureClass, dict[str, Any] | None, int | None, FailureClass, str]] = [
    ("no watchdog", CRASH, None, None, CRASH, "AS RAY SAYS"),
    ("watchdog knows nothing", CRASH, {}, None, CRASH, "AS RAY SAYS"),
    ("segfault", CRASH, {"signal": 11, "exit_code": None}, None, CRASH, "signal 11 (SIGSEGV)"),
    ("kill", CRASH, {"signal": 9, "oom_killer": False}, None, CRASH, "signal 9 (SIGKILL)"),
    ("its limit", CRASH, {"signal": 9, "reason": "memory", "peak_uss": 70 * MIB}, 64 * MIB, MEMORY, "limit of 64 MiB"),
    ("the kernel's", CRASH, {"signal": 9, "oom_killer": True, "peak_uss": MIB}, 64 * MIB, MEMORY, "taken 1 MiB"),
    ("left", CRASH, {"signal": None, "exit_code": 3}, None, EXIT, "exit code 3"),
    ("left with 0", CRASH, {"signal": None, "exit_code": 0}, None, EXIT, "exit code 0"),
    ("line lost", CRASH, {"signal": 15, "reason": "stopped"}, None, LOST, "runs again"),
    ("Ray's monitor", MEMORY, {"signal": 9}, 64 * MIB, MEMORY, "AS RAY SAYS"),
    ("node", LOST, {"signal": 9, "reason": "memory"}, None, LOST, "AS RAY SAYS"),
    ("internal", FailureClass.INTERNAL, {"exit_code": 1}, None, FailureClass.INTERNAL, "AS RAY SAYS"),
]


@pytest.mark.parametrize(("found", "died", "limit", "failure_class", "words"), [row[1:] for row in AUTOPSIES],
                         ids=[row[0] for row in AUTOPSIES])  # fmt: skip
def test_given_what_ray_and_the_watchdog_say_when_put_together_then_the_outcome_has_the_true_cause(
    found: FailureClass, died: dict[str, Any] | None, limit: int | None, failure_class: FailureClass, words: str
) -> None:
    """Ray sees only that a worker is gone; a watchdog sees how. Where Ray knows better, its word stands."""
    outcome = autopsy(found, "AS RAY SAYS", died, limit)
    assert outcome["ok"] is False
    assert outcome["failure"] == str(failure_class)
    assert words in outcome["error"]
    assert (outcome["signal"], outcome["exit_code"]) == ((died or {}).get("signal"), (died or {}).get("exit_code"))


def test_given_what_an_attempt_had_taken_when_it_died_then_the_outcome_has_it() -> None:
    """Peak memory and processor time are of use above all for those that did not end well."""
    took = {"peak_rss": 3 * MIB, "peak_uss": 2 * MIB, "cpu_time": 1.5}
    outcome = autopsy(CRASH, "", {**took, "signal": 9}, None)
    assert {name: outcome[name] for name in took} == took


def test_gpu_memory_in_autopsy() -> None:
    """Given a watchdog that ended an attempt for its GPU memory, when told, then the message has both amounts."""
    died = {"signal": 9, "reason": "gpu_memory", "peak_gpu_memory": 9_771_050_598}
    outcome = autopsy(CRASH, "AS RAY SAYS", died, None, 8 * 2**30)
    assert (outcome["failure"], outcome["peak_gpu_memory"]) == ("out_of_memory", 9_771_050_598)
    assert "used 9.1 GB of GPU memory, declared 8 GB" in outcome["error"]


def test_given_no_watchdog_when_told_then_what_an_attempt_took_is_not_known() -> None:
    """Rather than 0."""
    took = ("peak_rss", "peak_uss", "peak_gpu_memory", "cpu_time")
    assert {autopsy(CRASH, "", None, None)[name] for name in took} == {None}


# --- Sentences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [*signal.valid_signals()], ids=lambda number: str(int(number)))
def test_given_any_signal_when_told_then_the_sentence_has_its_number_its_name_and_advice(number: int) -> None:
    """Real-time signals have no name of their own."""
    sentence = failure.signal_sentence(int(number))
    assert f"signal {int(number)}" in sentence
    assert sentence.startswith("PixyzSignalFault: ")
    assert sentence.count(".") >= 2
    if isinstance(number, signal.Signals):
        assert number.name in sentence


def test_given_a_death_that_nobody_saw_when_told_then_the_sentence_says_so() -> None:
    """And where to look."""
    assert "nothing is left that says why" in failure.signal_sentence(None)
    assert "log" in failure.signal_sentence(None)
    assert "signal 200." in failure.signal_sentence(200)


def test_given_an_exit_a_time_out_or_a_last_interruption_when_told_then_the_sentence_has_the_figure() -> None:
    """And what to do."""
    assert "exit code 3" in failure.exit_sentence(3)
    assert "Raise an exception" in failure.exit_sentence(3)
    assert "limit of 2.5 s" in failure.timeout_sentence(2.5)
    assert "time_limit" in failure.timeout_sentence(2400)
    assert "7 times" in failure.cut_short_sentence(7)


@pytest.mark.parametrize(
    ("limit", "peak", "words"),
    [
        (512, None, "limit of 512 bytes."),
        (1024, 2048, "limit of 1 KiB. It had taken 2 KiB."),
        (64 * MIB, 96 * MIB, "limit of 64 MiB. It had taken 96 MiB."),
        (int(1.5 * 2**30), None, "limit of 1.5 GiB."),
        (None, 2**40, "The machine ran out of memory and the job's process was ended. It had taken 1 TiB."),
        (None, 5 * 2**50, "5120 TiB"),
        (None, None, "ran out of memory"),
        (None, 0, "ended. Use a smaller input"),
    ],
)
def test_given_a_kill_for_memory_when_told_then_the_sentence_has_limit_and_peak(
    limit: int | None, peak: int | None, words: str
) -> None:
    """In units that people read."""
    sentence = failure.memory_sentence(limit, peak)
    assert words in sentence
    assert "smaller input" in sentence
    assert ("memory_limit" in sentence) == (limit is not None)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (ray_errors.ObjectLostError("00", None, ""), "00"),
        (ray_errors.RayTaskError("f", "trace", ray_errors.OwnerDiedError("01", None, "")), "01"),
        (ray_errors.RayTaskError("f", "trace", ray_errors.ObjectLostError("02", None, "")).as_instanceof_cause(), "02"),
        (ray_errors.RayTaskError("f", "trace", ray_errors.ObjectReconstructionFailedError("03", None, "")), "03"),
        (ray_errors.RayTaskError("f", "trace", ray_errors.NodeDiedError("m")).as_instanceof_cause(), ""),
        (ray_errors.RayTaskError("f", "trace", ValueError("v")), None),
        (ray_errors.NodeDiedError("m"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_given_an_error_of_ray_when_it_is_of_a_lost_object_then_that_is_named(
    error: Exception, lost: str | None
) -> None:
    """Given an error, when an argument of the task was lost, then its id is found in the cause too."""
    assert lost_object(error) == lost


def test_given_a_death_of_a_machine_when_ray_names_it_then_its_id_is_found() -> None:
    """Given an attempt that had not told where it ran, when its machine dies, then Ray's message says which it was."""
    node_id = "0f" * 28
    died = ray_errors.NodeDiedError(
        f"Task failed because the node is dead. Node IP: 10.0.0.1, node ID: {node_id}. More."
    )
    assert dead_node(died) == node_id
    assert dead_node(ray_errors.NodeDiedError("Another text.")) is None
    assert dead_node(ray_errors.WorkerCrashedError()) is None


def test_given_a_machine_without_the_platform_when_it_gets_a_task_then_the_job_is_not_blamed() -> None:
    """Given the error of Ray for a function that cannot be imported, when classified, then the machine is at fault."""
    cause = RuntimeError("The remote function failed to import on the worker. This may be because ...")
    error = ray_errors.RayTaskError("run_script", "Traceback: ...", cause).as_instanceof_cause()
    assert classify(error) == (FailureClass.NODE_LOST, NOT_INSTALLED)
