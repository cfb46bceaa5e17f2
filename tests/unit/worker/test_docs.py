"""docs/scripts.md: every example runs, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import pixyz_worker

ROOT = Path(pixyz_worker.__file__).parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
PAGE = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE, re.DOTALL)


@pytest.mark.parametrize(("code", "printed"), EXAMPLES, ids=[f"example{n}" for n in range(len(EXAMPLES))])
def test_given_an_example_of_the_page_when_run_then_it_prints_what_the_page_says(
    run_python: Run, write_script: Callable[..., object], code: str, printed: str
) -> None:
    """A page that is executed stays true."""
    done = run_python(write_script(code, header=""))
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed


def test_given_the_page_when_read_then_it_has_examples() -> None:
    """The pattern above still finds them."""
    assert len(EXAMPLES) >= 6
