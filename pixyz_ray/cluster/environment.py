"""The environment of Ray, Serve and the workers; each variable has its reason beside it.

There are three groups, by the time at which they must be there:

- `before_ray`: read by Ray's own processes (GCS, raylet, agent) when they start. On a cluster they are set before
  `ray start`, on each machine or for all of them in the head's `--system-config`.
- `worker_environment`: read in the processes of tasks and actors: Serve's controller and replica, the tracker,
  the workers. On a cluster they travel in the runtime environment of the driver's Ray job, so that the settings of the
  head hold on every machine.
- `ray_environment`: all of them, and those that keep a Ray of our own to this machine.

No variable here contains a secret: Ray shows runtime environments in its dashboard, its state API and its logs.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pixyz_ray.cluster.ray_folder import ray_folder
from pixyz_ray.home import home, write_private
from pixyz_ray.private_files import PRIVATE_MASK, SHARE_MASK, share_mask
from pixyz_ray.reaper import SESSION_MARK
from pixyz_ray.setting_sources import Note
from pixyz_ray.settings import Settings, read_settings
from pixyz_ray.watchdog.machine import THRESHOLD
from pixyz_worker.exception import InvalidBackendParameter, PixyzSecurityViolation
from pixyz_worker.kernel.limits import Limits

_SPILLING = "RAY_object_spilling_directory"
_PREFIX = "RAY_"
_BOOLEANS = {"false": "0", "true": "1"}
_CONFIG_OPTION = "--system-config"


@dataclass(frozen=True, kw_only=True, slots=True)
class RayVariable:
    """A variable that Ray's own processes read when they start."""

    name: str
    """Its name in the environment."""
    value: str
    """The value that the platform wants."""
    effect: str
    """What happens without it."""
    needed: bool = False
    """Whether the platform may end the wrong process without it; without the others it is only slower."""
    config: int | bool | None = None
    """The same value for `ray start --head --system-config`, which holds on all machines; None where Ray reads this
    variable from the environment alone."""

    @property
    def config_name(self) -> str | None:
        """Its name in `--system-config`, or None."""
        return None if self.config is None else self.name.removeprefix(_PREFIX)


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentProblem:
    """A variable of `before_ray` that a running machine does not have, or has with another value."""

    needed: bool
    """Whether the platform may end the wrong process without it; else it is recommended."""
    variable: str
    """Its name in the environment."""
    found: str | None
    """The machine's value; None where it is not set."""
    wanted: str
    """The value that the platform wants."""
    message: str
    """What is wrong, its effect, and how to set it."""

    def __str__(self) -> str:
        return self.message


_BEFORE_RAY = (
    RayVariable(
        name="RAY_memory_monitor_refresh_ms",
        value="0",
        needed=True,
        config=0,
        # The watchdogs end the largest attempt instead.
        effect="where memory runs short, Ray ends the tracker and the HTTP service before the job that takes it all",
    ),
    RayVariable(name="RAY_worker_niceness", value="0", config=0, effect="other programs come before jobs"),
    RayVariable(
        name="RAY_worker_cap_enabled",
        value="0",
        config=False,
        # A task that waits for others gives its CPU back, and the next one is to have it at once.
        effect="a job may start up to ten seconds late for each job that waits for others",
    ),
    RayVariable(
        name="REPORTER_UPDATE_INTERVAL_MS",
        value="30000",
        # Ray's agent counts the machine's resources every five seconds otherwise.
        effect="an idle machine takes more CPU time",
    ),
    RayVariable(name="RAY_USAGE_STATS_ENABLED", value="0", effect="Ray reports statistics of use to its makers"),
)
# Four checks in a row, each unanswered for 3 s, a second apart: a machine that is cut off or frozen is dead within
# 16 s, one that is paused for 10 s is not. One that is starting, whose first workers take all of its CPUs, has longer.
_DEAD_LATE = "a machine that is cut off or frozen is declared dead after 40 s and more, and values lost with it as late"
_HEALTH_CHECK = (
    RayVariable(name="RAY_health_check_period_ms", value="1000", config=1000, effect=_DEAD_LATE),
    RayVariable(name="RAY_health_check_timeout_ms", value="3000", config=3000, effect=_DEAD_LATE),
    RayVariable(name="RAY_health_check_failure_threshold", value="4", config=4, effect=_DEAD_LATE),
    RayVariable(
        name="RAY_health_check_initial_delay_ms",
        value="15000",
        config=15_000,
        effect="a busy machine may be declared dead while its Ray is starting",
    ),
    *(
        RayVariable(name=name, value="5000", config=5000, effect="calls to a machine that is cut off hang for minutes")
        for name in ("RAY_grpc_client_keepalive_time_ms", "RAY_grpc_client_keepalive_timeout_ms")
    ),
)


def before_ray(settings: Settings) -> tuple[RayVariable, ...]:
    """Return what Ray's own processes must find in their environment, or in the system configuration of the head.

    Args:
        settings: the platform's settings; no variable depends on them today.
    """
    return _BEFORE_RAY + _HEALTH_CHECK


