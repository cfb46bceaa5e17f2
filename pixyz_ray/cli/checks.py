"""What `pixyz doctor` looks at: each check says what it found and what to do about it.

Nothing heavy is imported here: Ray and the 3D libraries are imported in processes of their own, since a
broken one may take its process with it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pixyz_ray import home
from pixyz_ray.cli.platform import LINUX_ONLY, on_linux
from pixyz_ray.run_record import outage, read_record

if TYPE_CHECKING:
    from pixyz_ray.client import Client

PACKAGES: Sequence[str] = (
    "ray",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "python-dotenv",
    "click",
    "rich",
    "httpx",
    "httpx-sse",
    "sqlalchemy",
    "fastapi",
    "starlette",
    "h11",
    "python-multipart",
    "fastapi-offline",
    "psutil",
    "prometheus-client",
    "cloudpickle",
    "numpy",
    "scipy",
    "pillow",
    "trimesh",
    "cascadio",
    "assimp-py",
    "fast-simplification",
    "embreex",
    "lib3mf",
    "pycollada",
    "lxml",
)
"""Distributions that the platform cannot do without; the same as the project's dependencies."""

WITHOUT_WHEEL = {"embreex": "aarch64"}
"""Distributions that are no dependency on one kind of machine."""

LIBRARIES: Sequence[tuple[str, str, str]] = (
    ("cascadio", "cascadio", "reads STEP and IGES"),
    ("trimesh", "trimesh", "mesh formats"),
    ("assimp_py", "assimp-py", "reads FBX, 3DS and DXF"),
    ("embreex.rtcore_scene", "embreex", "pictures without OpenGL, hidden geometry"),
    ("OCP.TopoDS", "pixyz-ray[cad]", "exact surfaces of STEP, IGES and BRep; repair; needs libGL.so.1"),
    ("vtkmodules.vtkRenderingOpenGL2", "pixyz-ray[render]", "pictures by VTK"),
    ("pxr.Usd", "pixyz-ray[usd]", "USD"),
    ("ifcopenshell", "pixyz-ray[ifc]", "reads IFC"),
)
"""Module, distribution or extra, and what 3D work it is for."""

_SUPPORTED = ((3, 11), (3, 14))
_IMPORT_S = 120
_LEAST_FREE_GB = 2.0
_STORE_S = 10.0
_MOST_SHOWN = 5
_INSTALL = "pip install --upgrade pixyz-ray"


