"""Tests that need the extras of the kernel, and the system libraries of OpenGL that two of them load."""

from __future__ import annotations

import os

import pytest

from pixyz_worker.kernel import system_libraries
from pixyz_worker.kernel.formats import EXTRAS, is_here

SKIPPED = "OpenGL's system libraries are missing"
"""Why a test is skipped where `cad` or `render` is installed and cannot be loaded."""
REQUIRED = "PIXYZ_TESTS_NEED_OPENGL"
"""Set in the environment, it turns such skips into failures."""


def need_extra(extra: str) -> None:
    """Skip a test whose extra cannot be used here; in CI all of them have to be installed."""
    package, module = EXTRAS[extra]
    if not is_here(module) and not os.environ.get("CI"):
        pytest.skip(f"the extra {extra!r} ({package}) is not installed")
    if missing := system_libraries.missing_for(extra):
        if os.environ.get(REQUIRED):
            pytest.fail(f"{SKIPPED}: {', '.join(missing)}")
        pytest.skip(SKIPPED)


def summary(count: int) -> str:
    """The line of the summary about tests that were skipped for want of these libraries."""
    tests = f"{count} test was" if count == 1 else f"{count} tests were"
    missing = dict.fromkeys(
        library for extra in system_libraries.NEEDED for library in system_libraries.missing_for(extra)
    )
    packages = dict.fromkeys(system_libraries.PACKAGES[library] for library in missing)
    return (
        f"{tests} skipped: the extras cad and render need {', '.join(missing)}. To run them: "
        f"sudo apt install {' '.join(packages)}"
    )