def system_config(settings: Settings) -> dict[str, int | bool]:
    """Return the value of `ray start --head --system-config`: Ray gives it to every machine that joins.

    It takes precedence over the environment of the machines.
    """
    return {one.config_name: one.config for one in before_ray(settings) if one.config_name and one.config is not None}


def environment_problems(
    settings: Settings,
    raylet_environment: Mapping[str, str],
    ray_config: Mapping[str, object] | None = None,
) -> list[EnvironmentProblem]:
    """Compare what a machine's Ray was started with to what the platform wants.

    Args:
        settings: the platform's settings.
        raylet_environment: environment of the machine's raylet; a worker inherits it, so that of a task will do.
        ray_config: system configuration of the cluster, which takes precedence over the environment.
    """
    problems = []
    for one in before_ray(settings):
        found = raylet_environment.get(one.name)
        if one.config_name is not None and ray_config is not None and one.config_name in ray_config:
            found = str(ray_config[one.config_name])
        if found is None or _plain(found) != one.value:
            problems.append(_problem(one, found))
    return problems


def cluster_config() -> Mapping[str, object]:
    """Return the system configuration of the Ray cluster that this process is connected to."""
    from ray._private.state import state

    config: Mapping[str, object] = state.get_system_config()  # type: ignore[no-untyped-call]
    return config


def joining_notes(settings: Settings, num_cpus: int | None) -> list[Note]:
    """Return notes on options that have no effect on a Ray that others have started.

    Args:
        settings: the platform's settings.
        num_cpus: option of `pixyz up`.
    """
    place = settings.places.get("CONCURRENT_TASKS")
    given = {
        "--num-cpus": num_cpus is not None,
        f"CONCURRENT_TASKS ({place or 'set'})": settings.concurrent_tasks is not None,
    }
    remedy = "Each machine has the CPUs of its own  ray start --num-cpus"
    return [
        Note(found=f"{name} has no effect on a Ray cluster that is joined.", remedy=f"{remedy}.")
        for name, is_given in given.items()
        if is_given
    ]


def _plain(value: str) -> str:
    return _BOOLEANS.get(value.strip().lower(), value.strip())


def _problem(one: RayVariable, found: str | None) -> EnvironmentProblem:
    state = "is not set" if found is None else f"is {found}"
    strength = "must" if one.needed else "should"
    message = (
        f"{one.name} {state} and {strength} be {one.value}: otherwise {one.effect}. Set it "
        f"{_remedy(has_config=one.config_name is not None)}."
    )
    return EnvironmentProblem(needed=one.needed, variable=one.name, found=found, wanted=one.value, message=message)


def environment_messages(problems: Sequence[EnvironmentProblem]) -> list[str]:
    """Return a message about each variable that is needed, and one about all that are only recommended."""
    messages = [one.message for one in problems if one.needed]
    recommended = [one for one in problems if not one.needed]
    if recommended:
        values = ", ".join(
            f"{one.variable}={one.wanted}" + ("" if one.found is None else f" (it is {one.found})")
            for one in recommended
        )
        messages.append(
            f"Ray was started here without what the platform recommends: {values}. The effect of each is in "
            f"docs/operating.md. Set them {_remedy(has_config=False)}."
        )
    return messages


def _remedy(*, has_config: bool) -> str:
    """Return how variables are set, and also how for all machines if they can stand in the system configuration."""
    remedy = 'before `ray start` on this machine: eval "$(python -m pixyz_ray.cluster.environment)"'
    if has_config:
        remedy += (
            f", or for all machines on the head: ray start --head {_CONFIG_OPTION}="
            f'"$(python -m pixyz_ray.cluster.environment {_CONFIG_OPTION})"'
        )
    return remedy


def ray_environment(settings: Settings, session: str, folder: Path, cpus: int) -> dict[str, str]:
    """Return the variables for Ray's processes on a machine of its own.

    Args:
        settings: the platform's settings.
        session: random mark of this run.
        folder: the platform's home.
        cpus: CPUs offered to tasks.
    """
    return {
        **driver_environment(settings),
        # Without the health check: the supervisor looks after the only machine.
        **{one.name: one.value for one in _BEFORE_RAY},
        SESSION_MARK: session,
        # Loopback only, and a token against whoever else is on this machine.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(_ray_token(folder)),
        # The warm workers of the jobs are kept; two more serve those that change their needs.
        "RAY_num_workers_soft_limit": str(cpus + 2),
        # Objects that memory has no room for, unless the operator has set another folder.
        _SPILLING: os.environ.get(_SPILLING) or str(ray_folder(folder) / "spilled"),
    }