class Verdict(StrEnum):
    """What a check came to."""

    GOOD = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What was looked at."""
    verdict: Verdict
    """`problem` when something essential is missing, `note` when only a part of the work needs it."""
    found: str
    """What is there."""
    remedy: str = ""
    """What to do; empty where nothing is to be done."""


def run_checks(url: str | None = None, token: str | None = None) -> list[Check]:
    """Look at everything but the settings, slow parts side by side."""
    slow: list[Callable[[], Check]] = [_ray, *(partial(_library, *row) for row in LIBRARIES), _gpu]
    with ThreadPoolExecutor(max_workers=max(2, (os.cpu_count() or 2) // 2)) as pool:
        waiting = [pool.submit(check) for check in slow]
        quick = [check() for check in (_python, _packages, _home, _share, _disk, _sqlite, _store, _pixyz_sdk)]
        service = _platform(url, token)
        ray, *libraries, gpu = (future.result() for future in waiting)
    python, packages, *rest = quick
    return [_system(), python, packages, ray, *rest, gpu, *libraries, service]


def _system() -> Check:
    found = f"{platform.system() or sys.platform} {platform.machine()}".strip()
    if on_linux():
        return Check(name="System", verdict=Verdict.GOOD, found=found)
    return Check(name="System", verdict=Verdict.NOTE, found=found, remedy=LINUX_ONLY)


def _python() -> Check:
    low, high = _SUPPORTED
    good = low <= sys.version_info[:2] < high
    return Check(
        name="Python",
        verdict=Verdict.GOOD if good else Verdict.PROBLEM,
        found=f"{sys.version.split()[0]} ({sys.executable})",
        remedy="" if good else "Make the virtual environment with Python 3.11, 3.12 or 3.13.",
    )


def _packages() -> Check:
    missing = []
    for name in PACKAGES:
        if WITHOUT_WHEEL.get(name) == platform.machine():
            continue
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        found = f"missing: {', '.join(missing)}"
        return Check(name="Packages", verdict=Verdict.PROBLEM, found=found, remedy=_INSTALL)
    return Check(name="Packages", verdict=Verdict.GOOD, found=f"all {len(PACKAGES)} are installed")


def _import_version(module: str) -> tuple[str | None, str]:
    """Import a module in a process of its own; return its version, or None and the reason."""
    code = f"import {module} as module; print(getattr(module, '__version__', 'present'))"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_IMPORT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"the import took longer than {_IMPORT_S} s"
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1], ""
    if done.returncode < 0:
        return None, f"the import was killed by signal {-done.returncode}"
    return None, (done.stderr.strip().splitlines() or ["the import failed"])[-1]


def _ray() -> Check:
    version, reason = _import_version("ray")
    if version:
        return Check(name="Ray", verdict=Verdict.GOOD, found=f"{version} can be imported")
    verdict = Verdict.PROBLEM if on_linux() else Verdict.NOTE
    return Check(name="Ray", verdict=verdict, found=reason, remedy='pip install "ray[default,serve]"')


def _library(module: str, distribution: str, purpose: str) -> Check:
    version, reason = _import_version(module)
    if version:
        return Check(name=distribution, verdict=Verdict.GOOD, found=f"{version}: {purpose}")
    remedy = f"pip install '{distribution}' ({purpose})"
    return Check(name=distribution, verdict=Verdict.NOTE, found=reason, remedy=remedy)


def _home() -> Check:
    folder = home.home()
    existing = _nearest(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        remedy = "Make it writable, or set PIXYZ_HOME to a folder that is."
        return Check(name="Home", verdict=Verdict.PROBLEM, found=f"{folder} is not writable", remedy=remedy)
    if not folder.exists():
        return Check(name="Home", verdict=Verdict.GOOD, found=f"{folder} will be made by `pixyz up`")
    if os.name == "posix" and (owner := folder.stat().st_uid) != os.geteuid():
        remedy = (
            f"Run the command as that user, or set PIXYZ_HOME: sudo -u '#{owner}' env PIXYZ_HOME={folder} pixyz ..."
        )
        found = f"{folder} belongs to another user (uid {owner})"
        return Check(name="Home", verdict=Verdict.PROBLEM, found=found, remedy=remedy)
    if os.name == "posix" and folder.stat().st_mode & 0o077:
        found = f"{folder} is open to other users; it holds the token and the jobs"
        return Check(name="Home", verdict=Verdict.NOTE, found=found, remedy=f"chmod 700 {folder}")
    return Check(name="Home", verdict=Verdict.GOOD, found=f"{folder} is writable and private")


def _share() -> Check:
    """Say whether the jobs' files can be written where the settings want them."""
    from pixyz_ray.settings import load_settings
    from pixyz_worker.exception import PixyzException

    try:
        folder = load_settings().share_path
    except PixyzException:
        found = "unknown while a setting cannot be used"
        return Check(name="Share", verdict=Verdict.NOTE, found=found, remedy="Correct it: see Settings below.")
    existing = _nearest(folder)
    if not existing.is_dir() or not _writable(existing):
        remedy = "Make it writable, mount it, or set SHARE_PATH to a folder that is."
        return Check(name="Share", verdict=Verdict.PROBLEM, found=f"{folder} is not writable", remedy=remedy)
    found = f"{folder} is writable" if folder.exists() else f"{folder} will be made by `pixyz up`"
    return Check(name="Share", verdict=Verdict.GOOD, found=found)


