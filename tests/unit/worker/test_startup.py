"""The .pth file: in a wheel and in an editable install, and what it does in a Python that has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import pixyz_worker

ROOT = Path(pixyz_worker.__file__).parents[1]
PACKAGES = ("pixyz_worker", "pixyz_ray", "serve_app", "processes")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
FIRST_LINE = "from celery import chord, group\nfrom pixyz_worker.script import chain\nimport pxz\nprint('ok')\n"


def _setuptools() -> int:
    try:
        return int(version("setuptools").partition(".")[0])
    except PackageNotFoundError:
        return 0


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built, which a build may litter."""
    if _setuptools() < 77:
        pytest.skip("building needs setuptools 77 or later, which `pip install -e .[dev]` brings")
    folder = tmp_path_factory.mktemp("sources")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_given_an_install_when_celery_is_a_scripts_first_line_then_it_is_ours(
    sources: Path, tmp_path: Path, kind: str
) -> None:
    """Given a wheel or an editable one in a fresh environment, when a script starts with celery, then it runs."""
    _run(sources, sys.executable, "-c", f"from setuptools import build_meta as b; b.build_{kind}({str(tmp_path)!r})")
    (wheel,) = tmp_path.glob("*.whl")
    python = tmp_path / "venv" / "bin" / "python"
    _run(tmp_path, sys.executable, "-m", "venv", "--without-pip", "venv")
    _run(tmp_path, sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    script = tmp_path / "script.py"
    script.write_text(FIRST_LINE, encoding="utf-8")
    assert _run(tmp_path, python, script) == "ok\n"
    # Nothing is loaded before it is asked for.
    loaded = "import sys; print([name for name in sys.modules if name.startswith('pixyz')])"
    assert _run(tmp_path, python, "-c", loaded) == "[]\n"
    if kind == "editable":
        shutil.rmtree(sources / "pixyz_worker")
        gone = "try:\n    import celery\nexcept ImportError:\n    print('well')"
        assert _run(tmp_path, python, "-c", gone) == "well\n"
    else:
        _run(tmp_path, sys.executable, "-m", "pip", "--python", python, "uninstall", "--yes", "pixyz-ray")
        assert not [*tmp_path.rglob("pixyz_startup*")]


def test_given_the_pth_file_when_python_reads_it_then_it_is_one_line_that_imports() -> None:
    """Given the rules of the module site, when it reads the file, then it executes all of it."""
    (line,) = (ROOT / "pixyz_worker" / "pixyz_startup.pth").read_text(encoding="utf-8").splitlines()
    assert line.startswith("import "), "site takes any other line for a folder"


def _run(folder: Path, *command: str | Path) -> str:
    """Run a command in a folder without this process's PYTHONPATH; return what it prints."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, "Error processing" in done.stderr) == (0, False), done.stderr
    return done.stdout
