"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import opengl

# Machines under test are busy with other things too: a slow example is no fault.
settings.register_profile("suite", deadline=None, max_examples=60)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is quick first: units, then acceptance, then the tests that kill things."""
    order = {"unit": 0, "acceptance": 1, "integration": 2, "cluster": 3}
    items.sort(key=lambda item: order.get(item.path.relative_to(item.config.rootpath).parts[1], 0))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say in one line how many tests were skipped for want of OpenGL's libraries, and how to install these."""
    skipped = terminalreporter.stats.get("skipped", [])
    without = [report for report in skipped if opengl.SKIPPED in str(report.longrepr)]
    # They are listed in that one line instead of in the summary's own list; the count at the end has them.
    skipped[:] = [report for report in skipped if report not in without]
    try:
        return (yield)
    finally:
        skipped.extend(without)
        if without:
            terminalreporter.write_line(opengl.summary(len(without)), yellow=True)