def _writable(folder: Path) -> bool:
    """Return whether a file can be made in a folder: mode bits do not show a read-only mount, and do not bind root."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)  # what a full disk needs is said by the check of the disks


def _disk() -> Check:
    places = {home.home(): "PIXYZ_HOME", **_disks_of_settings()}
    free = {folder: shutil.disk_usage(_nearest(folder)).free / 1e9 for folder in places}
    scarce = [folder for folder, left in free.items() if left < _LEAST_FREE_GB]
    fullest = min(free, key=lambda folder: free[folder])
    remedy = f"Free some space, or set {', '.join(places[one] for one in scarce)} to a larger disk." if scarce else ""
    return Check(
        name="Disk",
        verdict=Verdict.NOTE if scarce else Verdict.GOOD,
        found=f"{free[fullest]:.1f} GB free at {fullest}",
        remedy=remedy,
    )


def _disks_of_settings() -> dict[Path, str]:
    """Return the folders outside the home that fill up: those of the share and of the job store."""
    from pixyz_ray.settings import load_settings
    from pixyz_ray.store_check import store_file
    from pixyz_worker.exception import PixyzException

    try:
        settings = load_settings()
    except PixyzException:
        return {}
    places = {settings.share_path: "SHARE_PATH"}
    if (file := store_file(settings.job_store_url)) is not None:
        places[file.absolute().parent] = "JOB_STORE_URL"
    return places


def _store() -> Check:
    """Say whether the job store can be read, and name the records that cannot."""
    from pixyz_ray.settings import load_settings
    from pixyz_ray.store_check import check_store, store_notes
    from pixyz_worker.exception import PixyzException

    note = partial(Check, name="Job store", verdict=Verdict.NOTE)
    try:
        settings = load_settings()
    except PixyzException:
        return note(found="unknown while a setting cannot be used", remedy="Correct it: see Settings below.")
    try:
        report = check_store(settings.job_store_url, _STORE_S)
        notes = store_notes(settings)
    except PixyzException as error:
        remedy = "See JOB_STORE_URL, and whether the database runs: without it no job is accepted."
        return Check(name="Job store", verdict=Verdict.PROBLEM, found=str(error), remedy=remedy)
    if notes:
        return note(found=notes[0].found, remedy=notes[0].remedy)
    if not report.exists:
        return Check(name="Job store", verdict=Verdict.GOOD, found="none yet; `pixyz up` makes it")
    read = f"{report.jobs} jobs" if report.complete else f"the newest {report.jobs} jobs were read in {_STORE_S:g} s"
    if not report.unreadable:
        return Check(name="Job store", verdict=Verdict.GOOD, found=f"{read}, all records can be read")
    shown = list(report.unreadable.values())[:_MOST_SHOWN]
    return note(
        found=f"{read}, {len(report.unreadable)} records cannot be read: {' '.join(shown)}",
        remedy="Upgrade, if a newer version wrote them. `pixyz remove -j ID` removes one, `pixyz restore` goes back.",
    )


def _sqlite() -> Check:
    mode = "unknown"
    with contextlib.suppress(OSError, sqlite3.Error), tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        connection = sqlite3.connect(Path(folder) / "check.db")
        with contextlib.closing(connection):
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    good = mode == "wal"
    return Check(
        name="SQLite",
        verdict=Verdict.GOOD if good else Verdict.PROBLEM,
        found=f"{sqlite3.sqlite_version}, " + ("write-ahead log works" if good else f"journal mode is {mode}"),
        remedy="" if good else "Put PIXYZ_HOME on a local disk; network file systems cannot hold the journal.",
    )


def _gpu() -> Check:
    remedy = "Nothing to do without a GPU: the gpu queues then run on CPUs, and each job says so."
    if not shutil.which("nvidia-smi"):
        return Check(name="GPU", verdict=Verdict.NOTE, found="none visible (no nvidia-smi)", remedy=remedy)
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name="GPU", verdict=Verdict.NOTE, found=f"nvidia-smi: {error}", remedy="Check the driver.")
    names = done.stdout.strip().splitlines() if done.returncode == 0 else []
    if names:
        return Check(name="GPU", verdict=Verdict.GOOD, found=", ".join(names))
    return Check(name="GPU", verdict=Verdict.NOTE, found="nvidia-smi sees none", remedy=remedy)


def _pixyz_sdk() -> Check:
    """Say whether the workers of a platform that is started here use the SDK, by the same settings."""
    from pixyz_ray.settings import load_settings
    from pixyz_worker.exception import PixyzException

    note = partial(Check, name="Pixyz SDK", verdict=Verdict.NOTE)
    try:
        settings = load_settings()
    except PixyzException:
        return note(found="unknown while a setting cannot be used", remedy="Correct it: see Settings below.")
    folders = [] if settings.pixyz_python_path is None else [str(settings.pixyz_python_path)]
    spec = PathFinder.find_spec("pxz", [*folders, *sys.path])
    if spec is None or spec.origin is None:  # a folder without code has no origin
        remedy = "Nothing to do: the open 3D kernel is used. For native CAD formats install the SDK and a licence."
        return note(found=f"not in {folders[0]}" if folders else "not installed", remedy=remedy)
    if settings.disable_pixyz:
        remedy = "Nothing to do: the open 3D kernel is used. Unset DISABLE_PIXYZ to use the SDK."
        return note(found=f"present ({spec.origin}), switched off by DISABLE_PIXYZ", remedy=remedy)
    return Check(name="Pixyz SDK", verdict=Verdict.GOOD, found=f"present ({spec.origin})")


def _platform(url: str | None, token: str | None) -> Check:
    """Say whether a platform answers, whether the token opens it, and else whether one could start."""
    from pixyz_ray.client import Client, InvalidClientConfig, PlatformUnreachable
    from pixyz_worker.exception import PixyzWebError

    problem = partial(Check, name="Platform", verdict=Verdict.PROBLEM)
    try:
        with Client(url, token, timeout=10.0) as client:
            address = client.address
            try:
                version = client.version()
                client.jobs(limit=1)
                missing = _unready(client)
            except PlatformUnreachable:
                return _startable(address.url, address.source)
            except PixyzWebError as error:
                if address.source == "default" and _is_set_elsewhere(address.url):
                    return _startable(address.url, address.source)
                if error.status_code == 401:
                    remedy = "Give the token with -k TOKEN or PIXYZ_TOKEN."
                    return problem(found=f"{address.url} refuses the token: {error.message}", remedy=remedy)
                found = f"{address.url} answers HTTP {error.status_code}: {error.message}"
                return problem(found=found, remedy="Is this a Pixyz platform? Name another with -u URL.")
    except InvalidClientConfig as error:
        return problem(found=error.message, remedy="Correct it, or name the platform with -u URL.")
    found = f"{version} answers at {address.url} (from: {address.source}), token accepted"
    if missing:
        remedy = "Correct that; the platform then goes on by itself. See docs/operating.md, Health."
        return problem(found=f"{found}, but it is not ready: {' '.join(missing)}", remedy=remedy)
    return Check(name="Platform", verdict=Verdict.GOOD, found=found)


def _unready(client: Client) -> list[str]:
    """Return what keeps a platform from taking jobs, by its own word; the scheduler before this one does not say."""
    from pixyz_worker.exception import PixyzWebError

    try:
        health = client.health()
    except (PixyzWebError, ValueError):
        return []
    checks = health.get("checks") if isinstance(health, dict) and health.get("ready") is False else None
    return [f"{name}: {state}" for name, state in checks.items() if state != "ok"] if isinstance(checks, dict) else []


def _is_set_elsewhere(url: str) -> bool:
    """Return whether the settings name another port than a URL has, so that what answers there is somebody else's."""
    from pixyz_ray.settings import load_settings
    from pixyz_worker.exception import PixyzException

    try:
        return load_settings().api_port != urlsplit(url).port
    except PixyzException:
        return False


