"""The pages about scripts, graphs, processes and the kernel: every example runs, and prints what the page says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import pixyz_worker

ROOT = Path(pixyz_worker.__file__).parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
PATTERN = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
PAGES = {
    name: PATTERN.findall((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
    for name in ("scripts", "graphs", "processes", "kernel")
}
EXAMPLES = [
    pytest.param(code, printed, id=f"{name}{number}")
    for name, examples in PAGES.items()
    for number, (code, printed) in enumerate(examples)
]


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_given_an_example_of_a_page_when_run_then_it_prints_what_the_page_says(
    run_python: Run, write_script: Callable[..., object], tmp_path: Path, code: str, printed: str
) -> None:
    """A page that is executed stays true."""
    # What Python executes when it starts, where the project is installed.
    (site := tmp_path / "site").mkdir()
    shutil.copy(ROOT / "pixyz_worker" / "pixyz_startup.pth", site)
    start = f"import site\nsite.addsitedir({str(site)!r})\n"
    (site / "sitecustomize.py").write_text(start, encoding="utf-8")
    done = run_python(write_script(code, header=""), PYTHONPATH=f"{site}:{ROOT}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed


def test_given_the_pages_when_read_then_they_have_examples() -> None:
    """The pattern above still finds them."""
    counted = {name: len(examples) for name, examples in PAGES.items()}
    assert counted == {"scripts": 9, "graphs": 4, "processes": 1, "kernel": 3}