def driver_environment(settings: Settings) -> dict[str, str]:
    """Return the variables of `worker_environment` for a process on this machine, such as the driver itself."""
    pythonpath = os.environ.get("PYTHONPATH", "")
    return {name: value for name, value in _variables(settings, pythonpath).items() if value}


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return the `env_vars` of the runtime environment in which actors and tasks run on a cluster.

    Ray starts a worker with the variables of its raylet and sets these over them. A setting without a value is empty
    here, so that a value in the machine's own environment has no effect.

    Raises:
        InvalidBackendParameter: a value contains `$`: Ray replaces `$NAME` by a variable of the machine.
    """
    variables = _variables(settings, "")
    for name, value in variables.items():
        if "$" in value:
            raise InvalidBackendParameter(
                f"{name}={value} contains '$', which cannot be passed to the machines of a cluster: choose a name "
                "without it."
            )
    if settings.pixyz_python_path is not None:
        # Replaced by Ray on each machine. Where that has none, the empty part at the end is the current folder, which
        # Ray has in the search path of its workers anyway.
        variables["PYTHONPATH"] = f"{settings.pixyz_python_path}{os.pathsep}${{PYTHONPATH}}"
    # The old name of LOG_LEVEL, which the SDK reads first.
    return {**variables, "LOGLEVEL": os.environ.get("LOGLEVEL", "")}


def _variables(settings: Settings, pythonpath: str) -> dict[str, str]:
    """Return the variables of actors and tasks, those without a value too.

    Args:
        settings: the platform's settings.
        pythonpath: search path to add to the Pixyz SDK's.
    """
    variables = {
        **_SERVE,
        **_ON_WORKERS,
        **_service_environment(settings),
        **_sdk_environment(settings),
        **_limits(settings),
    }
    if settings.pixyz_python_path is not None:
        path = [str(settings.pixyz_python_path), pythonpath]
        variables["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
    return variables


_SERVE = {
    # Serve's controller looks around ten times a second otherwise, a quarter of what an idle platform costs.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
}


_ON_WORKERS = {
    # A job that was given no GPU must not find one: Ray would leave CUDA_VISIBLE_DEVICES alone then.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # The tracker's calls to a machine that is cut off would hang for minutes, and with them the tasks meant for it.
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
}


def _service_environment(settings: Settings) -> dict[str, str]:
    return {
        THRESHOLD: str(settings.memory_threshold),
        SHARE_MASK: f"{share_mask(settings.share_umask):03o}",
    }


_SDK_SETTINGS = (
    *("share_path", "process_path", "disable_pixyz"),
    *("license_host", "license_port", "license_flexlm", "license_acquire_at_start"),
    # Read by scripts from pixyz_worker.config.
    *("api_port", "cleanup_delay", "cleanup_enabled", "debug", "log_level"),
    *("pixyz_time_limit", "pixyz_retry_time_limit"),
)


def _sdk_environment(settings: Settings) -> dict[str, str]:
    """Return what the SDK reads on the workers, wherever the operator set it."""
    return {name.upper(): _text(getattr(settings, name)) for name in _SDK_SETTINGS}


def _limits(settings: Settings) -> dict[str, str]:
    """Return what one input may cost, for the kernel and the archives of the workers."""
    return {field.name.upper(): str(getattr(settings, field.name)) for field in fields(Limits)}


def _text(value: object) -> str:
    """Return a value as the SDK reads it: no units, 1 for yes, nothing for no and for None."""
    if value is None or value is False:
        return ""
    if value is True:
        return "1"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _ray_token(folder: Path) -> Path:
    path = folder / "ray-token"
    if not path.is_file():
        write_private(path, os.urandom(32).hex())
    return path


def _closed_folder() -> Path:
    try:
        return ray_folder(home()).parent
    except PixyzSecurityViolation as error:
        print("false")
        sys.exit(str(error))


def main() -> None:
    """Print what must precede `ray start` on a machine of a cluster.

    Without arguments: shell commands, for `eval "$(python -m pixyz_ray.cluster.environment)"`. With `--system-config`:
    the value of that option of `ray start --head`.
    """
    if sys.argv[1:] not in ([], [_CONFIG_OPTION]):
        sys.exit(f"usage: python -m pixyz_ray.cluster.environment [{_CONFIG_OPTION}]")
    reading = read_settings()
    for note in reading.sources.notes:
        print(note, file=sys.stderr)
    if reading.settings is None:
        print("false")  # ends the line of shell commands that evaluates this
        sys.exit("\n".join(reading.sources.problems))
    settings = reading.settings
    if sys.argv[1:]:
        print(json.dumps(system_config(settings)))
        return
    variables = {
        # Parent of the folder `ray` that `ray start` makes world-writable.
        "RAY_TMPDIR": str(_closed_folder()),
        **{one.name: one.value for one in before_ray(settings)},
        # `pixyz up` on the head must know the operator's umask: `ray job submit` starts it with the raylet's.
        SHARE_MASK: f"{share_mask(settings.share_umask):03o}",
    }
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    # Logs, sockets and spilled objects of the node are its user's; files on the share have a umask of their own.
    print(f"umask {PRIVATE_MASK:03o}")


if __name__ == "__main__":
    main()