def _startable(url: str, source: str) -> Check:
    """Say whether `pixyz up` could start the platform that does not answer, on the port of the settings."""
    from pixyz_ray.port import port_problem
    from pixyz_ray.settings import load_settings
    from pixyz_worker.exception import PixyzException

    if source not in ("default", str(home.home() / "platform.json")):
        found = f"nothing answers at {url} (from: {source})"
        return Check(name="Platform", verdict=Verdict.PROBLEM, found=found, remedy="Check the URL and the network.")
    note = partial(Check, name="Platform", verdict=Verdict.NOTE)
    if not on_linux():
        return note(found=f"nothing answers at {url}", remedy=LINUX_ONLY)
    if (message := outage(url)) is not None:
        return note(found=f"nothing answers at {url} just now, {message}", remedy="Try again in a minute.")
    record = read_record()
    if record is not None and record.status == "failed":
        return Check(name="Platform", verdict=Verdict.PROBLEM, found=record.message, remedy="Start it: pixyz up.")
    try:
        settings = load_settings()
    except PixyzException:
        found = f"nothing answers at {url}, and `pixyz up` cannot start while a setting cannot be used"
        return note(found=found, remedy="Correct it: see Settings below.")
    host, port = settings.api_host, settings.api_port
    if (problem := port_problem(host, port)) is not None:
        found = f"not running, and port {port} on {host} cannot be used: {problem}"
        remedy = "Start it on another port: pixyz up --port PORT, or API_PORT."
        return Check(name="Platform", verdict=Verdict.PROBLEM, found=found, remedy=remedy)
    return note(found=f"not running; port {port} on {host} is free", remedy="Start it: pixyz up --detach.")


def _nearest(folder: Path) -> Path:
    """Return the folder, or the closest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _scratch() -> Path | None:
    folder = _nearest(home.home())
    return folder if os.access(folder, os.W_OK) else None
